from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchrerank.kernels.fused_counts import (
    Lines,
    Rivals,
    Scores,
    count_levels,
    count_ranks,
    gather,
    list_rivals,
    run_ends,
)
from patchrerank.kernels.fused_precisions import count_within, sum_precisions


def slow_ranks(first, second, lam, size):
    """The rank of every candidate of one list, by sorting its head."""
    fused = lam * first.astype(float) + (1 - lam) * second
    order = np.concatenate([np.argsort(-fused[:size], kind="stable"), np.arange(len(first))[size:]])
    ranks = np.empty(len(first), dtype=int)
    ranks[order] = np.arange(1, len(first) + 1)
    return ranks


def slow_levels(first, second, lam, size):
    """The last rank with each candidate's score: runs of equal scores in the sorted list."""
    fused = (lam * first.astype(float) + (1 - lam) * second).astype(np.float32)
    scores = np.concatenate([fused[:size], first[size:]])
    ranks = slow_ranks(first, second, lam, size)
    along = scores[np.argsort(ranks)]
    last = np.arange(1, len(first) + 1)
    for place in range(len(first) - 2, -1, -1):
        if along[place] == along[place + 1]:
            last[place] = last[place + 1]
    return last[ranks - 1]


class Case:
    """A few lists with ties, ready for the kernels."""

    def __init__(self, seed, queries=3, width=12, near=-1.0):
        rng = np.random.default_rng(seed)
        lengths = rng.integers(1, width + 1, queries)
        self.starts = np.concatenate([[0], np.cumsum(lengths)])
        bounds = np.sort(rng.integers(0, width + 1, (queries, 3)), axis=1)
        self.bounds = np.minimum(bounds, lengths[:, None])
        total = self.starts[-1]
        self.first = rng.choice([-0.25, 0.0, 0.25, 0.5, 0.75], total).astype(np.float32)
        for begin, end in zip(self.starts, self.starts[1:], strict=False):
            self.first[begin:end] = np.sort(self.first[begin:end])[::-1]
        self.second = rng.choice([-np.inf, -1.0, 0.0, 0.5, 2.0], total).astype(np.float32)
        self.marked = np.flatnonzero(rng.random(total) < 0.4)
        self.owner = np.searchsorted(self.starts, self.marked, side="right") - 1
        places = self.marked - self.starts[self.owner] + 1
        heads = (self.bounds[self.owner] < places[:, None]).sum(axis=1)
        edges = np.empty((len(places), 5), dtype=np.int64)
        self.lines = Lines(self.first, self.starts, self.bounds, self.owner)
        self.found = Rivals(edges, np.empty(len(places), np.int64), places, heads)
        rivals = np.empty(len(places) * width, dtype=np.int32)
        floors = np.full(len(places), np.inf, dtype=np.float32)
        count = list_rivals(self.lines, self.second, near, floors, rivals, self.found)
        self.rivals = rivals[:count]

    def scores(self, second):
        first = self.first.astype(float)
        rivals = [np.empty(len(self.rivals)), np.empty(len(self.rivals))]
        for values, gathered in zip((first, second), rivals, strict=True):
            gather(values, self.rivals, gathered)
        return Scores(first[self.marked], second[self.marked], *rivals)

    def slow(self, twin, second, lam, size):
        found = np.zeros(len(self.first), dtype=int)
        for query, (begin, end) in enumerate(zip(self.starts, self.starts[1:], strict=False)):
            part = slice(begin, end)
            found[part] = twin(self.first[part], second[part], lam, self.bounds[query, size])
        return found[self.marked]


def sigmoid(values):
    return 1 / (1 + np.exp(-values.astype(float)))


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.25, 0.4, 0.5, 0.9]))
@settings(max_examples=150)
def test_ranks_equal_sorting(seed, lam):
    case = Case(seed)
    second = sigmoid(case.second)
    ranks = np.empty((1, 3, len(case.marked)), dtype=np.int32)
    count_ranks(case.scores(second), case.found, np.array([lam]), ranks)
    for size in range(3):
        assert np.array_equal(ranks[0, size], case.slow(slow_ranks, second, lam, size))


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.25, 0.5, 0.9]))
@settings(max_examples=150)
def test_levels_are_the_ends_of_ties(seed, lam):
    case = Case(seed, near=np.inf)
    second = sigmoid(case.second)
    levels = np.empty((1, 3, len(case.marked)), dtype=np.int32)
    count_levels(case.scores(second), case.found, case.lines, np.array([lam]), levels)
    for size in range(3):
        assert np.array_equal(levels[0, size], case.slow(slow_levels, second, lam, size))


