"""The scale of a shortlist's scores, as far as λ minds it."""

from __future__ import annotations

import logging

from patchrerank.types import EMPTY, Shortlist

logger = logging.getLogger(__name__)

COSINES = 1.01
"""Beyond ± this, scores are no cosines, even rounded ones."""


def warn_of_scale(shortlist: Shortlist, lam: float) -> None:
    """Log it where λ weighs scores that are no cosines against local scores in [0, 1]."""
    scores = shortlist.scores
    if not scores.size or -COSINES <= scores.min() <= scores.max() <= COSINES:
        return
    known = scores[shortlist.rows != EMPTY]
    if known.size and max(known.max(), -known.min()) > COSINES:
        logger.warning(
            "scores of the shortlist lie between %g and %g, outside the [−1, 1] of cosines, and "
            "λ = %g weighs them against local scores in [0, 1]; say what they are (metric)",
            known.min(),
            known.max(),
            lam,
        )
