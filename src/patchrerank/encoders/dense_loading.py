"""From a spec, a torch module or a loaded encoder to a dense encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from patchrerank.encoders.backends.base import Precision
from patchrerank.encoders.base import Encoder
from patchrerank.encoders.dense_encoder import DenseEncoder
from patchrerank.encoders.dense_network import DenseNetwork
from patchrerank.encoders.detector import Selection
from patchrerank.encoders.loading import network_from_module, network_from_spec
from patchrerank.encoders.network import Network, Request
from patchrerank.encoders.preprocessing import Preprocessing, check_image_size
from patchrerank.encoders.presets import resolve
from patchrerank.errors import EncoderError

if TYPE_CHECKING:
    import torch


def load_dense_encoder(
    spec: str | torch.nn.Module | Network | Encoder,
    *,
    image_size: int | tuple[int, int] = 448,
    scales: Sequence[float] = (1.0,),
    selection: Selection | None = None,
    preprocessing: Preprocessing | None = None,
    device: str = "auto",
    precision: Precision = "fp32",
    batch_size: int | None = None,
    pretrained: bool = True,
    name: str | None = None,
    stride: int = 1,
) -> DenseEncoder:
    """Load a network for its local descriptors.

    Args:
        spec: as for :func:`patchrerank.encoders.load_encoder`; or an encoder loaded by it, whose
            spec, weights, preprocessing, device and precision are then taken (``preprocessing``,
            ``device``, ``precision`` and ``pretrained`` given here do not count). Used are: of
            ``efficientnet_lite0`` and of convolutional networks the last feature map, of
            transformers the last patch tokens. A torch module, or a network made of one, must
            return ``(B, D, h, w)``.
        image_size: side, or (height, width), in pixels to which the whole picture is squashed;
            of its own, usually larger than that of an encoder of crops.
        scales: factors on ``image_size``; the picture is encoded once at each. Each side is
            rounded to the nearest multiple of the network's stride (patch size).
        selection: which descriptors are kept; default all.
        preprocessing: replaces mean, std and interpolation of the model; required for a module.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:<number>`` or ``mps``.
        precision: of weights and activations; descriptors are float32 in any case.
        batch_size: the most pictures in one batch; default 4 on the CPU, 64 elsewhere.
        pretrained: False gives random weights, the same ones every time.
        name: for a module, what to call it in records.
        stride: for a module, the pixels a cell covers, to which image sizes are rounded.

    Raises:
        EncoderError: the spec, a file, the device or a setting does not work.
        MissingExtraError: the spec needs an optional package.
    """
    if isinstance(spec, Encoder):
        _check_reloadable(spec)
        preprocessing, device, pretrained = spec.preprocessing, spec.device, spec.pretrained
        precision, spec = spec.precision, spec.spec
    if isinstance(spec, str):
        label = resolve(spec.strip())
        network = network_from_spec(label, Request(pretrained=pretrained))
    elif isinstance(spec, Network):
        network, label = spec, spec.architecture
    else:
        network = network_from_module(spec, preprocessing, name)
        label = network.architecture
    if preprocessing is not None:
        network = replace(network, preprocessing=preprocessing)
    runs = DenseNetwork(network, device=device, precision=precision, stride=stride)
    return DenseEncoder(
        label,
        runs,
        check_image_size(image_size),
        tuple(scales),
        selection or Selection(),
        batch_size,
        load_dense_encoder,
    )


def _check_reloadable(encoder: Encoder) -> None:
    if encoder.architecture.startswith("module:"):
        raise EncoderError(
            f"{encoder!r} was made from a torch module, which returns vectors; pass a module that "
            "returns its feature map (B, D, h, w)"
        )
