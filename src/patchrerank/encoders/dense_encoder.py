"""The dense encoder: an image becomes local descriptors, one for each cell of a feature map."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from patchrerank.boxes import WHOLE_IMAGE
from patchrerank.encoders.backends.base import check_batch_size
from patchrerank.encoders.dense_network import DenseNetwork
from patchrerank.encoders.dense_sizes import check_scales, scaled_size
from patchrerank.encoders.detector import Selection, load_detector
from patchrerank.encoders.picking import pick_all
from patchrerank.encoders.pickling import EncoderRecipe, Remade, Unchanging, by_recipe, from_module
from patchrerank.encoders.preprocessing import Crops, check_image_size
from patchrerank.errors import EncoderError, whose_vectors
from patchrerank.types import LocalDescriptors

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from patchrerank.images import ImageSource

Pick: TypeAlias = Callable[[], list[LocalDescriptors]]

CPU_BATCH = 4
ACCELERATOR_BATCH = 64


class DenseEncoder(Unchanging):
    """Makes the local descriptors of pictures; made by ``load_dense_encoder``.

    Attributes:
        spec: what it was loaded from.
        architecture: the network's structure without its weights.
        image_size: (height, width) asked for, in pixels.
        scales: factors on it.
        sizes: (height, width) in pixels at each scale, multiples of the network's stride.
        grids: (h, w) cells at each scale.
        cells: where the cells of each scale lie in the picture, as the network sees it.
        dim: D, the length of a descriptor.
        selection: which descriptors are kept.
        preprocessing: mean, std and interpolation; its image size is that of the first scale.
        precision: of the network's weights and activations.
        device: where it runs.
        pretrained: whether trained weights were asked for.
        weights: sha256 (hex) of the network's weights at its own image size.
        identity: sha256 (hex) over architecture, weights, mean, std, interpolation, precision
            unless fp32, and the detector's weights if its features are kept. Descriptors of one
            identity are comparable, whatever the image size: a query may be encoded at another.
        fingerprint: sha256 (hex) over identity, sizes, selection, and whether cells had to be
            placed by measuring: the same pictures then give the same descriptors.
        batch_size: the most pictures in one batch.
    """

    def __init__(
        self,
        spec: str,
        runs: DenseNetwork,
        image_size: tuple[int, int],
        scales: tuple[float, ...],
        selection: Selection,
        batch_size: int | None,
        load: Callable[..., DenseEncoder],
    ) -> None:
        network = runs.network
        self.spec = spec
        self.architecture = network.architecture
        self.pretrained = network.pretrained
        self.weights = network.weights
        self.precision, self.device = runs.precision, runs.device
        self.image_size = image_size
        self.scales = check_scales(scales)
        self.sizes = tuple(scaled_size(image_size, scale, runs.stride) for scale in self.scales)
        self._preparing = [replace(network.preprocessing, image_size=s) for s in self.sizes]
        self.preprocessing = self._preparing[0]
        self.selection = selection
        default = CPU_BATCH if self.device == "cpu" else ACCELERATOR_BATCH
        self.batch_size = check_batch_size(batch_size, default)
        self._runs = runs
        self._load = load
        self._detector: torch.nn.Module | None = None
        self._detector_weights: str | None = None
        if selection.detector is not None:
            module, self._detector_weights = load_detector(selection.detector)
            self._detector = runs.place(module)
        self.grids, self.dim = self._try_out()
        self.cells = tuple(map(runs.placement.cells, self.sizes, self.grids))
        self.identity = _digest(self._identity_record())
        placed = {} if self._even else {"cells": "measured"}
        self.fingerprint = _digest({"identity": self.identity, **self._settings(), **placed})

    def __repr__(self) -> str:
        sizes = ", ".join(f"{height} × {width}" for height, width in self.sizes)
        return f"DenseEncoder({self.spec!r} at {sizes} pixels, dim={self.dim}, {self.device})"

    def __reduce__(self) -> Remade:
        detector = self.selection.detector and Path(self.selection.detector).absolute()
        network, module = self._runs.network, from_module(self)
        names = ("image_size", "scales", "device", "precision", "batch_size", "pretrained")
        how = {name: getattr(self, name) for name in names}
        how["selection"] = replace(self.selection, detector=detector)
        how |= {"preprocessing": network.preprocessing, "stride": self._runs.stride[0]}
        recipe = EncoderRecipe.of(self, self._load, how, network if module else None)
        return by_recipe(recipe) if module else (recipe.open, ())

    def resized(
        self,
        image_size: int | tuple[int, int] | None = None,
        *,
        scales: Sequence[float] | None = None,
        selection: Selection | None = None,
    ) -> DenseEncoder:
        """Return a dense encoder with the same network, other sizes or another selection."""
        return DenseEncoder(
            self.spec,
            self._runs,
            self.image_size if image_size is None else check_image_size(image_size),
            self.scales if scales is None else tuple(scales),
            self.selection if selection is None else selection,
            self.batch_size,
            self._load,
        )

    def prepare(self, image: Image.Image) -> list[Crops]:
        """Squash an upright picture to each scale: uint8 ``(height, width, 3)`` each.

        Safe to call from several worker threads, each with its own picture.
        """
        return [maker.prepare(image, WHOLE_IMAGE[None])[0] for maker in self._preparing]

    def encode(self, prepared: Sequence[Sequence[Crops]]) -> list[LocalDescriptors]:
        """Return the descriptors of prepared pictures, strongest first.

        Equal weights keep the order of scales, then of cells row by row. A cell whose descriptor
        is all zeros has no direction and is left out. The same pictures in the same batches give
        the same bits on the same device.

        Args:
            prepared: for each picture what :meth:`prepare` returned.

        Raises:
            EncoderError: the network returned no map.
            VectorError: it returned NaN or infinite values; its rows are pictures.
        """
        found, waiting = list[LocalDescriptors](), list[tuple[int, Pick]]()
        for start in range(0, len(prepared), self.batch_size):
            waiting.append((start, self._launch_batch(prepared[start : start + self.batch_size])))
            if self.device == "cpu" or len(waiting) > 1:  # elsewhere the next one runs meanwhile
                found += _picked(*waiting.pop(0))
        return found + [each for batch in waiting for each in _picked(*batch)]

    def encode_images(self, images: Sequence[ImageSource]) -> list[LocalDescriptors]:
        """Read, prepare and encode pictures (paths, file bytes, or pictures).

        Raises:
            ImageError: a picture cannot be read.
            VectorError: as :meth:`encode` does; names the picture.
        """
        from patchrerank.images import describe_source, read_image

        found: list[LocalDescriptors] = []
        for start in range(0, len(images), self.batch_size):
            batch = images[start : start + self.batch_size]
            pictures = [read_image(image, min_size=self.least_size) for image in batch]
            with whose_vectors(lambda row: repr(describe_source(images[row])), first=start):
                found += self._launch_batch([self.prepare(one) for one in pictures])()
        return found

    @property
    def least_size(self) -> tuple[int, int]:
        """``(width, height)`` in pixels below which no picture needs to be decoded."""
        height, width = (max(sides) for sides in zip(*self.sizes, strict=True))
        return 2 * width, 2 * height

    def describe(self) -> dict[str, object]:
        """Return a JSON-able record of what makes the descriptors, for a local store."""
        return {
            "spec": self.spec,
            **self._identity_record(),
            "pretrained": self.pretrained,
            "dim": self.dim,
            **self._settings(),
            **({} if self._even else {"cells": [cells.as_record() for cells in self.cells]}),
            "identity": self.identity,
            "fingerprint": self.fingerprint,
        }

    @property
    def _even(self) -> bool:
        return all(cells.even for cells in self.cells)

    def _identity_record(self) -> dict[str, object]:
        settings = self._runs.network.preprocessing.as_dict()
        record: dict[str, object] = {
            "architecture": self.architecture,
            "weights": self.weights,
            **{key: value for key, value in settings.items() if key != "image_size"},
        }
        if self.precision != "fp32":
            record["precision"] = self.precision
        if self.selection.projected:
            record["projected_by"] = self._detector_weights
        return record

    def _settings(self) -> dict[str, object]:
        return {
            "sizes": [list(size) for size in self.sizes],
            "count": self.selection.count,
            "by": self.selection.by,
            "detector": self._detector_weights,
        }

    def _launch_batch(self, prepared: Sequence[Sequence[Crops]]) -> Pick:
        """Run pictures; what is returned waits for their maps and picks their descriptors."""
        kept, run = self.selection, partial(self._runs.launch, detector=self._detector)
        launched = [run(np.stack(x), projected=kept.projected) for x in zip(*prepared, strict=True)]
        return partial(pick_all, launched, self.cells, kept, f"dense encoder {self.spec}")

    def _try_out(self) -> tuple[tuple[tuple[int, int], ...], int]:
        """Return the grids and the dimension for one grey picture, so that misfits show at once."""
        grids, by_detector = list[tuple[int, int]](), self.selection.projected
        for height, width in self.sizes:
            grey = np.full((1, height, width, 3), 128, np.uint8)
            features = self._runs.maps(grey, self._detector, projected=by_detector).features
            if not np.isfinite(features).all():
                raise EncoderError(
                    f"dense encoder {self.spec} returns NaN or infinite values for a plain grey "
                    "picture; its weights hold such values, or a half precision overflowed (fp32 "
                    "and bf16 have a wider range)"
                )
            grids.append((int(features.shape[1]), int(features.shape[2])))
        return tuple(grids), int(features.shape[3])


def _picked(start: int, pick: Pick) -> list[LocalDescriptors]:
    with whose_vectors("picture {}".format, first=start):
        return pick()


def _digest(record: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
