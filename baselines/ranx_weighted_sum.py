"""ranx's ``optimize_fusion(norm="min-max", method="wsum")``: eleven weights, all candidates.

Each list is scaled to [0, 1] by its own lowest and highest score; the sum of the two, weighted
w and 1 − w, is sorted; w runs over 0, 0.1, …, 1 and the last of equally good weights is kept. A
candidate without local evidence counts 0 there, as a document that a run lacks does in ranx.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from fitting import Apply, Values, run

from patchrerank.metrics import average_precisions
from patchrerank.tuning import ScoreTable

NAME = "ranx weighted sum"
WEIGHTS = np.arange(11) / 10


def fit(table: ScoreTable, seed: int) -> tuple[Apply, dict[str, Any], int]:
    """Return the best weight of the first stage."""
    means = [float(np.nanmean(values_at(table, weight))) for weight in WEIGHTS]
    best = max(range(len(means)), key=lambda number: (means[number], number))
    weight = float(WEIGHTS[best])
    return (lambda other: values_at(other, weight)), {"weight": weight}, len(WEIGHTS)


def values_at(table: ScoreTable, weight: float) -> Values:
    """Return the average precision of each query at a weight of the first stage."""
    local = table.local_scores[table.reranker()]
    mixed = weight * scaled(table.global_scores, table.valid)
    mixed += (1.0 - weight) * scaled(local, table.valid & np.isfinite(local))
    order = np.argsort(np.where(table.valid, -mixed, np.inf), axis=1, kind="stable")
    relevant, junk, valid = (
        np.take_along_axis(flags, order, axis=1)
        for flags in (table.relevant, table.junk, table.valid)
    )
    found = average_precisions(
        relevant, table.n_positives, table.convention, junk=junk, valid=valid
    )
    return np.asarray(found, dtype=np.float64)


def scaled(scores: np.ndarray, known: np.ndarray) -> Values:
    """Scale each list's known scores to [0, 1]; others count 0."""
    values = scores.astype(np.float64)
    low = np.where(known, values, np.inf).min(axis=1, keepdims=True)
    high = np.where(known, values, -np.inf).max(axis=1, keepdims=True)
    spread = np.maximum(high - low, 1e-9)
    return np.where(known, (np.where(known, values, 0.0) - low) / spread, 0.0)


if __name__ == "__main__":
    run(NAME, fit)
