"""Whether a data set can be measured at all, and over how many of its queries a mean is taken."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from patchrerank.analysis.relevance import Relevance
from patchrerank.datasets import Dataset
from patchrerank.errors import DatasetError
from patchrerank.metrics import APConvention
from patchrerank.metrics.tied import tied_range
from patchrerank.types import Queries, QueryCrop, QueryViews, Ranking

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ties:
    """How far mAP depends on the order in which the gallery lists candidates that tie.

    Attributes:
        queries: whose average precision does.
        lowest_mAP: percent, the worst order in every tie.
        highest_mAP: percent, the best.
    """

    queries: int
    lowest_mAP: float  # noqa: N815 – the metric's name
    highest_mAP: float  # noqa: N815

    def __str__(self) -> str:
        if not self.queries:
            return ""
        have = "1 query has" if self.queries == 1 else f"{self.queries} queries have"
        return (
            f"{have} relevant and irrelevant candidates that tie: by their order in the gallery, "
            f"mAP lies between {self.lowest_mAP:.1f} and {self.highest_mAP:.1f}"
        )


def ties_of(relevance: Relevance, ranking: Ranking, convention: APConvention) -> Ties:
    """Return what ties of a ranking leave open; its scores of all kinds must be equal in a tie."""
    found = tied_range(
        relevance.relevant,
        relevance.n_positives,
        convention,
        scores=(ranking.scores, ranking.global_scores, ranking.local_scores),
        junk=relevance.junk,
        valid=relevance.valid,
    )
    return Ties(found.queries, 100 * found.lowest, 100 * found.highest)


def check_measurable(dataset: Dataset, crop: QueryCrop | None = None) -> None:
    """Refuse a data set that has nothing to measure, before the expensive part.

    Args:
        dataset: to be measured.
        crop: of the queries; None: the data set's own.

    Raises:
        DatasetError: no images, no queries, no query has a positive, or queries are to be cut to
            their boxes and none has a box.
    """
    where = dataset.root
    if not dataset.images:
        raise DatasetError(f"{where}: the data set has no images, so there is nothing to search")
    if not dataset.queries:
        raise DatasetError(f"{where}: the data set has no queries, so there is nothing to measure")
    if not with_positives(dataset):
        raise DatasetError(
            f"{where}: none of the {len(dataset.queries)} queries has a positive among the "
            f"{len(dataset.images)} images, so there is nothing to measure; do the instances of "
            "queries and images agree?"
        )
    check_crop(dataset, crop or dataset.query_crop)


def check_crop(dataset: Dataset, crop: QueryCrop) -> None:
    """Refuse to cut queries to boxes that none of them has; say how many lack theirs.

    Raises:
        DatasetError: no query has a box.
    """
    without = queries_without_box(dataset) if crop == "box" else 0
    if without and without == len(dataset.queries):
        raise DatasetError(
            f"{dataset.root}: no query has a box, so query crop 'box' would cut nothing; use "
            "--query-crop none (query_crop='none')"
        )
    if without:
        logger.warning(
            "%d of %d queries have no box and are encoded whole", without, len(dataset.queries)
        )


def queries_without_box(dataset: Dataset) -> int:
    """Return how many queries have no box."""
    return sum(query.box is None for query in dataset.queries)


def with_positives(dataset: Dataset) -> int:
    """Return how many queries have a positive: the n of every mean over queries."""
    return sum(len(rows) > 0 for rows in dataset.positives)


def described(dataset: Dataset) -> str:
    """Return name and numbers of a data set, for records; says where means are over fewer."""
    queries, positive = len(dataset.queries), with_positives(dataset)
    of = "" if positive == queries else f", {positive} with a positive"
    return f"{dataset.name} ({queries} queries{of}, {len(dataset.images)} images)"


def counted_queries(counted: int, queries: int) -> str:
    """Return ``1 of 2 queries has a positive``, to stand beside a mean."""
    if counted == queries:
        return f"mean over {queries} queries" if queries != 1 else "1 query"
    return f"{counted} of {queries} queries {'has' if counted == 1 else 'have'} a positive"


def views_record(views: QueryViews, queries: Queries) -> str:
    """Return query views for records, with how many queries have no object to compose."""
    without = sum(source == "none" for source in queries.views)
    return f"{views}, nothing done for {without} of {len(queries)}" if without else str(views)


def crop_record(dataset: Dataset, crop: str) -> dict[str, str]:
    """Return the query crop for records, with how many queries it could not cut."""
    without = queries_without_box(dataset) if crop == "box" else 0
    return {"query_crop": crop, **({"queries_without_box": str(without)} if without else {})}
