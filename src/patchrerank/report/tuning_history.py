"""What random search and the published grid would have found, setting by setting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from patchrerank.errors import TableError
from patchrerank.metrics.lists import Doubles
from patchrerank.pipeline.stages import StageSpec
from patchrerank.report.tuning_charts import Chart, rounded
from patchrerank.report.tuning_view import (
    StageView,
    gamma_range,
    value_of,
)
from patchrerank.tuning.trials.grid_space import GAMMAS, LAMS, SIZES
from patchrerank.tuning.trials.trial import Trial

ORDERS = 20
"""How many random searches are drawn."""
DRAWN, FEWEST, MOST = 5, 400, 1000
"""Random settings that are evaluated: so many times the trials, within these limits."""
WORK, AT_LEAST = 400_000_000, 200
"""Fewer where the table is large: so many pairs in all, but at least so many settings."""
SPREAD = (10, 50, 90)
"""Percentiles over them."""


def history_chart(
    view: StageView,
    stages: tuple[StageSpec, ...],
    trials: Sequence[Trial],
    seed: int = 0,
    *,
    progress: bool = False,
) -> Chart:
    """Return the best of the first n settings of random searches and of the published grid.

    Random settings are uniform in λ and k (in a cascade up to the k of the stage before) and
    log-uniform in γ, over the range of the trials; each random search takes them in an order of
    its own. The grid is one reranker's: a cascade has none.

    Args:
        view: of the tuned stages.
        stages: the tuned ones.
        trials: give the range of γ, and how many settings a random search tries.
        seed: of the drawing.
        progress: show a progress bar.
    """
    chart: Chart = {"orders": ORDERS}
    rng = np.random.default_rng(seed)
    try:
        pool = _random_values(view, stages, trials, rng, progress=progress)
        best = [np.maximum.accumulate(rng.permutation(pool)) for _ in range(ORDERS)]
        spread = np.percentile(best, SPREAD, axis=0)[:, : max(len(trials), 1)]
        chart |= {"random": dict(zip(("low", "median", "high"), map(rounded, spread), strict=True))}
        chart |= {"settings": len(pool)}
    except TableError as error:
        chart |= {"random_note": f"No random search: {error}"}
    if len(stages) > 1:
        return chart | {"grid_note": "The published grid tunes one stage; a cascade has no curve."}
    try:
        values = view.means(LAMS, GAMMAS, SIZES)
    except TableError as error:
        return chart | {"grid_note": f"No published grid: {error}"}
    return chart | {"grid": rounded(np.maximum.accumulate(values.reshape(-1)))}


def _random_values(
    view: StageView,
    stages: tuple[StageSpec, ...],
    trials: Sequence[Trial],
    rng: np.random.Generator,
    *,
    progress: bool,
) -> Doubles:
    """Return the metric of random settings, float64 ``(n,)``."""
    names = [stage.reranker for stage in stages]
    spans = [_gammas_of(name, stages, trials) for name in names]
    first = StageView(view.table, (), names[0], view.metric)
    if first.limit < first.least:
        raise TableError(f"scores of {names[0]!r} were not computed")
    values = []
    count = _settings(view, trials)
    for _ in tqdm(range(count), desc="random settings", unit="setting", disable=not progress):
        drawn: list[StageSpec] = []
        least, limit = first.least, first.limit
        for name, span in zip(names, spans, strict=True):
            size = int(rng.integers(least, limit + 1))
            drawn.append(StageSpec(name, float(rng.random()), _log_uniform(span, rng), size))
            least, limit = 1, size
        values.append(value_of(view.table, drawn, view.metric))
    return np.array(values)


def _settings(view: StageView, trials: Sequence[Trial]) -> int:
    affordable = max(AT_LEAST, WORK // max(1, view.table.rows.size))
    return min(max(DRAWN * len(trials), FEWEST), MOST, affordable)


def _gammas_of(
    name: str, stages: tuple[StageSpec, ...], trials: Sequence[Trial]
) -> tuple[float, float]:
    tried = [*stages, *(stage for trial in trials for stage in trial.stages)]
    return gamma_range(stage.fusion for stage in tried if stage.reranker == name)


def _log_uniform(span: tuple[float, float], rng: np.random.Generator) -> float:
    low, high = span
    return float(low * (high / low) ** rng.random())
