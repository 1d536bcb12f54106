"""What a report shows: queries, the hits of each method, and tables of metrics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from patchrerank.boxes import WHOLE_IMAGE, check_boxes
from patchrerank.errors import SettingError

if TYPE_CHECKING:
    from PIL import Image

Box = tuple[float, float, float, float]

SHOWN_HITS = 10
"""How many hits of each method the page shows."""

SAME_GAIN = 0.0005
"""Differences of average precision below this read 0.000 and count as unchanged."""

GROUPS = {"gains": "largest gains", "losses": "largest losses", "sample": "random sample"}
"""Why a query is shown, where not all are: name → what the page calls it."""


@dataclass(frozen=True)
class ReportHit:
    """One gallery picture in the result list of one method.

    Attributes:
        id: the gallery id; any text.
        image: the picture, a path or a picture object.
        score: what the method ranked by; higher is better.
        correct: whether it shows what was asked for; None = unknown.
        predicted: ``(x0, y0, x1, y1)`` in [0, 1] of the picture after EXIF rotation, where the
            method found it; None if it does not say.
        truths: where it really is, in the same coordinates; none, one or several boxes.

    Raises:
        RegionError: a box is empty, NaN or outside [0, 1].
    """

    id: str
    image: Path | Image.Image
    score: float
    correct: bool | None
    predicted: Box | None
    truths: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        if self.predicted is not None:
            check_boxes([self.predicted], f"predicted box of hit {self.id!r}")
        check_boxes(self.truths, f"true boxes of hit {self.id!r}")


@dataclass(frozen=True)
class ReportColumn:
    """The answer of one method to one query.

    Attributes:
        name: the method, as the reader knows it.
        average_precision: in [0, 1], higher is better; None = not known. Say in the note of a
            :class:`ReportTable` which convention it follows.
        hits: best first; the page shows the first ten.

    Raises:
        SettingError: the average precision is outside [0, 1] or NaN.
    """

    name: str
    average_precision: float | None
    hits: tuple[ReportHit, ...]

    def __post_init__(self) -> None:
        value = self.average_precision
        if value is not None and not 0.0 <= value <= 1.0:
            raise SettingError(
                f"average precision of {self.name!r} must lie in [0, 1], got {value}; "
                "divide percentages by 100, and pass None where it is not defined"
            )

    @property
    def shown(self) -> tuple[ReportHit, ...]:
        """The hits that the page shows."""
        return self.hits[:SHOWN_HITS]


@dataclass(frozen=True)
class ReportQuery:
    """One query and what every method answered.

    Attributes:
        id: the query id; any text.
        image: the query picture, a path or a picture object.
        box: ``(x0, y0, x1, y1)`` in [0, 1], the object that was asked for; None = whole picture.
        columns: one for each method, the one to compare with first.
        group: why it is shown, one of ``GROUPS``; empty where all queries are.

    Raises:
        RegionError: the box is empty, NaN or outside [0, 1].
        SettingError: an unknown group.
    """

    id: str
    image: Path | Image.Image
    box: Box | None
    columns: tuple[ReportColumn, ...]
    group: str = ""

    def __post_init__(self) -> None:
        if self.group and self.group not in GROUPS:
            raise SettingError(
                f"query {self.id!r}: group {self.group!r} is unknown; use one of "
                f"{', '.join(GROUPS)}, or none"
            )
        if self.box is not None:
            check_boxes([self.box], f"box of query {self.id!r}")

    @property
    def gain(self) -> float | None:
        """Average precision of the last method minus that of the first; None if not known."""
        return gain_over(self.columns[0], self.columns[-1]) if len(self.columns) > 1 else None

    def pictures(self) -> Iterator[tuple[Path | Image.Image, str]]:
        """Yield every picture that the page shows, and how an error names it."""
        yield self.image, f"query {self.id!r}"
        for column in self.columns:
            for hit in column.shown:
                yield hit.image, f"hit {hit.id!r} of {column.name!r} for query {self.id!r}"


@dataclass(frozen=True)
class ReportTable:
    """A table of metrics, ready to print.

    Attributes:
        title: what the table shows.
        headers: one for each column; the first column names the rows.
        rows: cells as text, one row for each method.
        note: how it was measured, with the convention of the average precision.

    Raises:
        SettingError: a row has not as many cells as there are headers.
    """

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.headers):
                raise SettingError(
                    f"table {self.title!r}: row {number} has {len(row)} cells for "
                    f"{len(self.headers)} headers; fill missing cells with ''"
                )


def is_whole(box: tuple[float, ...]) -> bool:
    """Return whether a box is the whole picture; such a box tells nothing and is not drawn."""
    return bool(np.allclose(box, WHOLE_IMAGE, rtol=0, atol=0.001))


def gain_over(first: ReportColumn, other: ReportColumn) -> float | None:
    """Return by how much ``other`` has the higher average precision; None if not known.

    Differences that would read 0.000 are returned as 0.
    """
    if first.average_precision is None or other.average_precision is None:
        return None
    gain = other.average_precision - first.average_precision
    return gain if abs(gain) >= SAME_GAIN else 0.0
