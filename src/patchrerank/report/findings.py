"""What methods found on a data set, and the page and figures that show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from patchrerank.analysis import Run, evaluate_methods
from patchrerank.analysis.methods import check_labels
from patchrerank.report.comparison import (
    compare_runs,
    gains_table,
    metrics_table,
    result_sentence,
    shared_settings,
    with_costs,
)
from patchrerank.report.content import ReportQuery, ReportTable
from patchrerank.report.figure_style import FigureStyle
from patchrerank.report.figures import write_figures
from patchrerank.report.page import check_thumbnail, write_report
from patchrerank.report.selection import QueryChoice, choose_queries, describe_choice

if TYPE_CHECKING:
    from patchrerank.analysis import EvaluationSettings, Measured, Method
    from patchrerank.datasets import Dataset
    from patchrerank.encoders import Encoder


@dataclass(frozen=True)
class Findings:
    """Runs of several methods on one data set.

    Attributes:
        dataset: whose queries were asked.
        runs: label → run, the method to compare with first.
    """

    dataset: Dataset
    runs: Mapping[str, Run]

    @property
    def title(self) -> str:
        """What is compared with what."""
        first, *others = self.runs
        methods = f"{others[-1]} against {first}" if others else first
        return f"{self.dataset.name}: {methods}"

    @cached_property
    def queries(self) -> list[ReportQuery]:
        """All queries, in the data set's order."""
        return compare_runs(self.dataset, self.runs)

    @property
    def result(self) -> str:
        """What came out, in a sentence."""
        return result_sentence(self.queries, self._measured)

    @property
    def tables(self) -> list[ReportTable]:
        """Metrics of each method, and how many queries it gains and loses."""
        metrics = metrics_table(f"{self.dataset.name}, all queries", self._measured)
        gains = gains_table(self.queries)
        return [with_costs(metrics, self._measured), *([gains] if gains else [])]

    @property
    def _measured(self) -> dict[str, Measured]:
        return {label: run.measured for label, run in self.runs.items()}

    @property
    def settings(self) -> dict[str, str]:
        """What all numbers depend on."""
        return shared_settings(self.runs)

    def chosen(self, choice: QueryChoice) -> list[ReportQuery]:
        """Return the queries to show; see :func:`choose_queries`."""
        return choose_queries(self.queries, choice)


@dataclass(frozen=True)
class Output:
    """Where findings are written.

    Attributes:
        page: the HTML file.
        figures: folder of figures; None: none are drawn.
        style: of the figures.
        thumbnail: long side of the pictures in the page, in pixels.

    Raises:
        SettingError: a thumbnail outside the range of :func:`write_report`.
    """

    page: Path
    figures: Path | None = None
    style: FigureStyle = field(default_factory=FigureStyle)
    thumbnail: int = 320

    def __post_init__(self) -> None:
        check_thumbnail(self.thumbnail)


def find(
    dataset: Dataset,
    encoder: Encoder,
    methods: Sequence[Method],
    cache: Path | None,
    settings: EvaluationSettings,
) -> Findings:
    """Run methods of different labels; see :func:`patchrerank.analysis.evaluate_methods`.

    Raises:
        SettingError: no methods, or two of one label.
        PatchRerankError: whatever is wrong with pictures, data set or settings.
    """
    check_labels(methods)
    dataset.check_pictured("a page")
    runs = evaluate_methods(dataset, encoder, methods, settings, cache)
    labels = (method.label for method in methods)
    return Findings(dataset, dict(zip(labels, runs, strict=True)))


def write_findings(
    found: Findings, choice: QueryChoice, output: Output, *, progress: bool = False
) -> list[Path]:
    """Write the page, and the figures if they are wanted; return the figures' files.

    Args:
        found: what to show.
        choice: the queries to show.
        output: where to.
        progress: show progress bars.

    Raises:
        ImageError: a picture cannot be read.
        SettingError: a file cannot be written.
    """
    chosen = found.chosen(choice)
    shown = describe_choice(chosen, len(found.queries), choice)
    write_report(
        output.page,
        title=found.title,
        queries=chosen,
        tables=found.tables,
        settings={**found.settings, "shown": shown},
        result=found.result,
        thumbnail=output.thumbnail,
        progress=progress,
    )
    if output.figures is None:
        return []
    return write_figures(output.figures, chosen, output.style, progress=progress)
