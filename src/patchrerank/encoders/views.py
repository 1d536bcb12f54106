"""What a one-pass encoder looks at: the whole picture at some sizes, or tiles of it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import cast, get_args

import numpy as np
import numpy.typing as npt

from patchrerank.boxes import Floats
from patchrerank.encoders.region_pooling import Pooling
from patchrerank.errors import EncoderError

OVERLAP = 0.25
"""Of neighbouring tiles, as a share of a tile's side."""
IDEAL = 0.75
"""The best side of a region, as a share of the encoder's own input size."""
INSIDE = 1e-5
VIEW = re.compile(r"(\d+)(?:x(\d+))?")
POWER = re.compile(r"p(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class View:
    """One size at which a picture is seen.

    Attributes:
        side: pixels, as for ``image_size``: of the network's input for the whole picture, or for
            each tile. Rounded to what the network's map allows.
        tiles: the picture is cut into so many overlapping tiles across and down; 1: none.
    """

    side: int
    tiles: int = 1

    def __post_init__(self) -> None:
        if self.side < 1 or self.tiles < 1:
            raise EncoderError(f"one pass: a view of {self.side} pixels, {self.tiles} tiles across")

    def __str__(self) -> str:
        return f"{self.side}x{self.tiles}" if self.tiles > 1 else str(self.side)

    def windows(self) -> Floats:
        """Return the tiles, row by row: float32 ``(tiles², 4)`` boxes in [0, 1]."""
        side = 1.0 / (self.tiles - (self.tiles - 1) * OVERLAP)
        starts = np.linspace(0.0, 1.0 - side, self.tiles) if self.tiles > 1 else np.zeros(1)
        y, x = (axis.reshape(-1) for axis in np.meshgrid(starts, starts, indexing="ij"))
        return np.stack([x, y, x + side, y + side], axis=1).clip(0.0, 1.0).astype(np.float32)


@dataclass(frozen=True)
class OnePass:
    """How regions are pooled from few passes over a picture.

    Attributes:
        views: what is passed through the network; one at least is of the whole picture.
        pooling: ``area`` or ``roi_align``; see
            :func:`patchrerank.encoders.region_pooling.pool_regions`.
        power: of the mean, at least 1; see there. 1 leaves regions in the very space of whole
            pictures; above 1, strong cells count for more.
    """

    views: tuple[View, ...] = field(default=(View(448),))
    pooling: Pooling = "area"
    power: float = 1.0

    def __post_init__(self) -> None:
        if not any(view.tiles == 1 for view in self.views):
            raise EncoderError(
                f"one pass: {self.spec!r} sees no picture as a whole; add a size without tiles"
            )
        if self.pooling not in get_args(Pooling):
            raise EncoderError(
                f"one pass: pooling {self.pooling!r} is unknown; use area or roi_align"
            )
        if not (math.isfinite(self.power) and self.power >= 1.0):
            raise EncoderError(f"one pass: power must be at least 1, got {self.power}")

    @classmethod
    def parse(cls, text: str) -> OnePass:
        """Read sizes with commas: ``448``, ``320,640``, ``224,288x2`` (2 × 2 tiles of 288 pixels).

        Behind colons the pooling and the power may follow: ``448:roi_align``, ``224,288x2:p2``.

        Raises:
            EncoderError: other text.
        """
        sizes, *options = text.split(":")
        found = [VIEW.fullmatch(part.strip()) for part in sizes.split(",")]
        views = tuple(View(int(m[1]), int(m[2] or 1)) for m in found if m is not None)
        powers = [float(m[1]) for m in map(POWER.fullmatch, options) if m is not None]
        poolings = [option for option in options if not POWER.fullmatch(option)]
        if len(views) < len(found) or len(powers) > 1 or len(poolings) > 1:
            raise EncoderError(
                f"one pass: {text!r} is malformed; give sides in pixels such as 448, 320,640:p2 or "
                "224,288x2 (a whole picture, and 2 × 2 tiles)"
            )
        pooling = cast(Pooling, poolings[0] if poolings else "area")  # checked when it is made
        return cls(views, pooling, powers[0] if powers else 1.0)

    @property
    def spec(self) -> str:
        """``one-pass:448,…``, with pooling and power unless they are ``area`` and 1."""
        pooling = "" if self.pooling == "area" else f":{self.pooling}"
        power = "" if self.power == 1.0 else f":p{self.power:g}"
        return f"one-pass:{','.join(map(str, self.views))}{pooling}{power}"


@dataclass(frozen=True)
class Windows:
    """All windows of all views, numbered.

    Attributes:
        boxes: float32 ``(W, 4)`` in [0, 1] of the picture.
        sides: float64 ``(W,)``, pixels of the network's input, geometric mean of both sides.
        ends: where each view's windows end.
    """

    boxes: Floats
    sides: npt.NDArray[np.float64]
    ends: tuple[int, ...]

    @classmethod
    def of(cls, views: tuple[View, ...], sizes: tuple[tuple[int, int], ...]) -> Windows:
        """Return the windows of views whose inputs have these sizes, (height, width)."""
        found = [view.windows() for view in views]
        sides = [np.full(len(w), math.sqrt(h * b)) for w, (h, b) in zip(found, sizes, strict=True)]
        ends = tuple(int(end) for end in np.cumsum([len(windows) for windows in found]))
        return cls(np.concatenate(found), np.concatenate(sides), ends)

    def __len__(self) -> int:
        return len(self.boxes)

    def slices(self) -> list[slice]:
        """Return the numbers of each view's windows."""
        return [slice(start, end) for start, end in pairwise((0, *self.ends))]

    def choose(self, regions: Floats, native: float) -> npt.NDArray[np.int64]:
        """Return for each region the window that it is pooled from.

        Of the windows that hold it wholly, the one in which its side (geometric mean) comes
        closest, as a ratio, to 0.75 of the encoder's own input size; of equals, the one in whose
        middle it lies, then the first.

        Args:
            regions: float32 ``(P, 4)`` in [0, 1] of the picture.
            native: side in pixels of the encoder's own input.
        """
        low, high = self.boxes[:, :2], self.boxes[:, 2:]
        inside = (regions[:, None, :2] >= low - INSIDE) & (regions[:, None, 2:] <= high + INSIDE)
        spans = np.sqrt(np.prod(regions[:, 2:] - regions[:, :2], axis=1, dtype=np.float64))
        window_spans = np.sqrt(np.prod(high - low, axis=1, dtype=np.float64))
        seen = spans[:, None] / window_spans * self.sides
        misfit = np.abs(np.log(seen / (IDEAL * native))).round(6)
        away = (regions[:, None, :2] + regions[:, None, 2:] - low - high).astype(np.float64)
        cost = np.where(inside.all(axis=2), misfit + 1e-9 * np.abs(away).sum(axis=2), np.inf)
        return np.asarray(cost.argmin(axis=1), dtype=np.int64)

    def within(self, window: int, regions: Floats) -> Floats:
        """Return regions as boxes in [0, 1] of one window."""
        low, high = self.boxes[window, :2], self.boxes[window, 2:]
        span = np.tile(high - low, 2)
        return np.asarray(((regions - np.tile(low, 2)) / span).clip(0.0, 1.0), dtype=np.float32)
