"""Score tables whose best λ lies inside, and objectives that other processes can import."""

from __future__ import annotations

import numpy as np

from patchrerank.tuning import Cost
from patchrerank.tuning.fused.query_scores import GLOBAL
from patchrerank.tuning.tables.import_table import table_from_arrays


def signal_table(seed=0, queries=24, slots=40, names=("a", "b"), scale=1.0, **more):
    """Five positives a query; global and local scores each know something of their own."""
    rng = np.random.default_rng(seed)
    relevant = np.zeros((queries, slots), dtype=bool)
    for row in relevant:
        row[rng.choice(slots, 5, replace=False)] = True
    scores = 0.3 + 0.1 * (relevant + rng.standard_normal(relevant.shape))
    order = np.argsort(-scores, axis=1, kind="stable")
    relevant = np.take_along_axis(relevant, order, axis=1)
    local = {name: scale * (1.2 * relevant + rng.standard_normal(relevant.shape)) for name in names}
    overlaps = {name: rng.random(relevant.shape) for name in (*names, GLOBAL)}
    areas = np.where(relevant, rng.random(relevant.shape), np.nan)
    counts = relevant.sum(axis=1)
    return table_from_arrays(
        np.tile(np.arange(slots), (queries, 1)),
        np.take_along_axis(scores, order, axis=1),
        local,
        relevant,
        counts,
        overlaps=overlaps,
        areas=areas,
        positive_areas=[row[~np.isnan(row)] for row in areas],
        groups=np.arange(queries) // 2,
        costs={n: Cost(0.1 * (i + 1), 1.0, {n: 100.0}) for i, n in enumerate(names)},
        about={"dataset": "signal"},
        **more,
    )


def top_five(result):
    """A user's objective: the share of queries whose first slot did not move."""
    return float(np.mean(result.AP > 0.5))
