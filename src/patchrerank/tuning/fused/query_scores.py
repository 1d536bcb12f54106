"""What a trial is worth, query by query, and what a reranker costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from patchrerank.metrics.lists import Doubles, mean_over_queries

Metric = Literal["AP", "LocScore"]
GLOBAL = "global"
"""The name of the first stage among overlaps and costs; its box is the whole image."""


@dataclass(frozen=True)
class Cost:
    """What a reranker costs, one query at a time on one thread.

    Attributes:
        ms_per_candidate: milliseconds for each candidate; NaN if nobody measured it.
        ms_per_query: milliseconds for each query beside that.
        reads: bytes an image that it reads, by what is read (``patches``, ``local``,
            ``globals``), so that two stages that read the same count it once.
    """

    ms_per_candidate: float = float("nan")
    ms_per_query: float = 0.0
    reads: Mapping[str, float] = field(default_factory=dict)

    @property
    def bytes_per_image(self) -> float:
        """Bytes an image that it reads."""
        return float(sum(self.reads.values()))

    def milliseconds(self, candidates: int) -> float:
        """Return the milliseconds for one query with so many candidates."""
        return self.ms_per_query + candidates * self.ms_per_candidate if candidates else 0.0


def ms_before_stages(costs: Mapping[str, Cost]) -> float:
    """Return the milliseconds a query that are spent before the first stage, such as on views."""
    return costs.get(GLOBAL, Cost()).ms_per_query


@dataclass(frozen=True, eq=False)
class QueryScores:
    """Float64 ``(Q,)`` in [0, 1], higher is better, NaN for a query without positives.

    Attributes:
        AP: average precision by the table's convention.
        LocScore: the same, each positive paid by the overlap of its box; all NaN if the table
            knows no overlaps.
    """

    AP: Doubles
    LocScore: Doubles

    @property
    def metrics(self) -> dict[str, float]:
        """Means over the queries that have positives, in percent."""
        return {
            "mAP": 100 * mean_over_queries(self.AP),
            "LocScore": 100 * mean_over_queries(self.LocScore),
        }

    @property
    def mAP(self) -> float:  # noqa: N802
        """Mean average precision in percent."""
        return self.metrics["mAP"]