@given(st.integers(0, 2**32 - 1))
def test_only_those_whose_order_depends_on_lambda_are_rivals(seed):
    case = Case(seed)
    for m, place in enumerate(case.marked):
        begin = case.starts[case.owner[m]]
        if case.found.heads[m] == 3:
            assert case.found.edges[m, 0] == case.found.edges[m, 4]
            continue
        head = np.arange(begin, begin + case.bounds[case.owner[m], 2])
        lower = (head < place) & (case.second[head] < case.second[place])
        higher = (head > place) & (case.second[head] > case.second[place])
        listed = case.rivals[case.found.edges[m, 0] : case.found.edges[m, 4]]
        assert listed.tolist() == head[lower | higher].tolist()
        assert case.found.ahead[m] == place - begin - lower.sum()


def test_equals_behind_a_marked_candidate_are_listed_on_request():
    first = np.array([0.75, 0.75, 0.75, 0.5], dtype=np.float32)
    second = np.array([0.25, 0.25, 0.125, 0.25], dtype=np.float32)
    lines = Lines(first, np.array([0, 4]), np.array([[4]]), np.array([0]))

    def rivals_of_the_first(near, floor):
        found = Rivals(
            np.empty((1, 3), np.int64), np.empty(1, np.int64), np.ones(1, int), np.zeros(1, int)
        )
        rivals = np.empty(4, dtype=np.int32)
        floors = np.array([floor], dtype=np.float32)
        return rivals[: list_rivals(lines, second, near, floors, rivals, found)].tolist()

    assert rivals_of_the_first(-1.0, np.inf) == []
    assert rivals_of_the_first(0.0, np.inf) == [1, 2]
    assert rivals_of_the_first(0.3, np.inf) == [1, 2, 3]
    assert rivals_of_the_first(-1.0, 0.25) == [1, 3]


def test_runs_behind_a_head():
    first = np.array([0.75, 0.5, 0.5, 0.25], dtype=np.float32)
    lines = Lines(first, np.array([0, 4]), np.array([[0, 1, 2, 4]]), np.empty(0, np.int64))
    ends = np.empty((1, 4), dtype=np.int64)
    run_ends(lines, np.float32(0.5), ends)
    assert ends.tolist() == [[0, 3, 3, 4]]


def test_count_within():
    ranks = np.array([[[1, 4, 2, 3]]], dtype=np.int32)
    counts = np.empty((1, 1, 3), dtype=np.int64)
    count_within(ranks, np.array([0, 2, 2, 4]), 2, counts)
    assert counts.tolist() == [[[1, 0, 1]]]


@pytest.mark.parametrize(
    ("trapezoidal", "cap", "levels", "expected"),
    [
        (False, 9, [1, 4, 6], 1 + 0.5 * (2 / 4) + 3 / 6),
        (False, 5, [1, 4, 6], 1 + 0.5 * (2 / 4)),
        (False, 9, [1, 6, 6], 1 + 0.5 * (3 / 6) + 3 / 6),
        (False, 5, [1, 6, 6], 1 + 0.5 * (2 / 5)),
        (True, 9, [1, 4, 6], 1 + 0.5 * (1 / 3 + 2 / 4) / 2 + (2 / 5 + 3 / 6) / 2),
    ],
)
def test_sums_of_precisions(trapezoidal, cap, levels, expected):
    """One list with positives at ranks 1, 4 (which pays half) and 6, in another order."""
    order = [2, 0, 1]
    ranks, ends = (np.array([[list_]], dtype=np.int32)[..., order] for list_ in ([1, 4, 6], levels))
    pays = np.array([[1, 0.5, 1]])[:, order]
    sums = np.empty((1, 1, 1))
    caps = np.array([[[cap]]])
    arrays = (np.ascontiguousarray(array) for array in (ranks, ends))
    sum_precisions(*arrays, caps, np.array([0, 3]), np.ascontiguousarray(pays), trapezoidal, sums)
    assert sums[0, 0, 0] == pytest.approx(expected)
