from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from patchrerank.kernels.group import first_hits


def slow_first_hits(patches, image_of_patch, size):
    """One patch at a time, with a set."""
    slots = np.full((len(patches), size), -1)
    for query, row in enumerate(patches):
        seen = set()
        for position, patch in enumerate(row):
            if patch < 0 or len(seen) == size:
                break
            if image_of_patch[patch] not in seen:
                slots[query, len(seen)] = position
                seen.add(image_of_patch[patch])
    return slots


@given(st.integers(0, 4), st.integers(0, 30), st.integers(0, 9), st.integers(0, 2**32 - 1))
def test_equals_the_slow_twin(queries, depth, size, seed):
    rng = np.random.default_rng(seed)
    image_of_patch = np.sort(rng.integers(0, 8, 40)).astype(np.int32)
    patches = np.stack([rng.permutation(40)[:depth] for _ in range(queries)] or [np.empty(depth)])
    patches = patches[:queries].astype(np.int64)
    if depth:
        patches[:, depth - rng.integers(0, depth + 1) :] = -1
    expected = slow_first_hits(patches, image_of_patch, size)
    assert np.array_equal(first_hits(patches, image_of_patch, 8, size), expected)
