"""The slow path that counting has to agree with, and small lists to try it on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from patchrerank.fusion import Fusion
from patchrerank.metrics import (
    FULL,
    REVISITED,
    APConvention,
    ames_convention,
    at,
    average_precisions,
    ilias_at,
    locscores,
)
from patchrerank.types import EMPTY, LocalScores, Ranking, Shortlist

CONVENTIONS = [
    FULL,
    REVISITED,
    at(1),
    at(3),
    at(100),
    ilias_at(2),
    ilias_at(5),
    ilias_at(),
    ames_convention(),
    ames_convention("trapezoidal", 3),
    ames_convention("rectangular"),
    ames_convention("rectangular", 4),
    APConvention("short", cutoff=3, normaliser="min_length"),
    APConvention("tied places", cutoff=4, ties="threshold", cut="places"),
    APConvention("tied", ties="threshold", normaliser="min_length"),
]
BY_ORDER = [one for one in CONVENTIONS if one.ties == "order"]


@dataclass(frozen=True, eq=False)
class Lists:
    """What ``fused_average_precisions`` is given."""

    scores: np.ndarray
    local: np.ndarray
    relevant: np.ndarray
    ignored: np.ndarray
    n_positives: np.ndarray
    weights: np.ndarray | None = None

    @property
    def arguments(self):
        return (self.scores, self.local, self.relevant, self.ignored, self.n_positives)

    def __repr__(self):
        parts = (
            f"{name}={value.tolist()}" for name, value in vars(self).items() if value is not None
        )
        return f"Lists({', '.join(parts)})"


def slow_value(lists, lam, gamma, size, convention=FULL, *, tail_pays=True):
    """Fuse, sort, measure."""
    places = np.arange(lists.scores.shape[1])
    empty = np.isneginf(lists.scores)
    shortlist = Shortlist(np.where(empty, EMPTY, places), lists.scores)
    ranking = Fusion(lam, gamma, size).apply(Ranking.of(shortlist), LocalScores(lists.local))
    valid = ranking.rows != EMPTY

    def reordered(values):
        return np.where(valid, np.take_along_axis(values, ranking.rows, axis=1), 0)

    how = {
        "convention": convention,
        "scores": ranking.scores,
        "junk": reordered(lists.ignored).astype(bool),
        "valid": valid,
    }
    relevant = reordered(lists.relevant).astype(bool)
    if lists.weights is None:
        return average_precisions(relevant, lists.n_positives, **how)
    weights = np.where(lists.relevant, lists.weights, 0)
    if not tail_pays:
        weights = np.where(places < size, weights, 0)
    return locscores(relevant, reordered(weights), lists.n_positives, **how)


def slow_grid(lists, lams, gammas, sizes, convention=FULL, **how):
    return np.array(
        [
            [
                [slow_value(lists, lam, gamma, size, convention, **how) for lam in lams]
                for gamma in gammas
            ]
            for size in sizes
        ]
    ).reshape(len(sizes), len(gammas), len(lams), len(lists.scores))


def random_lists(queries, width, seed, *, junk=0.0, weighted=False, positives=(3, 8)):
    """Relevant candidates score higher on average, in both scores."""
    rng = np.random.default_rng(seed)
    relevant = np.zeros((queries, width), dtype=bool)
    for row in relevant:
        row[rng.choice(width, rng.integers(*positives), replace=False)] = True
    scores = (rng.normal(0.3, 0.1, relevant.shape) + 0.1 * relevant).astype(np.float32)
    order = np.argsort(-scores, axis=1, kind="stable")
    scores, relevant = (np.take_along_axis(array, order, axis=1) for array in (scores, relevant))
    local = (rng.normal(0, 1, scores.shape) + 3 * (scores - 0.3) + 1.5 * relevant).astype(
        np.float32
    )
    ignored = rng.random(scores.shape) < junk
    counts = relevant.sum(axis=1) + rng.integers(0, 3, queries)
    weights = rng.random(scores.shape) if weighted else None
    return Lists(scores, local, relevant, ignored, counts, weights)


LEVELS = [-0.5, -0.25, 0.0, 0.125, 0.25, 0.5, 0.75]
FOUND = [-np.inf, -2.0, -0.5, 0.0, 0.25, 1.0, 3.0, 5.5]


@st.composite
def small_lists(draw, scores=tuple(LEVELS), local=tuple(FOUND), weighted=None):
    """A few short lists full of ties, −inf, junk, empty slots, queries without positives."""
    queries, width = draw(st.integers(1, 3)), draw(st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (queries, width)
    table = np.sort(rng.choice(scores, shape), axis=1)[:, ::-1].astype(np.float32)
    filled = rng.integers(0, width + 1, queries) if draw(st.booleans()) else np.full(queries, width)
    table[np.arange(width) >= filled[:, None]] = -np.inf
    relevant = rng.random(shape) < draw(st.sampled_from([0.2, 0.5, 0.9]))
    relevant &= ~np.isneginf(table)
    ignored = (rng.random(shape) < draw(st.sampled_from([0.0, 0.3]))) | np.isneginf(table)
    counts = relevant.sum(axis=1) + rng.integers(0, 3, queries)
    counts[rng.random(queries) < 0.1] = 0
    relevant[counts == 0] = False
    with_weights = draw(st.booleans()) if weighted is None else weighted
    weights = rng.choice([0.0, 0.25, 0.5, 1.0, np.nan], shape) if with_weights else None
    found = rng.choice(local, shape).astype(np.float32)
    return Lists(table, found, relevant, ignored, counts, weights)
