"""Where the cells of a feature map lie in the picture: the one place that turns one into other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

NEARLY = 1e-5
"""Share of a cell by which float32 positions may miss the border between two cells."""


@dataclass(frozen=True)
class CellAxis:
    """The cells of a map along one axis of the picture, which reaches from 0 to 1.

    Attributes:
        count: number of cells.
        first: where the centre of the first cell lies; may be outside of the picture.
        step: from one centre to the next, above 0.
    """

    count: int
    first: float
    step: float

    @classmethod
    def equal(cls, count: int) -> CellAxis:
        """Return cells that share the axis out evenly."""
        return cls(count, 0.5 / count, 1.0 / count)

    @property
    def even(self) -> bool:
        """Whether the cells share the axis out evenly."""
        return self == CellAxis.equal(self.count)

    def centres(self) -> Doubles:
        """Return the centres, float64 ``(count,)``; those outside of the picture at its border."""
        if self.even:
            return (np.arange(self.count) + 0.5) / self.count
        return (self.first + self.step * np.arange(self.count)).clip(0.0, 1.0)

    def numbers(self, points: npt.ArrayLike) -> Rows:
        """Return the number of the cell whose centre is nearest to each point, int64."""
        at = self.across_map(points) * self.count
        return (at + NEARLY).clip(0, self.count - 1).astype(np.int64)

    def across_map(self, points: npt.ArrayLike) -> Doubles:
        """Return points of the picture as shares of the map, whose cells are equal, in [0, 1].

        The centre of cell i is at (i + 0.5) / count; points beyond the outermost centres go on
        at the same pace, as far as the map goes.
        """
        given = np.asarray(points, dtype=np.float64)
        if self.even:
            return given
        cells = (given - self.first) / self.step + 0.5
        return (cells / self.count).clip(0.0, 1.0)

    def across_picture(self, shares: npt.ArrayLike) -> Doubles:
        """Return shares of the map as points of the picture: what :meth:`across_map` undoes.

        The borders of the map are those of the picture, whatever lies beyond the last centre.
        """
        given = np.asarray(shares, dtype=np.float64)
        if self.even:
            return given
        points = (self.first + (given * self.count - 0.5) * self.step).clip(0.0, 1.0)
        points = np.where(given <= 0.0, 0.0, points)
        return np.where(given >= 1.0, 1.0, points)

    def stretched(self, points: npt.ArrayLike) -> Doubles:
        """Return points as shares of the map, the outermost cells stretched to the borders.

        A cell reaches from halfway to its neighbour on one side to halfway on the other, the
        first from 0 and the last to 1, so that the whole picture is all cells, each wholly.
        """
        given = np.asarray(points, dtype=np.float64)
        if self.even:
            return given
        middles = self.first + self.step * (np.arange(1, self.count) - 0.5)
        inner = middles.clip(NEARLY, 1.0 - NEARLY)
        return np.interp(given, [0.0, *inner, 1.0], np.arange(self.count + 1) / self.count)


@dataclass(frozen=True)
class Cells:
    """The cells of a map ``(h, w)`` in the picture.

    Attributes:
        rows: along its height.
        columns: along its width.
    """

    rows: CellAxis
    columns: CellAxis

    @classmethod
    def equal(cls, height: int, width: int) -> Cells:
        """Return cells that share the picture out evenly."""
        return cls(CellAxis.equal(height), CellAxis.equal(width))

    @property
    def even(self) -> bool:
        """Whether the cells share the picture out evenly."""
        return self.rows.even and self.columns.even

    @property
    def grid(self) -> tuple[int, int]:
        """Numbers of cells, (h, w)."""
        return self.rows.count, self.columns.count

    def centres(self) -> Floats:
        """Return x and y, in [0, 1], of the cells, row by row: float32 ``(h·w, 2)``."""
        y, x = np.meshgrid(self.rows.centres(), self.columns.centres(), indexing="ij")
        return np.stack([x, y], axis=-1).reshape(-1, 2).astype(np.float32)

    def boxes_across_map(self, boxes: Floats) -> Floats:
        """Return boxes ``(…, 4)`` of the picture as boxes of the map; NaN stays NaN."""
        x, y = self.columns.across_map, self.rows.across_map
        return _each(boxes, x, y)

    def boxes_across_picture(self, boxes: Floats) -> Floats:
        """Return boxes ``(…, 4)`` of the map as boxes of the picture; NaN stays NaN."""
        x, y = self.columns.across_picture, self.rows.across_picture
        return _each(boxes, x, y)

    def as_record(self) -> list[list[float]]:
        """Return ``[[first, step] of the rows, … of the columns]``, in [0, 1], for a record."""
        return [[axis.first, axis.step] for axis in (self.rows, self.columns)]

    @classmethod
    def of_record(cls, grid: tuple[int, int], record: Sequence[Sequence[float]]) -> Cells:
        """Return what :meth:`as_record` wrote of a grid.

        Raises:
            ValueError: numbers that no map has, or others than two pairs.
        """
        (top, down), (left, across) = record
        values = [float(value) for value in (top, down, left, across)]
        possible = np.isfinite(values).all() and values[1] > 0 and values[3] > 0
        if not possible or max(map(abs, values)) > 2.0:
            raise ValueError(f"cells of a map cannot lie at {record!r}")
        return cls(CellAxis(grid[0], *values[:2]), CellAxis(grid[1], *values[2:]))


Way = Callable[[Floats], Doubles]
"""Takes points along one axis elsewhere."""


def _each(boxes: Floats, x: Way, y: Way) -> Floats:
    return np.stack(
        [way(boxes[..., side]) for side, way in enumerate((x, y, x, y))], axis=-1
    ).astype(np.float32)
