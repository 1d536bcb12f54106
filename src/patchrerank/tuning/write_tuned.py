"""From a tuning result to ``tuned.json``, with everything needed to use it."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np

from patchrerank.calibration import Calibration
from patchrerank.errors import SettingError
from patchrerank.json_files import parse_json
from patchrerank.metrics import mean_over_queries
from patchrerank.pipeline import StageSpec, Tuned, TunedOn, Versions, parse_stages
from patchrerank.pipeline.stages import check_reranker
from patchrerank.records import from_json
from patchrerank.tuning.calibrate import calibrate
from patchrerank.tuning.fused.spreads import spread_of
from patchrerank.tuning.held_out import values_of
from patchrerank.tuning.tables.derived import after_stages, ranked_by
from patchrerank.tuning.tables.score_table import ScoreTable
from patchrerank.tuning.tuning_run import TuningResult

TUNED_ON = "tuned_on"
"""The key of ``ScoreTable.about`` under which a study keeps its :class:`TunedOn` as JSON."""

GLOBAL = "global"

FLAT = 0.02
"""γ times the largest scores, where σ is a straight line within 1 in 30,000."""

logger = logging.getLogger(__name__)


def behind(table: ScoreTable, first_stage: str) -> ScoreTable:
    """Return the table as it looks behind another first stage.

    Args:
        table: of the global first stage.
        first_stage: ``global`` (the table itself); a reranker, whose raw scores become the
            global ones; or stages with their numbers, such as ``patchify:all:0:4``.

    Raises:
        SettingError: an unknown reranker or malformed stages.
        TableError: scores that are needed are not there.
    """
    if first_stage == GLOBAL:
        return table
    if ":" not in first_stage:
        return ranked_by(table, first_stage)
    return after_stages(table, parse_stages(first_stage))


def whole_cascade(
    table: ScoreTable, first_stage: str, stages: tuple[StageSpec, ...]
) -> tuple[StageSpec, ...]:
    """Return the stages of a cascade that starts at the global first stage.

    A reranker's raw scores are what a stage with a tiny γ gives, but for a factor and a
    constant; the first tuned stage's λ is set so that both weigh the same.

    Args:
        table: of the global first stage.
        first_stage: see :func:`behind`.
        stages: tuned behind it.
    """
    used = tuple(stage for stage in stages if stage.used)
    if first_stage == GLOBAL:
        return used or (*stages[:1],)
    if ":" in first_stage:
        return (*parse_stages(first_stage), *used)
    gamma = FLAT / spread_of(table.local_scores[first_stage], table.valid).reach
    flat = StageSpec(first_stage, 0.0, gamma, None)
    if not used:
        return (flat,)
    first, *later = used
    lam = first.lam / (first.lam + (1 - first.lam) * gamma / 4)
    return (flat, replace(first, lam=lam), *later)


def tuned_of(
    result: TuningResult,
    table: ScoreTable,
    first_stage: str = GLOBAL,
    *,
    tuned_on: TunedOn | None = None,
    folds: int = 5,
) -> Tuned:
    """Return what to write to ``tuned.json``, calibrated if that is possible.

    Args:
        result: tuned on :func:`behind` of ``table`` and ``first_stage``.
        table: of the global first stage.
        first_stage: see :func:`behind`.
        tuned_on: gallery and queries; None: as the table's ``about`` says.
        folds: of the calibration's check.

    Raises:
        SettingError: a stage that is no reranker of this library, or a goal that is no metric.
    """
    stages = whole_cascade(table, first_stage, result.stages)
    for stage in stages:
        check_reranker(stage.reranker)
    value = mean_over_queries(values_of(table, stages, result.metric))
    calibration, doubts = _calibrated(table, stages, folds, result.seed)
    held_out = result.held_out
    return Tuned(
        stages=stages,
        tuned_on=tuned_on or tuned_on_of(table),
        metric=result.goal,
        convention=str(table.convention),
        value=value,
        held_out=None if held_out is None else held_out.estimate,
        folds=0 if held_out is None else held_out.folds,
        seed=result.seed,
        sampler=result.sampler,
        versions=Versions.current(),
        warnings=(*result.warnings, *doubts),
        calibration=calibration,
    )


def about_tuned_on(tuned_on: TunedOn) -> dict[str, str]:
    """Return the entry of ``ScoreTable.about`` that :func:`tuned_on_of` reads."""
    return {TUNED_ON: json.dumps(asdict(tuned_on), sort_keys=True)}


def tuned_on_of(table: ScoreTable) -> TunedOn:
    """Return gallery and queries that a table says it was made of.

    Raises:
        SettingError: it does not say: it was not built by a study, but imported.
    """
    text, where = table.about.get(TUNED_ON), "the table's about.tuned_on"
    if text is None:
        raise SettingError(
            "this table does not say which gallery and queries it was made of, so tuned.json "
            "cannot say where it holds; build the table from a data set (patchrerank tune "
            "--dataset)"
        )
    return from_json(TunedOn, parse_json(text, where), where, complete=False)


def _calibrated(
    table: ScoreTable, stages: tuple[StageSpec, ...], folds: int, seed: int
) -> tuple[Calibration | None, Sequence[str]]:
    used = [stage for stage in stages if stage.used]
    if not used:
        return None, ()
    after = after_stages(table, used)
    sizes = [stage.shortlist_size for stage in used if stage.shortlist_size is not None]
    head = min(sizes, default=table.size)
    valid = (after.valid & ~after.junk)[:, :head]
    scores = np.where(valid, after.global_scores[:, :head], 0.0)
    try:
        found = calibrate(
            scores, after.relevant[:, :head], valid, after.groups, folds=folds, seed=seed
        )
    except SettingError as error:
        return None, [f"no match probabilities: {error}"]
    return found, ()
