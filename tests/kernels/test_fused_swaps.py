from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchrerank.kernels.fused_counts import Rivals, Scores
from patchrerank.kernels.fused_swaps import JUNK, RELEVANT, Counting, Swaps, list_swaps, sweep


def no_swaps(count):
    return Swaps(
        np.empty(count),
        np.empty(count, dtype=np.int32),
        np.empty(count, dtype=np.int8),
        np.empty(count, dtype=np.int16),
    )


def case_of(first, second, relevant, junk):
    """One list, one head, every relevant candidate marked, everybody else a rival."""
    marked = np.flatnonzero(relevant)
    others = [np.delete(np.arange(len(first)), place) for place in marked]
    rivals = np.concatenate([np.empty(0, int), *others])
    begins = np.arange(len(marked)) * (len(first) - 1)
    edges = np.stack([begins, begins + marked, begins + len(first) - 1], axis=1)
    ahead = np.zeros(len(marked), dtype=np.int64)
    scores = Scores(first[marked], second[marked], first[rivals], second[rivals])
    found = Rivals(np.ascontiguousarray(edges), ahead, marked + 1, np.zeros(len(marked), int))
    kinds = (RELEVANT * relevant + JUNK * junk).astype(np.int8)[rivals]
    return scores, found, kinds, marked


def slow_states(first, second, relevant, junk, lam):
    """Rank, found and place of each relevant candidate, by sorting."""
    order = np.argsort(-(lam * first + (1 - lam) * second), kind="stable")
    ranks, found, places = (
        np.cumsum(marks[order]) for marks in (~junk, relevant, np.ones_like(relevant))
    )
    states = [ranks, found, places, 0 * ranks, 0 * ranks]
    place_of = np.argsort(order)[relevant]
    return np.stack([values[place_of] for values in states], axis=1).astype(np.int64)


def slow_sum(states, pays, counting):
    total = 0.0
    for (rank, found, place, _, _), pay in zip(states, pays, strict=True):
        if place <= counting.cutoff:
            before = (found - 1) / (rank - 1) if rank > 1 else 1.0
            term = found / rank
            total += pay * ((before + term) / 2 if counting.trapezoidal else term)
    return total


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.sampled_from([2, 5, 12]), st.booleans())
@settings(max_examples=150)
def test_every_interval_is_worth_what_sorting_says(seed, width, cutoff, trapezoidal):
    rng = np.random.default_rng(seed)
    first = np.sort(rng.choice([0.0, 0.1, 0.35, 0.5, 0.8], width))[::-1].copy()
    second = rng.choice([0.0, 0.2, 0.33, 0.7, 0.9], width)
    relevant = rng.random(width) < 0.4
    junk = ~relevant & (rng.random(width) < 0.2)
    scores, found, kinds, marked = case_of(first, second, relevant, junk)
    pays, counting = rng.random(len(marked)), Counting(cutoff, trapezoidal)
    swaps = no_swaps(len(kinds))
    count = list_swaps(scores, found, kinds, swaps)
    order = np.argsort(swaps.at[:count])
    swaps = Swaps(*(values[order] for values in swaps))
    states = slow_states(first, second, relevant, junk, 1e-9)
    at, sums = np.empty(count), np.empty(count)
    begin, steps = sweep(swaps, 0, states, pays, counting, at, sums)
    edges = np.concatenate([[0], at[:steps], [1]])
    values = np.concatenate([[begin], sums[:steps]])
    for low, high, value in zip(edges, edges[1:], values, strict=False):
        if high - low > 1e-9:
            for lam in (low + 0.001 * (high - low), (low + high) / 2):
                seen = slow_states(first, second, relevant, junk, lam)
                assert value == pytest.approx(slow_sum(seen, pays, counting), abs=1e-12)
    assert np.array_equal(states, slow_states(first, second, relevant, junk, 1 - 1e-9))


def test_where_a_swap_is_and_who_gains():
    """At λ = 0.5 / (0.5 + 0.25) the fused scores of the two are equal."""
    first, second = np.array([0.75, 0.5]), np.array([0.25, 0.75])
    for relevant, gains in (([True, False], True), ([False, True], False)):
        scores, found, kinds, _ = case_of(first, second, np.array(relevant), np.zeros(2, bool))
        swaps = no_swaps(1)
        assert list_swaps(scores, found, kinds, swaps) == 1
        assert swaps.at[0] == pytest.approx(2 / 3)
        assert (swaps.what[0] < 0) == gains


def test_swaps_beyond_the_head_are_left_out():
    swaps = Swaps(np.array([0.3, 0.6]), np.zeros(2, np.int32), *np.array([[-1, -1], [0, 1]]))
    swaps = swaps._replace(what=swaps.what.astype(np.int8), size_of=swaps.size_of.astype(np.int16))
    for size, expected in ((0, [1 / 2]), (1, [1 / 2, 1.0])):
        states = np.array([[3, 1, 3, 0, 0]])
        at, sums = np.empty(2), np.empty(2)
        begin, steps = sweep(swaps, size, states, np.ones(1), Counting(9, False), at, sums)
        assert begin == pytest.approx(1 / 3)
        assert sums[:steps] == pytest.approx(expected)
        assert at[:steps].tolist() == [0.3, 0.6][:steps]


def test_equals_share_the_precision_at_their_end():
    """A positive at rank 2 with two equals behind it, one of them a positive."""
    for cutoff, expected in ((9, 2 / 4), (3, 2 / 3), (2, 1 / 2)):
        state = np.array([[2, 1, 2, 2, 1]])
        begin, _ = sweep(
            no_swaps(0),
            0,
            state,
            np.ones(1),
            Counting(cutoff, False),
            np.empty(0),
            np.empty(0),
        )
        assert begin == pytest.approx(expected)
