"""Scores that carry an order: strictly falling with the rank, in float32.

Whoever sorts hits by score again must find our order: trec_eval compares float32 and breaks ties
by id, others keep whatever order they met. Fused scores do not promise that: saturated sigmoids
tie, and behind a cut stand scores of another scale.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SMALLEST = 0x0080_0000
"""Bits of the smallest normal float32; smaller ones count as 0, as processors may be told to."""

LARGEST = float(np.finfo(np.float32).max)
ORDINARY = 1e-30, 1e30
"""Sizes of float32 with room on either side for any list."""

LOWEST_STEP = SMALLEST - 1 - 0x7F7F_FFFF


def falling_scores(
    scores: npt.NDArray[np.floating],
    valid: npt.NDArray[np.bool_] | None = None,
    behind: int = 0,
) -> npt.NDArray[np.float32]:
    """Return for each place the highest float32 not above its score and below the place before.

    Scores that fall already stay as they are; any other one is lowered by as few steps of
    float32 as that needs. None is denormal, and all are finite: infinite ones are cut to the
    largest float32, and NaN counts as −inf.

    Args:
        scores: ``(Q, K)``, in the order of the ranking.
        valid: bool ``(Q, K)``, False in empty slots, which stand at the end; None: all filled.
        behind: how many places follow that are not among the K.

    Returns:
        float32 ``(Q, K)``; ``-inf`` in empty slots.
    """
    if _falling_already(scores, valid):
        return np.array(scores, dtype=np.float32)
    places = np.arange(np.shape(scores)[1])
    steps = np.maximum(_steps(scores), LOWEST_STEP + behind + places[::-1])  # room
    found = _floats(np.minimum.accumulate(steps + places, axis=1) - places)
    return found if valid is None else np.where(valid, found, np.float32(-np.inf))


def _falling_already(scores: npt.NDArray[np.floating], valid: npt.NDArray[np.bool_] | None) -> bool:
    """Tell lists of ordinary float32, far from the limits, that fall strictly as they are."""
    if scores.dtype != np.float32 or not scores.size or (valid is not None and not valid.all()):
        return False
    if not (scores[:, 1:] < scores[:, :-1]).all():
        return False
    if ORDINARY[0] < scores[:, -1].min() and scores[:, 0].max() < ORDINARY[1]:
        return True
    sizes = np.abs(scores)
    return bool(ORDINARY[0] < sizes.min() and sizes.max() < ORDINARY[1])


def _steps(scores: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Return the number of each float32, counted from 0 upwards and downwards."""
    with np.errstate(over="ignore"):
        values = np.asarray(scores).astype(np.float32)
    values = np.nan_to_num(values, nan=-LARGEST, posinf=LARGEST, neginf=-LARGEST)
    bits = np.ascontiguousarray(np.abs(values)).view(np.int32).astype(np.int64)
    sizes = np.maximum(bits - (SMALLEST - 1), 0)
    return np.where(np.signbit(values), -sizes, sizes)


def _floats(steps: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    sizes = np.abs(steps)
    bits = np.where(sizes > 0, sizes + (SMALLEST - 1), 0).astype(np.int32)
    values = bits.view(np.float32)
    return np.where(steps < 0, -values, values)
