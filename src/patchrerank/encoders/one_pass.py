"""Regions from one pass: the picture goes through the network once, regions are pooled from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from patchrerank.cells import Cells
from patchrerank.encoders.backends.base import Backend
from patchrerank.encoders.base import Encoder
from patchrerank.encoders.batching import batches
from patchrerank.encoders.normalise import normalise_rows
from patchrerank.encoders.pickling import Remade, from_module
from patchrerank.encoders.preprocessing import Crops, Preprocessing
from patchrerank.encoders.region_pooling import pool_regions
from patchrerank.encoders.views import OnePass, Windows
from patchrerank.errors import EncoderError
from patchrerank.types import Floats, Rows

if TYPE_CHECKING:
    from PIL import Image

Head = Callable[[Floats], Floats]


@dataclass(frozen=True)
class MapRunner:
    """A network that returns its last feature map, for pictures of one size.

    Attributes:
        backend: returns maps flattened cell by cell, row by row.
        preprocessing: with the size of the pictures.
        cells: where the cells of the map lie in the picture.
    """

    backend: Backend
    preprocessing: Preprocessing
    cells: Cells


@dataclass(frozen=True)
class SeenPicture:
    """A picture as :meth:`OnePassEncoder.encode_regions` takes it.

    Attributes:
        views: uint8 ``(windows, height, width, 3)`` for each view.
        regions: float32 ``(P, 4)``.
    """

    views: tuple[Crops, ...]
    regions: Floats


class OnePassEncoder(Encoder):
    """An encoder of crops that pools regions of gallery pictures from one pass, or few.

    Everything but ``prepare_regions`` and ``encode_regions`` is the crop encoder's: queries are
    encoded as usual, with the same identity, because the vectors lie in one space. A gallery
    records the difference with its regions. Made by ``load_one_pass``.

    Attributes:
        settings: the views, rounded to what the network takes, and the pooling.
        runners: the network, for the pictures of each view.
        head: makes vectors of the means of maps.
    """

    def __init__(
        self,
        encoder: Encoder,
        runners: tuple[MapRunner, ...],
        head: Head,
        settings: OnePass,
        load: Callable[[Encoder, OnePass], OnePassEncoder],
    ) -> None:
        vars(self).update(vars(encoder))
        self.settings = settings
        self._crops = encoder
        self._load_views = load
        self.runners = runners
        self.head = head
        sizes = tuple(runner.preprocessing.image_size for runner in runners)
        self._windows = Windows.of(settings.views, sizes)
        self._native = float(np.sqrt(np.prod(encoder.preprocessing.image_size)))

    def __repr__(self) -> str:
        return f"OnePassEncoder({self.spec!r}, {self.settings.spec!r}, dim={self.dim})"

    def __reduce__(self) -> Remade:
        if from_module(self):
            raise EncoderError(
                f"{self!r} was made from torch modules and cannot be pickled; pickle the modules, "
                "and call load_one_pass where it is needed"
            )
        return self._load_views, (self._crops, self.settings)

    def prepare_regions(self, image: Image.Image, boxes: Floats) -> SeenPicture:
        """Resize one upright picture to each view; see :meth:`Encoder.prepare_regions`."""
        return SeenPicture(
            tuple(
                runner.preprocessing.prepare(image, self._windows.boxes[own])
                for runner, own in zip(self.runners, self._windows.slices(), strict=True)
            ),
            np.asarray(boxes, dtype=np.float32),
        )

    def encode_regions(self, prepared: Iterable[SeenPicture]) -> Floats:
        """Pool the regions of pictures from few passes; see :meth:`Encoder.encode_regions`."""
        pictures = list(prepared)
        if not any(len(picture.regions) for picture in pictures):
            return np.empty((0, self.dim), dtype=np.float32)
        chosen = [self._windows.choose(item.regions, self._native) for item in pictures]
        starts = np.cumsum([0, *map(len, chosen)])
        means = np.empty((starts[-1], 0), dtype=np.float32)
        for number in range(len(self.runners)):
            maps = self._maps(number, [picture.views[number] for picture in pictures])
            if not means.shape[1]:
                means = np.empty((starts[-1], maps.shape[-1]), dtype=np.float32)
            for which, picture in enumerate(pictures):
                rows = means[starts[which] : starts[which + 1]]
                self._pool(number, maps[which], chosen[which], picture.regions, rows)
        return normalise_rows(self.head(means), f"one-pass encoder {self.spec}")

    def crops_of(self, regions: int) -> int:
        """Return how many crops' worth of pixels the views of one picture have, at least 1."""
        pixels = float((self._windows.sides**2).sum())
        return max(1, round(pixels / self._native**2))

    def least_size(self, finest: float) -> tuple[int, int]:
        """Return ``(width, height)`` in pixels; here the size of the regions plays no part."""
        spans = [1 / len(self._windows.boxes[own]) ** 0.5 for own in self._windows.slices()]
        needed = [
            runner.preprocessing.least_size(span)
            for runner, span in zip(self.runners, spans, strict=True)
        ]
        return max(width for width, _ in needed), max(height for _, height in needed)

    def recorded_regions(self, spec: str) -> str:
        """Return regions' spec and how they were pooled, such as ``grid:3 one-pass:448``.

        Behind it stands ``cells:measured`` where the network's cells are not even shares of the
        picture, which was not minded before.
        """
        even = all(runner.cells.even for runner in self.runners)
        return f"{spec} {self.settings.spec}{'' if even else ' cells:measured'}"

    def describe(self) -> dict[str, object]:
        """Return the crop encoder's record, which queries are encoded by, with the views."""
        return {**super().describe(), "one_pass": self.settings.spec}

    def _maps(self, view: int, pictures: list[Crops]) -> Floats:
        """Return float32 ``(pictures, windows, h, w, D)`` of one view."""
        runner = self.runners[view]
        flat = runner.backend(batches(pictures, runner.backend.batch_size))
        return flat.reshape(len(pictures), len(pictures[0]), *runner.cells.grid, -1)

    def _pool(self, view: int, maps: Floats, chosen: Rows, regions: Floats, out: Floats) -> None:
        """Fill the rows of ``out`` whose regions were given windows of this view."""
        cells = self.runners[view].cells
        for number, window_map in enumerate(maps, self._windows.slices()[view].start):
            own = chosen == number
            if own.any():
                boxes = self._windows.within(number, regions[own])
                how = self.settings.pooling, self.settings.power
                out[own] = pool_regions(window_map, boxes, *how, cells)
