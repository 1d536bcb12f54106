"""A published table, measured again: what stands beside what, and what differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from patchrerank.analysis.charts import Panel, draw
from patchrerank.analysis.published_tables import PublishedRow

if TYPE_CHECKING:
    from patchrerank.datasets import Dataset

Value = float | str | None
MEASURED = "measured"

PAPER = {"INSTRE": (1250, 27_293), "ILIAS": (1232, 4_715)}
"""Queries, and the fewest gallery images, of the data sets behind the printed figures."""

FOREIGN = (
    "The published figures are of other data: they are shown for orientation, and nothing is "
    "marked."
)


@dataclass(frozen=True)
class Line:
    """One row.

    Attributes:
        labels: what it is of, such as encoder and level.
        source: ``measured``, ``computed`` or ``published …``.
        values: figures by column; None where there is none.
        checked: columns whose figure was compared with a printed one.
        differs: those of them that are further from it than the tolerance.
    """

    labels: tuple[str, ...]
    source: str
    values: Mapping[str, Value]
    checked: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reproduction:
    """A published table or figure, measured again.

    Attributes:
        name: such as ``table8``.
        title: what it shows.
        label_names: of each line's labels.
        lines: measured ones, each followed by what was printed.
        tolerance: how far a figure may lie from the printed one, in points; None: nothing was
            printed.
        compared_with: the published data set that figures are marked against, or None.
        settings: everything the figures depend on.
        notes: how to read it.
        missing: what it would take to run it in full, a sentence each.
        panels: of its figure.
    """

    name: str
    title: str
    label_names: tuple[str, ...]
    lines: tuple[Line, ...]
    tolerance: float | None = None
    compared_with: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    panels: tuple[Panel, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the figures, in the order they first come."""
        return tuple(dict.fromkeys(name for line in self.lines for name in line.values))

    @property
    def checked(self) -> int:
        """Number of figures that were compared with printed ones."""
        return sum(len(line.checked) for line in self.lines)

    @property
    def differing(self) -> int:
        """Number of figures that differ from the printed ones."""
        return sum(len(line.differs) for line in self.lines)

    def figure(self) -> str:
        """Return the figure as an SVG document."""
        return draw(self.panels)

    def as_dict(self) -> dict[str, object]:
        """Return a JSON-able record, without the figure."""
        return {
            "name": self.name,
            "title": self.title,
            "lines": [
                {
                    **dict(zip(self.label_names, line.labels, strict=True)),
                    "source": line.source,
                    **line.values,
                    "differs": list(line.differs),
                }
                for line in self.lines
            ],
            "tolerance": self.tolerance,
            "compared_with": self.compared_with,
            "checked": self.checked,
            "differing": self.differing,
            "settings": dict(self.settings),
            "notes": list(self.notes),
            "missing": list(self.missing),
        }


def beside(
    measured: Sequence[Line],
    published: Sequence[PublishedRow],
    compared_with: str | None,
    tolerance: float,
) -> tuple[Line, ...]:
    """Put printed figures behind the measured ones of equal labels, and mark what differs.

    Args:
        measured: lines with our figures.
        published: what was printed. Where ``compared_with`` is one of its data sets, rows of
            others are left out.
        compared_with: the data set to mark against, or None: nothing is marked.
        tolerance: in points.

    Returns:
        The measured lines, each with its printed ones, then the printed ones of nothing that
        was measured.
    """
    shown = [row for row in published if compared_with in (None, row.dataset)]
    lines: list[Line] = []
    for line in measured:
        own = [row for row in shown if row.labels == line.labels]
        marked = _marked(line, own[0], tolerance) if own and compared_with else line
        lines += [marked, *map(_printed, own)]
    seen = {line.labels for line in measured}
    return (*lines, *(_printed(row) for row in shown if row.labels not in seen))


def _marked(line: Line, printed: PublishedRow, tolerance: float) -> Line:
    checked, differs = [], []
    for name, value in line.values.items():
        target = printed.figures.get(name)
        if isinstance(value, float) and target is not None:
            checked.append(name)
            if not abs(value - target) <= tolerance:  # NaN differs too
                differs.append(name)
    return replace(line, checked=tuple(checked), differs=tuple(differs))


def _printed(row: PublishedRow) -> Line:
    return Line(row.labels, f"published {row.dataset}", row.figures)


def paper_dataset(dataset: Dataset) -> str | None:
    """Return ``INSTRE`` or ``ILIAS`` where a data set is in that benchmark's layout or name."""
    texts = (str(dataset.args.get("layout", "")), dataset.name.partition("-")[0])
    return next((name for name in PAPER for text in texts if text.upper() == name), None)


def whole_paper_dataset(dataset: Dataset) -> tuple[str | None, list[str]]:
    """Return the published data set that this one is, or None, and what it lacks to be it."""
    name = paper_dataset(dataset)
    queries, images = len(dataset.queries), len(dataset.images)
    if name is None:
        return None, [
            f"The data set {dataset.name} ({queries} queries, {images} images) is not one of the "
            "paper's: pass --dataset a folder of INSTRE or ILIAS in its original layout"
        ]
    asked, shown = PAPER[name]
    if queries == asked and images >= shown:
        return name, []
    return None, [
        f"{dataset.name} holds {queries} queries and {images} images; the whole {name} has "
        f"{asked} queries and {'' if name == 'INSTRE' else 'at least '}{shown} images"
    ]
