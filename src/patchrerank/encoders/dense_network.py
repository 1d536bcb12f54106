"""Running a network for its feature map, at any image size, on any device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from patchrerank.encoders.backends.base import Precision
from patchrerank.encoders.backends.torch_eager import PRECISIONS, choose_device, multiply_add
from patchrerank.encoders.network import Network
from patchrerank.encoders.preprocessing import Crops
from patchrerank.errors import EncoderError, short_reason
from patchrerank.types import Floats

if TYPE_CHECKING:
    import torch
    from torch import nn

    from patchrerank.encoders.feature_maps import MapNetwork

Size = tuple[int, int]


@dataclass(frozen=True)
class Maps:
    """Feature maps of B pictures at one scale, on the host.

    Attributes:
        features: float32 ``(B, h, w, D)``, not normalised.
        strengths: float32 ``(B, h, w)`` of the detector; None without one.
    """

    features: Floats
    strengths: Floats | None = None


class DenseNetwork:
    """A network made ready to return maps; shared by dense encoders of several image sizes.

    Transformers get a copy for each image size, with the position embedding resampled from the
    original one; everything else runs as it is.

    Args:
        network: as its loader returns it, at its own image size; its module is taken over.
        device: see :func:`patchrerank.encoders.load_encoder`.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        stride: pixels a cell covers, for a module.

    Attributes:
        placement: where the cells of its maps lie in the picture, measured when it is made.

    Raises:
        EncoderError: unknown device or precision, or no way to the network's map.
    """

    def __init__(
        self, network: Network, *, device: str, precision: Precision, stride: int = 1
    ) -> None:
        import torch

        from patchrerank.encoders.cell_centres import placement_of
        from patchrerank.encoders.feature_maps import open_map_network

        if precision not in PRECISIONS:
            raise EncoderError(
                f"precision {precision!r} is unknown; use one of {', '.join(PRECISIONS)}"
            )
        self.network = network
        self.device = choose_device(device)
        self.precision = precision
        self._dtype = getattr(torch, PRECISIONS[precision])
        self._native = open_map_network(network, stride).eval().requires_grad_(False)
        self.placement = placement_of(network, self._native.to(self.device))
        self._placed: dict[Size, MapNetwork] = {}
        self._scale, self._shift = multiply_add(network.preprocessing, self.device)

    @property
    def stride(self) -> Size:
        """Height and width in pixels of a cell."""
        return self._native.stride

    def place(self, module: nn.Module) -> nn.Module:
        """Return ``module`` on this device, in this precision."""
        return module.to(self.device, self._dtype)

    def maps(self, crops: Crops, detector: nn.Module | None, *, projected: bool = False) -> Maps:
        """Return the maps of uint8 pictures ``(B, height, width, 3)``; see :meth:`launch`."""
        return self.launch(crops, detector, projected=projected)()

    def launch(
        self, crops: Crops, detector: nn.Module | None, *, projected: bool = False
    ) -> Callable[[], Maps]:
        """Run pictures ``(B, height, width, 3)``; what is returned waits for their maps.

        Args:
            crops: uint8.
            detector: gives each cell its strength (see ``load_detector``), or None.
            projected: return the detector's features instead of the network's.

        Raises:
            EncoderError: the network fails on this size, or returns no map.
        """
        import torch

        from patchrerank.kernels.copies import begin_fetch

        height, width = crops.shape[1:3]
        with torch.inference_mode():
            found = self._guarded(lambda: self._at((height, width))(self._pixels(crops)), crops)
            _check_maps(found, len(crops))
            strengths = None
            if detector is not None:
                own, strengths = self._guarded(lambda: detector(found), crops)
                found = own if projected else found
            features = begin_fetch(found.permute(0, 2, 3, 1).float().contiguous())
            if strengths is None:
                return lambda: Maps(features())
            strong = begin_fetch(strengths.float())
            return lambda: Maps(features(), strong())

    def _guarded(self, call: Callable[[], torch.Tensor], crops: Crops) -> torch.Tensor:
        try:
            return call()
        except EncoderError:
            raise
        except Exception as error:
            raise EncoderError(
                f"{self.network.architecture} cannot encode {len(crops)} pictures of "
                f"{crops.shape[1]} × {crops.shape[2]} pixels in {self.precision} on {self.device} "
                f"({short_reason(error)}){self._other_size((crops.shape[1], crops.shape[2]))}"
            ) from error

    def _other_size(self, size: Size) -> str:
        """Return what to do where a size may be the reason that the network fails."""
        own = self.network.preprocessing.image_size
        if size == own:
            return ""
        wanted = str(own[0]) if own[0] == own[1] else str(own)
        said = f"; its own size is {own[0]} × {own[1]} pixels, and it may take no other"
        if any(side % step for side, step in zip(own, self.stride, strict=True)):
            cell = f"{self.stride[0]} × {self.stride[1]}"
            return f"{said}, which cells of {cell} pixels do not fill: use another network"
        return f"{said}: pass image_size={wanted} (--local-image-size {own[0]}), without scales"

    def _at(self, size: Size) -> MapNetwork:
        import torch

        if size not in self._placed:
            module = self._native.at_size(size)
            self.place(module)
            if self.network.channels_last:
                module.to(memory_format=torch.channels_last)
            self._placed[size] = module
        return self._placed[size]

    def _pixels(self, crops: Crops) -> torch.Tensor:
        import torch

        from patchrerank.kernels.copies import send_ahead

        given = send_ahead(crops, torch.device(self.device))
        pixels = given.permute(0, 3, 1, 2).float()
        pixels = torch.addcmul(self._shift, pixels, self._scale).to(self._dtype)
        layout = torch.channels_last if self.network.channels_last else torch.contiguous_format
        return pixels.contiguous(memory_format=layout)


def _check_maps(found: object, count: int) -> None:
    import torch

    if not isinstance(found, torch.Tensor) or found.ndim != 4 or len(found) != count:
        shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        raise EncoderError(
            f"the network must return one feature map a picture, a tensor ({count}, D, h, w); "
            f"got {shape}; return the map in front of the pooling"
        )
    if 0 in found.shape:
        raise EncoderError(
            f"the network's feature map {tuple(found.shape)} has no cells; pass a larger image_size"
        )
