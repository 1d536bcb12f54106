"""Tuning by counting against sorting: 1,232 queries × 1,000 candidates, 5 to 10 relevant each.

Skipped unless asked for: ``pytest tests/benchmarks/test_tuning_benchmark.py -m slow -s``. The slow
ways are measured on one point of the published grid a shortlist size (the loop on 100 queries
only) and scaled linearly to its 792 points: each λ, γ and query costs them the same.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.special import expit

from patchrerank.fusion import Fusion
from patchrerank.metrics import FULL, average_precisions, ilias_at
from patchrerank.tuning.fused.exact_lambda import exact_lambda, exact_lambdas
from patchrerank.tuning.fused.fused_ap import fused_average_precisions
from patchrerank.types import LocalScores, Ranking, Shortlist

QUERIES, WIDTH = 1232, 1000
LAMS = np.arange(11) / 10
GAMMAS = np.array([0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
SIZES = np.array([0, 100, 200, 400, 800, 1000])
POINTS = len(LAMS) * len(GAMMAS) * len(SIZES)
SOME = [(1000, 0.5, 0.3), (400, 1.0, 0.7), (100, 0.1, 0.1), (800, 0.3, 0.5)]


@pytest.fixture(scope="module")
def lists():
    """First-stage and local scores that both know something; half of it is the same."""
    rng = np.random.default_rng(0)
    relevant = np.zeros((QUERIES, WIDTH), dtype=bool)
    for row in relevant:
        row[rng.choice(WIDTH, rng.integers(5, 11), replace=False)] = True
    scores = 0.3 + 0.1 * rng.standard_normal(relevant.shape) + 0.2 * relevant
    order = np.argsort(-scores, axis=1)
    scores, relevant = (np.take_along_axis(array, order, axis=1) for array in (scores, relevant))
    local = rng.standard_normal(scores.shape) + 2 * relevant + 4 * (scores - 0.3)
    ignored = np.zeros_like(relevant)
    return *(a.astype(np.float32) for a in (scores, local)), relevant, ignored, relevant.sum(1)


def index_of(values, value):
    return int(np.abs(values - value).argmin())


def seconds_of(run, rounds):
    """Median of the processor time, which a busy machine does not lengthen."""
    times = []
    for _ in range(rounds):
        begun = time.process_time()
        run()
        times.append(time.process_time() - begun)
    return float(np.median(times))


def by_counting(lists, convention=FULL):
    return fused_average_precisions(*lists, LAMS, GAMMAS, SIZES, convention)


def fused(scores, local, gamma, lam):
    return lam * scores.astype(np.float64) + (1 - lam) * expit(gamma * local.astype(np.float64))


def by_argsort(lists, size, gamma, lam, kind):
    """All queries at once: fuse, sort the heads, average precision of what came out."""
    scores, local, relevant, _, counts = lists
    order = np.argsort(-fused(scores[:, :size], local[:, :size], gamma, lam), axis=1, kind=kind)
    hits = relevant.copy()
    hits[:, :size] = np.take_along_axis(relevant[:, :size], order, axis=1)
    return average_precisions(hits, counts)


def by_fusion(lists, size, gamma, lam):
    """As the library fuses and measures a single point, with boxes and scores."""
    scores, local, relevant, _, counts = lists
    rows = np.tile(np.arange(WIDTH), (QUERIES, 1))
    ranking = Fusion(lam, gamma, size).apply(
        Ranking.of(Shortlist(rows, scores)), LocalScores(local)
    )
    return average_precisions(np.take_along_axis(relevant, ranking.rows, axis=1), counts)


def by_loop(lists, size, gamma, lam, queries):
    """One query after another, as evaluation scripts do."""
    scores, local, relevant, _, counts = lists
    values = []
    for query in range(queries):
        head = fused(scores[query, :size], local[query, :size], gamma, lam)
        hits = relevant[query].copy()
        hits[:size] = hits[np.argsort(-head, kind="stable")]
        ranks = np.flatnonzero(hits) + 1
        values.append((np.arange(1, len(ranks) + 1) / ranks).sum() / counts[query])
    return np.array(values)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_published_grid_by_counting(lists):
    grid = by_counting(lists)
    for size, gamma, lam in SOME:
        point = grid[index_of(SIZES, size), index_of(GAMMAS, gamma), index_of(LAMS, lam)]
        assert np.abs(point - by_argsort(lists, size, gamma, lam, "stable")).max() < 1e-12
        assert np.abs(point - by_fusion(lists, size, gamma, lam)).max() < 1e-12
        assert np.abs(point[:50] - by_loop(lists, size, gamma, lam, 50)).max() < 1e-12
    seconds = seconds_of(lambda: by_counting(lists), 7)
    tied = seconds_of(lambda: by_counting(lists, ilias_at()), 3)
    heads = SIZES[SIZES > 0]
    one_point = {
        f"batched argsort ({kind})": seconds_of(
            lambda kind=kind: [by_argsort(lists, size, 0.5, 0.3, kind) for size in heads], 3
        )
        / len(heads)
        for kind in ("stable", "quicksort")
    }
    one_point["Fusion.apply + average_precisions"] = seconds_of(
        lambda: [by_fusion(lists, size, 0.5, 0.3) for size in heads], 3
    ) / len(heads)
    some = 100
    one_point["loop over queries"] = (
        seconds_of(lambda: [by_loop(lists, size, 0.5, 0.3, some) for size in heads], 3)
        / len(heads)
        * (QUERIES / some)
    )
    print(f"\n{POINTS} points, one thread: {seconds:.3f} s; ties as one threshold {tied:.3f} s")
    for name, per_point in one_point.items():
        total = per_point * POINTS * (len(heads) / len(SIZES))  # size 0 sorts nothing
        print(f"{name}: {total:.0f} s (scaled), {total / seconds:.0f} times as long")
    assert seconds < 0.5


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_exact_lambda(lists):
    best = exact_lambda(*lists, 0.5, 1000)
    one = seconds_of(lambda: exact_lambda(*lists, 0.5, 1000), 5)
    found = exact_lambdas(*lists, GAMMAS, SIZES)
    every = seconds_of(lambda: exact_lambdas(*lists, GAMMAS, SIZES), 1)
    fine = fused_average_precisions(*lists, np.arange(5001) / 5000, [0.5], [1000])[0, 0, :]
    print(f"\none pair: {one:.3f} s for {best.swaps} swaps; {len(found)} pairs: {every:.2f} s")
    print(
        f"best {best.value:.8f} on an interval {best.high - best.low:.1e} wide; on 5,001 λ ", end=""
    )
    print(f"{fine.mean(axis=1).max():.8f}; best of all pairs {found[0].value:.8f}, ", end="")
    print(f"of the published grid {by_counting(lists).mean(axis=-1).max():.8f}")
    assert best.value >= fine.mean(axis=1).max() - 1e-12
    assert found[0].value >= by_counting(lists).mean(axis=-1).max() - 1e-12
