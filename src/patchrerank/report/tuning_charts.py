"""The numbers behind a tuning page's charts: the λ–γ plane, k, milliseconds, importance.

Each function returns what is embedded as JSON. Metrics stay in [0, 1]. A chart that cannot be
drawn is ``{"note": why}``.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from patchrerank.fusion import Fusion
from patchrerank.metrics.lists import Doubles
from patchrerank.pipeline.stages import StageSpec
from patchrerank.report.tuning_view import (
    StageView,
    fusion_in,
    gamma_range,
)
from patchrerank.tuning.fused.query_scores import Cost, ms_before_stages
from patchrerank.tuning.tables.score_table import ScoreTable
from patchrerank.tuning.trials.grid_space import GAMMAS, LAMS, SIZES
from patchrerank.tuning.trials.trial import Trial

if TYPE_CHECKING:
    import optuna

Chart = dict[str, Any]

FINE, COARSE = (101, 61), (21, 13)
"""How many λ and γ the plane shows: where grids can be counted, and where they are sorted."""
CURVE_POINTS = {True: 64, False: 16}
DIGITS = 6
FEWEST_TRIALS = 10
"""With fewer finished trials, no parameter's importance can be told from another's."""


def plane(view: StageView, fusion: Fusion, trials: Sequence[Trial]) -> Chart:
    """Return the metric over λ and γ at the tuned shortlist size, ``values[γ][λ]``."""
    size = min(fusion.size_of(view.table.size), view.limit) or view.limit
    if size < view.least:
        return {"note": f"{view.reranker} has no scores that this picture could be drawn of."}
    columns, rows = FINE if view.fine else COARSE
    chosen = [fusion, *filter(None, (fusion_in(trial, view) for trial in trials))]
    lams = np.linspace(0.0, 1.0, columns)
    gammas = np.geomspace(*gamma_range(chosen), rows)
    values = view.means(lams.tolist(), gammas.tolist(), [size])[0]
    return {
        "size": size,
        "lams": rounded(lams),
        "gammas": rounded(gammas),
        "values": [rounded(row) for row in values],
        "published": {"lams": LAMS, "gammas": GAMMAS[1:]},
        "tuned": {"lam": fusion.lam, "gamma": fusion.gamma},
    }


def size_curve(view: StageView, fusion: Fusion) -> Chart:
    """Return the metric over the shortlist size, at the tuned λ and γ."""
    if view.limit < view.least:
        return {"note": f"{view.reranker} has no scores that this curve could be drawn of."}
    size = min(fusion.size_of(view.table.size), view.limit)
    marks = [mark for mark in (*SIZES, size) if view.least <= mark <= view.limit]
    spread = np.geomspace(view.least, view.limit, CURVE_POINTS[view.fine])
    sizes = sorted({*np.rint(spread).astype(int).tolist(), *marks})
    values = view.means([fusion.lam], [fusion.gamma], sizes)[:, 0, 0]
    published = [mark for mark in SIZES if view.least <= mark <= view.limit]
    return {
        "sizes": sizes,
        "values": rounded(values),
        "size": size,
        "published": published,
        "without": _number(view.without),
    }


def trial_records(trials: Sequence[Trial], view: StageView) -> list[Chart]:
    """Return the trials in order: value, milliseconds, and what they chose for the stage."""
    records = []
    for trial in sorted(trials, key=lambda trial: trial.number):
        chosen = fusion_in(trial, view)
        records.append(
            {
                "number": trial.number,
                "value": _number(trial.value),
                "ms": _number(milliseconds(view.table, trial.stages)),
                "stages": stages_text(trial.stages),
                "lam": None if chosen is None else chosen.lam,
                "gamma": None if chosen is None else chosen.gamma,
            }
        )
    return records


def stages_text(stages: tuple[StageSpec, ...]) -> str:
    """Return stages as a reader sees them; those that rescore nothing are left out."""
    shown = [
        f"{stage.reranker}: λ {stage.lam:.4g}, γ {stage.gamma:.4g}, "
        f"k {'all' if stage.shortlist_size is None else stage.shortlist_size}"
        for stage in stages
        if stage.used
    ]
    return " → ".join(shown) or "first stage alone"


def milliseconds(table: ScoreTable, stages: tuple[StageSpec, ...]) -> float:
    """Return what the stages take for one query on one thread; NaN if a cost is unknown."""
    unknown = Cost()
    return ms_before_stages(table.costs) + math.fsum(
        table.costs.get(stage.reranker, unknown).milliseconds(stage.fusion.size_of(table.size))
        for stage in stages
    )


def cost_chart(records: Sequence[Mapping[str, Any]], first_value: float, tuned_ms: float) -> Chart:
    """Return the Pareto front of value against milliseconds, the first stage alone at 0 ms."""
    points = [
        (record["ms"], record["value"], record["number"])
        for record in records
        if record["ms"] is not None and record["value"] is not None
    ]
    if not points:
        return {"note": "The table holds no costs of these stages, so there are no milliseconds."}
    best, front = first_value, []
    for ms, value, number in sorted(points, key=lambda point: (point[0], -point[1])):
        if value > best:
            best = value
            front.append({"ms": ms, "value": value, "number": number})
    return {"front": front, "tuned": _number(tuned_ms)}


def importance_chart(study: optuna.Study | None) -> Chart:
    """Return the share of each parameter in what makes trials good (Optuna's default: PED-ANOVA).

    With several objectives, in what makes the first of them good.
    """
    if study is None:
        return {"note": "No Optuna study was given, so parameters have no importance here."}
    from optuna.importance import get_param_importances
    from optuna.study import StudyDirection
    from optuna.trial import FrozenTrial, TrialState

    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(done) < FEWEST_TRIALS:
        return {"note": f"{len(done)} finished trials are too few to weigh the parameters."}
    sign = -1.0 if study.directions[0] == StudyDirection.MAXIMIZE else 1.0

    def to_minimise(trial: FrozenTrial) -> float:
        return sign * float(trial.values[0])

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            several = len(study.directions) > 1
            found = get_param_importances(study, target=to_minimise if several else None)
    except (ValueError, RuntimeError) as error:
        return {"note": f"Optuna could not weigh the parameters: {error}"}
    return {"names": list(found), "shares": rounded(list(found.values()))}


def rounded(values: Sequence[float] | Doubles) -> list[float | None]:
    """Return numbers as JSON takes them: six significant digits, None for NaN and infinities."""
    return [_number(value) for value in np.asarray(values, dtype=np.float64).tolist()]


def _number(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{DIGITS}g}")
