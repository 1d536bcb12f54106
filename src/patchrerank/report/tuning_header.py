"""The head of a tuning page: figures, warnings, settings and the best trials, as escaped HTML."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from patchrerank.errors import SettingError
from patchrerank.pipeline.stages import StageSpec
from patchrerank.report.content import ReportTable
from patchrerank.report.markup import settings_list, table_card
from patchrerank.report.tuning_view import METRICS
from patchrerank.tuning.statistics import Gain
from patchrerank.tuning.tables.score_table import ScoreTable

BEST_TRIALS = 10
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class TuningSummary:
    """What a tuning run found, as far as its page tells it.

    Attributes:
        stages: reranker and fusion of each tuned stage; at least one.
        metric: what was maximised: ``mAP``, ``LocScore``, or the name of another function.
        value: the metric of the tuned stages on the queries they were tuned on, like all values
            here in [0, 1] for mAP and LocScore; higher is better.
        first_stage_value: of the first stage alone.
        grid_value: the published grid's best; None if it was not evaluated.
        held_out: the gain over the first stage on queries that were left out of the tuning;
            None if it was not measured.
        warnings: what to know before trusting the result.
        about: data set, sampler, seed, folds, versions …, name to value.

    Raises:
        SettingError: no stages, or a value of mAP or LocScore outside [0, 1].
    """

    stages: tuple[StageSpec, ...]
    metric: str
    value: float
    first_stage_value: float
    grid_value: float | None = None
    held_out: Gain | None = None
    warnings: Sequence[str] = ()
    about: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.stages:
            raise SettingError("stages: a tuning page needs at least one stage")
        for name in ("value", "first_stage_value", "grid_value"):
            self.check_value(name, getattr(self, name))

    def check_value(self, name: str, value: float | None) -> None:
        """Refuse percentages where values lie in [0, 1]."""
        if self.in_percent and value is not None and not 0.0 <= value <= 1.0:
            raise SettingError(
                f"{name}: {self.metric} must lie in [0, 1], got {value}; divide percentages by 100"
            )

    @property
    def in_percent(self) -> bool:
        """Whether values are shown in percent."""
        return self.metric in METRICS


def title_of(result: TuningSummary) -> str:
    """Return the page's heading as plain text."""
    names = " → ".join(stage.reranker for stage in result.stages)
    return f"Tuning of {names} for {result.metric}"


def figures(result: TuningSummary) -> str:
    """Return the values, side by side."""
    first = result.first_stage_value
    shown = [
        ("Tuned", _value(result, result.value), _over(result, result.value - first)),
        ("First stage alone", _value(result, first), ""),
    ]
    if result.grid_value is not None:
        over = _over(result, result.grid_value - first)
        shown.append(("Published grid’s best", _value(result, result.grid_value), over))
    tiles = "".join(_tile(*tile) for tile in shown) + _held_out(result)
    return f'<div class="figures">{tiles}</div>'


def _tile(name: str, value: str, note: str, kind: str = "") -> str:
    return (
        f'<div class="figure {kind}"><span>{escape(name)}</span><b>{escape(value)}</b>'
        f"<small>{escape(note)}</small></div>"
    )


def _held_out(result: TuningSummary) -> str:
    gain = result.held_out
    if gain is None:
        return _tile("Gain on held-out queries", "–", "not measured; the tuned value is optimistic")
    lowest, highest = (_signed(result, end) for end in (gain.low, gain.high))
    sure = gain.p_value < SIGNIFICANT
    note = (
        f"95 % interval {lowest} … {highest}, p = {gain.p_value:.2g}"
        f"{'' if sure else ' (not significant)'}; "
        f"{gain.wins} queries better, {gain.losses} worse, {gain.ties} the same"
    )
    kind = "" if not sure else "up" if gain.mean > 0 else "down"
    unit = " points" if result.in_percent else ""
    return _tile("Gain on held-out queries", _signed(result, gain.mean) + unit, note, kind)


def warning_list(result: TuningSummary) -> str:
    """Return the warnings, or nothing if there are none."""
    if not result.warnings:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in result.warnings)
    return (
        '<section class="card warnings" role="note"><h2>Before you trust this</h2>'
        f"<ul>{items}</ul></section>"
    )


def fact_cards(
    result: TuningSummary, table: ScoreTable, records: Sequence[Mapping[str, Any]]
) -> str:
    """Return the tuned stages, the best trials, and what the run is of."""
    return table_card(_stages(result)) + _best_trials(result, records) + _about(result, table)


def _stages(result: TuningSummary) -> ReportTable:
    rows = [
        (
            str(number),
            stage.reranker,
            f"{stage.lam:.4g}",
            f"{stage.gamma:.4g}",
            "all" if stage.shortlist_size is None else str(stage.shortlist_size),
        )
        for number, stage in enumerate(result.stages, start=1)
    ]
    return ReportTable(
        title="Tuned settings",
        headers=("stage", "reranker", "λ", "γ", "k"),
        rows=tuple(rows),
        note="s = λ·s_global + (1 − λ)·σ(γ·s_local) on the first k candidates. "
        "A stage with k = 0 does nothing.",
    )


def _best_trials(result: TuningSummary, records: Sequence[Mapping[str, Any]]) -> str:
    finished = [record for record in records if record["value"] is not None]
    if not records:
        return ""
    best = sorted(finished, key=lambda record: (-record["value"], record["number"]))[:BEST_TRIALS]
    rows = [
        (
            str(record["number"]),
            _value(result, record["value"]),
            "–" if record["ms"] is None else f"{record['ms']:.2f}",
            record["stages"],
        )
        for record in best
    ]
    note = f"{len(records)} trials, {len(records) - len(finished)} of them without a value."
    headers = ("trial", result.metric, "ms a query", "settings")
    return table_card(ReportTable("Best trials", headers, tuple(rows), note))


def _about(result: TuningSummary, table: ScoreTable) -> str:
    found = {
        **table.about,
        "queries": f"{len(table)}, {table.size} candidates each",
        "average precision": str(table.convention),
        **result.about,
    }
    return settings_list(found)


def _value(result: TuningSummary, value: float) -> str:
    if not math.isfinite(value):
        return "–"
    return f"{100 * value:.2f} %" if result.in_percent else f"{value:.4g}"


def _signed(result: TuningSummary, value: float) -> str:
    shown = f"{100 * value:+.2f}" if result.in_percent else f"{value:+.3g}"
    return shown.replace("-", "−")


def _over(result: TuningSummary, value: float) -> str:
    points = " points" if result.in_percent else ""
    return f"{_signed(result, value)}{points} over the first stage"
