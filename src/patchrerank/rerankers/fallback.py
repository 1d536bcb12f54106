"""A query whose candidates a stage could not score keeps its order, and says so."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from patchrerank.errors import RerankerError, shortened
from patchrerank.types import Ranking

logger = logging.getLogger(__name__)

LONGEST = 300


def fallen_back(found: Ranking, before: Ranking, name: str, failed: tuple[str, ...]) -> Ranking:
    """Give the queries that a stage failed on their lists back; log how many they are.

    Args:
        found: as the stage left all lists.
        before: as it found them.
        name: of the stage's reranker.
        failed: for each query why, empty where it was scored.
    """
    lost = np.array([bool(reason) for reason in failed])
    reasons = [f"{name}: {shortened(reason, LONGEST)}" if reason else "" for reason in failed]
    logger.warning(
        "%d of %d queries keep the order that came in, since a stage failed (%s)",
        lost.sum(),
        len(lost),
        next(reason for reason in reasons if reason),
    )
    tables = tuple(table.copy() for table in found.tables)
    for table, own in zip(tables, before.tables, strict=True):
        table[lost] = own[lost]
    earlier = before.failed or ("",) * len(reasons)
    told = ("; ".join(filter(None, pair)) for pair in zip(earlier, reasons, strict=True))
    return replace(found.with_tables(tables), failed=tuple(told))


def check_unfailed(failed: tuple[str, ...]) -> None:
    """Refuse to measure lists that a stage could not score.

    Raises:
        RerankerError: says of how many queries, and why.
    """
    reasons = [reason for reason in failed if reason]
    if reasons:
        raise RerankerError(
            f"{len(reasons)} of {len(failed)} queries could not be scored ({reasons[0]}), so there "
            "is nothing to measure; see to the endpoint, or give it more time"
        )
