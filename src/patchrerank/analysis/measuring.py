"""The metrics of a ranking: overall, and by the area of the objects."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.analysis.relevance import Relevance, positive_areas
from patchrerank.calibration import reliability
from patchrerank.datasets import Dataset
from patchrerank.metrics import (
    APConvention,
    average_precisions,
    locscores,
    mean_over_queries,
    mlocscores,
    parse_convention,
    recalls_at,
)
from patchrerank.types import Ranking

AREA_BINS = {"<10%": (0.0, 0.10), "10-25%": (0.10, 0.25), "25-70%": (0.25, 0.70)}
DELTAS = (0.3, 0.4, 0.5)
RECALL_DEPTHS = (1, 10)
FIRST = (5, 10)
"""First hits of a query whose probabilities are compared with what is true."""


def measure(
    relevance: Relevance, ranking: Ranking, convention: APConvention
) -> tuple[dict[str, float], npt.NDArray[np.float64]]:
    """Return the metrics (percent) of a ranking and each query's average precision (0 to 1)."""
    seen: dict[str, Any] = {
        "n_positives": relevance.n_positives,
        "junk": relevance.junk,
        "valid": relevance.valid,
    }
    how: dict[str, Any] = {**seen, "convention": convention, "scores": ranking.scores}
    relevant, overlap = relevance.relevant, relevance.iou
    precisions = average_precisions(relevant, **how)
    by_query = {"mAP": precisions, "LocScore": locscores(relevant, overlap, **how)}
    for delta in DELTAS:
        by_query[f"LocScore({delta})"] = locscores(relevant, overlap, delta=delta, **how)
    by_query["mLocScore"] = mlocscores(relevant, overlap, **how)
    for depth in RECALL_DEPTHS:
        by_query[f"recall@{depth}"] = recalls_at(relevant, depth, **seen)
    metrics = {name: 100 * mean_over_queries(values) for name, values in by_query.items()}
    return metrics, precisions


def measure_probabilities(
    relevance: Relevance, ranking: Ranking
) -> dict[str, dict[str, float]] | None:
    """Return Brier score and calibration error of each query's first probabilities, without junk.

    None where there are no probabilities.
    """
    if ranking.probabilities is None:
        return None
    known = ~np.isnan(ranking.probabilities) & relevance.valid & ~relevance.junk
    places = known.cumsum(axis=1)
    found = {}
    for count in FIRST:
        chosen = known & (places <= count)
        if chosen.any():
            held = reliability(ranking.probabilities[chosen], relevance.relevant[chosen])
            figures = {"brier": held.brier, "calibration_error": held.calibration_error}
            found[f"first {count}"] = figures
    return found or None


def measure_areas(
    relevance: Relevance, ranking: Ranking, dataset: Dataset, convention: APConvention
) -> dict[str, dict[str, float]]:
    """Return the metrics (percent) of each object-area bin; other positives count as junk."""
    areas = positive_areas(dataset)
    return {
        name: measure(relevance.within(low, high, areas), ranking, convention)[0]
        for name, (low, high) in AREA_BINS.items()
    }


def counted(relevance: Relevance, dataset: Dataset) -> dict[str, int]:
    """Return how many queries have a positive: of any area (``all``), and of each area bin."""
    areas = positive_areas(dataset)
    by_bin = {
        name: relevance.within(low, high, areas).n_positives
        for name, (low, high) in AREA_BINS.items()
    }
    found = {"all": relevance.n_positives, **by_bin}
    return {name: int((counts > 0).sum()) for name, counts in found.items()}


def dataset_convention(dataset: Dataset) -> APConvention:
    """Return the average-precision convention that the data set fixes."""
    return parse_convention(dataset.convention)
