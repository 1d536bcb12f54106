"""The encoder: uint8 crops in, unit vectors out, whatever runs the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchrerank.boxes import WHOLE_IMAGE, check_boxes, in_region
from patchrerank.encoders.backends.base import Backend
from patchrerank.encoders.batching import batches
from patchrerank.encoders.network import Network
from patchrerank.encoders.normalise import normalise_rows
from patchrerank.encoders.pickling import EncoderRecipe, Remade, Unchanging, by_value, from_module
from patchrerank.encoders.preprocessing import Crops
from patchrerank.encoders.quick_gelu import activation_of
from patchrerank.errors import EncoderError, described, whose_vectors
from patchrerank.types import Floats

if TYPE_CHECKING:
    from PIL import Image

    from patchrerank.images import ImageSource


class Encoder(Unchanging):
    """A network, its preprocessing, and the back end that runs it; made by ``load_encoder``.

    Pickled, it is its spec, settings, back end and digest, and is loaded again from them (one made
    from a torch module: by value); weights that are no longer the same are then refused.

    Attributes:
        spec: what ``load_encoder`` was given, such as ``timm:resnet50``.
        architecture: the network's structure without its weights.
        dim: the length d of the vectors.
        preprocessing: how crops are made (``preprocessing.prepare``).
        precision: ``fp32``, ``bf16`` or ``fp16``; the vectors are float32 in any case.
        device: where it runs: ``cpu``, ``cuda`` or ``mps``.
        weights: sha256 (hex) of the weights.
        pretrained: whether trained weights were asked for.
        pooling: how the network makes one vector (``token``, ``avg``, ``map``); None if it does
            not say.
        activation: the kinds of activation in the network, such as ``QuickGELU``.
        fingerprint: sha256 (hex) over architecture, weights, preprocessing, precision unless
            fp32, and pooling unless it is the architecture's own. Encoders with equal
            fingerprints make comparable vectors; a gallery records it.
        batch_size: the most crops in one batch.
        backend: what runs the network (``backend.name``). Not part of the fingerprint: in fp32
            all agree with torch to a cosine of 0.9999, or are refused.
        text: the text tower of the same space (see :func:`encode_texts`), or None.
    """

    def __init__(
        self, spec: str, network: Network, backend: Backend, load: Callable[..., Encoder]
    ) -> None:
        self.spec = spec
        self._load = load
        self.architecture = network.architecture
        self.preprocessing = network.preprocessing
        self.precision = backend.precision
        self.device = backend.device
        self.weights = network.weights
        self.pretrained = network.pretrained
        self.pooling = network.pooling
        self.activation = activation_of(network.module)
        self.fingerprint = network.fingerprint(backend.precision)
        self.batch_size = backend.batch_size
        self.backend = backend
        self.text = network.text
        self.dim = self._try_out()

    def __repr__(self) -> str:
        return f"Encoder({self.spec!r}, dim={self.dim}, {self.precision} on {self.device})"

    def __reduce__(self) -> Remade:
        if type(self) is not Encoder:
            raise EncoderError(f"a {type(self).__name__} cannot be pickled; pickle what it wraps")
        if from_module(self):
            return by_value(self, self.backend.name)
        names = ("preprocessing", "device", "precision", "batch_size", "pretrained")
        settings = {name: getattr(self, name) for name in names} | {"backend": self.backend.name}
        return EncoderRecipe.of(self, self._load, settings).open, ()

    def encode(self, crops: Crops) -> Floats:
        """Encode crops.

        They run in batches of at most ``batch_size``; the same crops in the same batches give
        the same bits on the same device.

        Args:
            crops: uint8 ``(B, height, width, 3)`` RGB, as ``preprocessing.prepare`` makes them;
                ``B`` may be 0.

        Returns:
            float32 ``(B, dim)``, rows of L2 norm 1, C-contiguous.

        Raises:
            EncoderError: wrong shape or dtype.
            VectorError: the network returned NaN or zero vectors.
        """
        return self.encode_parts([crops])

    def encode_parts(self, parts: Iterable[Crops]) -> Floats:
        """Encode crops that come in parts, such as image by image.

        The batches are those of :meth:`encode` on all parts put together. The network starts
        with the first batch that is complete, so the parts may still be in the making.

        Args:
            parts: uint8 ``(B, height, width, 3)`` each; ``B`` may be 0.

        Returns:
            float32 ``(N, dim)`` for all N crops, as :meth:`encode` does.

        Raises:
            EncoderError: as :meth:`encode` does.
        """
        found = batches(map(self._checked, parts), self.batch_size)
        first = next(found, None)
        if first is None:
            return np.empty((0, self.dim), dtype=np.float32)
        return normalise_rows(self.backend(chain([first], found)), f"encoder {self.spec}")

    def encode_images(
        self, images: Sequence[ImageSource], boxes: npt.ArrayLike | None = None
    ) -> Floats:
        """Encode whole images, or one box of each.

        Args:
            images: N paths or pictures.
            boxes: ``(N, 4)`` of ``x0, y0, x1, y1`` in [0, 1], one box an image; None = all of it.

        Returns:
            float32 ``(N, dim)``, rows of L2 norm 1.

        Raises:
            ImageError: an image cannot be read.
            RegionError: a box is empty, NaN or outside its image.
            VectorError: NaN or zero vectors; names the image and its box.
        """
        from patchrerank.images import describe_source, read_image

        def named(row: int) -> str:
            return in_region(describe_source(images[row]), regions[row])

        regions = self._regions(len(images), boxes)
        parts = [np.empty((0, self.dim), dtype=np.float32)]
        for start in range(0, len(images), self.batch_size):
            pairs = zip(images[start : start + self.batch_size], regions[start:], strict=False)
            crops = [
                self.preprocessing.prepare(read_image(image), box[None]) for image, box in pairs
            ]
            with whose_vectors(named, first=start):
                parts.append(self.encode(np.concatenate(crops)))
        return np.concatenate(parts)

    def prepare_regions(self, image: Image.Image, boxes: Floats) -> Any:
        """Make of one upright picture what :meth:`encode_regions` takes.

        Safe to call from several worker threads, each with its own picture.

        Args:
            image: the picture.
            boxes: float32 ``(P, 4)`` regions in [0, 1].
        """
        return self.preprocessing.prepare(image, boxes)

    def encode_regions(self, prepared: Iterable[Any]) -> Floats:
        """Encode the regions of pictures: here, each as a crop of its own.

        Args:
            prepared: what :meth:`prepare_regions` returned, picture by picture.

        Returns:
            float32 ``(N, dim)`` for all N regions in order, rows of L2 norm 1.

        Raises:
            EncoderError: as :meth:`encode` does.
        """
        return self.encode_parts(prepared)

    def crops_of(self, regions: int) -> int:
        """Return how many crops a picture with so many regions takes."""
        return regions

    def least_size(self, finest: float) -> tuple[int, int]:
        """Return ``(width, height)`` in pixels below which no picture needs to be decoded.

        Args:
            finest: side of the smallest region as a share of the picture's.
        """
        return self.preprocessing.least_size(finest)

    def recorded_regions(self, spec: str) -> str:
        """Return how a gallery records regions that this encoder encoded: their spec."""
        return spec

    def describe(self) -> dict[str, object]:
        """Return a JSON-able record of what made the vectors, for a gallery's manifest."""
        return {
            "spec": self.spec,
            "architecture": self.architecture,
            "dim": self.dim,
            "preprocessing": self.preprocessing.as_dict(),
            "precision": self.precision,
            "pretrained": self.pretrained,
            "pooling": self.pooling,
            "activation": self.activation,
            "weights": self.weights,
            "fingerprint": self.fingerprint,
            "backend": self.backend.name,
        }

    def _regions(self, count: int, boxes: npt.ArrayLike | None) -> Floats:
        if boxes is None:
            return np.tile(WHOLE_IMAGE, (count, 1))
        regions = check_boxes(boxes, where="encode_images")
        if len(regions) != count:
            raise EncoderError(f"{count} images but {len(regions)} boxes; pass one box an image")
        return regions

    def _checked(self, crops: Crops) -> Crops:
        expected = (*self.preprocessing.image_size, 3)
        if not isinstance(crops, np.ndarray):
            remedy = "preprocessing.prepare(image, boxes), or pass pictures to encode_images"
            raise EncoderError(f"the crops are {described(crops)}; make them with {remedy}")
        if crops.ndim != 4 or crops.shape[1:] != expected or crops.dtype != np.uint8:
            raise EncoderError(
                f"encoder {self.spec} takes uint8 crops of the shape (B, {expected[0]}, "
                f"{expected[1]}, 3), got {crops.dtype} {crops.shape}; make them with "
                "preprocessing.prepare(image, boxes)"
            )
        return crops

    def _try_out(self) -> int:
        """Return the dimension of the output for one grey crop, so that misfits show at once."""
        height, width = self.preprocessing.image_size
        grey = np.full((1, height, width, 3), 128, dtype=np.uint8)
        try:
            return int(self.backend([grey]).shape[1])
        except EncoderError:
            raise
        except Exception as error:
            raise EncoderError(
                f"encoder {self.spec} cannot encode crops of {height} × {width} pixels in "
                f"{self.precision} on {self.device}: {type(error).__name__}: {error}"
            ) from error
