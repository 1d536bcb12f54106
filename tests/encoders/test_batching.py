from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchrerank.encoders.batching import batches


def numbered(count: int, start: int = 0) -> np.ndarray:
    return np.arange(start, start + count, dtype=np.uint8).reshape(count, 1, 1, 1)


@given(st.lists(st.integers(0, 7), max_size=12), st.integers(1, 6))
def test_batches_are_those_of_all_parts_together(counts, size):
    starts = np.cumsum([0, *counts])
    parts = [numbered(count, start) for count, start in zip(counts, starts, strict=False)]
    whole = numbered(int(starts[-1]))
    found = list(batches(iter(parts), size))
    expected = [whole[start : start + size] for start in range(0, len(whole), size)]
    assert len(found) == len(expected)
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, two)


def test_views_within_a_part_and_no_waiting():
    def parts():
        yield part
        raise AssertionError("the second part was asked for too early")

    part = numbered(6)
    stream = batches(parts(), 3)
    assert all(np.shares_memory(next(stream), part) for _ in range(2))
    with pytest.raises(AssertionError):
        next(stream)
