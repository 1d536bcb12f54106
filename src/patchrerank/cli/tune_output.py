"""What ``patchrerank tune`` prints and writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchrerank.cli import printing
from patchrerank.files import check_target

if TYPE_CHECKING:
    from patchrerank.calibration import Calibration
    from patchrerank.datasets import Dataset
    from patchrerank.tuning import ScoreTable
    from patchrerank.tuning.study_file import StudyFile
    from patchrerank.tuning.tuning_run import TuningResult

SHOWN = 12
"""Trials of a front that are printed; the record holds all."""


def check_outputs(
    plan: StudyFile, out: Path | None, record: Path | None, report: Path | None
) -> None:
    """Refuse files that cannot be written, or are somebody else's, before anything is computed.

    Raises:
        SettingError: names the file.
    """
    from patchrerank.pipeline import Tuned
    from patchrerank.records import records_of
    from patchrerank.report.page import PAGE
    from patchrerank.tuning.result_record import RECORD
    from patchrerank.tuning.trials.studies import check_storage

    for path, ours in ((out, records_of(Tuned)), (record, RECORD), (report, PAGE)):
        if path is not None:
            check_target(path, ours)
    check_storage(plan.settings().options.storage)


def show_result(result: TuningResult, record: Mapping[str, Any]) -> None:
    """Print stages, values, the held-out gain and the warnings."""
    from patchrerank.analysis.measurable import counted_queries

    name = "mAP" if result.metric == "AP" else result.metric
    printing.print_table(
        f"tuned for {result.goal}",
        ("stage", "k", "λ", "γ"),
        [
            (
                stage.reranker,
                _size(stage.shortlist_size),
                f"{stage.lam:.4g}",
                f"{stage.gamma:.4g}",
            )
            for stage in result.stages
        ],
    )
    held = record["held_out"] or {}
    printing.print_table(
        f"{name} in percent; AP convention {record['convention']}; "
        + counted_queries(record["queries_with_positive"], record["queries"]),
        ("", "tuned on all queries", "held out"),
        [
            ("first stage", _percent(record["first_stage"]), _percent(held.get("first_stage"))),
            (
                "published grid",
                _percent(record["published_grid"]),
                _percent(held.get("published_grid")),
            ),
            (
                "tuned",
                _percent(record["figures"][name]),
                _percent(held["value"]["value"] if held else None),
            ),
        ],
    )
    if held:
        for rival in ("first_stage", "published_grid"):
            printing.print_line(
                f"held out, over the {rival.replace('_', ' ')}: {_gain(held, rival)}"
            )
    for trial in _spread(record["front"] or []):
        values = {key: value for key, value in trial.items() if key not in ("trial", "stages")}
        shown = ", ".join(f"{key} {value:.4g}" for key, value in values.items())
        printing.print_line(f"front: {shown}: {trial['stages']}")
    for warning in result.warnings:
        printing.print_line(f"warning: {warning}")
    printing.print_line(f"stages: {record['stages']}")


def show_calibration(calibration: Calibration | None) -> None:
    """Print what the probabilities were worth on held-out queries."""
    check = None if calibration is None else calibration.check
    if check is None:
        return
    parts = [
        f"first {count}: Brier {held.brier:.3f}, calibration error {held.calibration_error:.3f}"
        for count, held in (("five", check.first_five), ("ten", check.first_ten))
    ]
    if check.nothing is not None:
        kept, refused = 100 * check.nothing.kept, 100 * check.nothing.refused
        parts.append(
            f"“nothing found” answers {kept:.0f} % of the lists with an answer and refuses "
            f"{refused:.0f} % of those without"
        )
    printing.print_line(f"probabilities, held out: {'; '.join(parts)}")


def write_page(
    result: TuningResult,
    table: ScoreTable,
    path: Path,
    dataset: Dataset | None = None,
    *,
    progress: bool = False,
) -> None:
    """Write the HTML page of a run."""
    from patchrerank.metrics import mean_over_queries
    from patchrerank.report.tuning_page import TuningSummary, write_tuning_page

    search = result.search
    known = result.goal in ("mAP", "LocScore")
    name = result.goal if known else "mAP"
    summary = TuningSummary(
        stages=result.stages,
        metric=name,
        value=result.value if known else mean_over_queries(result.values),
        first_stage_value=mean_over_queries(result.first),
        grid_value=mean_over_queries(result.grid),
        held_out=result.held_out.over_first if result.held_out else None,
        warnings=result.warnings,
        about={
            "sampler": result.sampler,
            "seed": str(result.seed),
            "folds": str(result.held_out.folds if result.held_out else 0),
        },
    )
    write_tuning_page(
        table,
        search.trials if search and known else (),
        summary,
        path,
        dataset,
        search.study if search else None,
        result.seed,
        progress=progress,
    )


def _spread(front: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return some trials of a long front, evenly apart, its ends among them."""
    if len(front) <= SHOWN:
        return front
    return [front[round(place * (len(front) - 1) / (SHOWN - 1))] for place in range(SHOWN)]


def _size(size: int | None) -> str:
    return "all" if size is None else "off" if size == 0 else str(size)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"


def _gain(held: Mapping[str, Any], rival: str) -> str:
    over = held[f"over_{rival}"]
    return (
        f"{100 * over['mean']:+.2f} points (95 %: {100 * over['low']:+.2f} … "
        f"{100 * over['high']:+.2f}; p = {over['p_value']:.2g}; "
        f"{over['wins']} wins, {over['losses']} losses)"
    )
