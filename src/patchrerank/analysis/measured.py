"""What an evaluation found: one record of figures, whatever was measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from patchrerank.analysis.measurable import Ties
from patchrerank.analysis.relevance import Relevance
from patchrerank.gallery import Gallery
from patchrerank.types import Ranking

SMALL = "<10%"
"""The object-area bin that stands beside the whole."""


@dataclass(frozen=True)
class Measured:
    """The figures of one evaluation; all metrics in percent, higher is better.

    Attributes:
        metrics: mAP, LocScore, LocScore(0.3/0.4/0.5), mLocScore, recall@1/10.
        areas: the same for positives of each object-area bin (others removed as junk).
        milliseconds: index (an image; None if the gallery was there already), encode, first
            stage and rerank (a query, all together; None: the first stage alone), and the median
            of queries reranked one by one, 100 candidates each, on one thread (None if that was
            not asked for). Kernels were compiled before.
        bytes_per_image: patch vectors, all arrays, and what the method reads (NaN where it looks
            at pictures).
        bytes_per_query: its vector, and what is read (patch vectors, local descriptors, …) to
            rescore its candidates.
        settings: everything that the numbers depend on, with the AP convention's name.
        per_query: average precision of each query, NaN without positives, in the data set's
            order.
        localises: any hit has a box (the first stage's is the whole picture); without one
            LocScore is 0.
        queries: of the data set.
        counted: over how many of them each mean is taken, for they have a positive: ``all``, and
            by object-area bin.
        ties: what candidates that tie leave open.
        reliability: of the probabilities of each query's ``first 5`` and ``first 10``: ``brier``
            and ``calibration_error``, in [0, 1], lower is better
            (:class:`patchrerank.calibration.Reliability`); None without probabilities.
    """

    metrics: dict[str, float]
    areas: dict[str, dict[str, float]]
    milliseconds: dict[str, float | None]
    bytes_per_image: dict[str, float]
    bytes_per_query: dict[str, float]
    settings: dict[str, str]
    per_query: tuple[float, ...]
    localises: bool
    queries: int
    counted: dict[str, int]
    ties: Ties
    reliability: dict[str, dict[str, float]] | None = None

    def as_dict(self) -> dict[str, object]:
        """Return a JSON-able record."""
        return asdict(self)

    def as_row(self) -> dict[str, object]:
        """Return a JSON-able record of what stands in a line of a comparison."""
        return {
            "metrics": {**self.metrics, f"mAP {SMALL}": self.areas[SMALL]["mAP"]},
            "ms_per_query": self.milliseconds["rerank_one_by_one"],
            "bytes_per_image": self.bytes_per_image["read"],
            "AP": self.settings["AP"],
            "localises": self.localises,
            "queries": self.queries,
            "counted": self.counted,
            "ties": asdict(self.ties),
        }


@dataclass(frozen=True)
class Run:
    """An evaluation with what it was computed from.

    Attributes:
        measured: the figures.
        ranking: of the data set's queries, in order. That of the first stage alone holds no
            boxes, since it looks for none, though it counts with the whole picture.
        relevance: what of it is right.
        gallery: that was searched.
    """

    measured: Measured
    ranking: Ranking
    relevance: Relevance
    gallery: Gallery
