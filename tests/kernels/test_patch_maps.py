from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_twins import patch_map_twin
from patchrerank.errors import SettingError
from patchrerank.kernels.patch_maps import patch_maps


def random_boxes(rng, count):
    corners = np.sort(rng.random((count, 2, 2), dtype=np.float32), axis=1)
    corners[:, 1] += 0.01
    return corners.reshape(count, 4)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cells=st.integers(1, 7), width=st.floats(0.05, 3))
def test_equal_the_slow_twin(seed, cells, width):
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 8, 4)
    boxes = random_boxes(rng, counts.sum())
    similarities = rng.standard_normal(counts.sum()).astype(np.float32)
    maps = patch_maps(similarities, boxes, counts, cells=cells, width=width)
    assert maps.shape == (4, cells, cells)
    assert maps.dtype == np.float32
    for number, end in enumerate(np.cumsum(counts)):
        own = slice(end - counts[number], end)
        expected = patch_map_twin(
            similarities[own].astype(float), boxes[own].astype(float), cells, width
        )
        np.testing.assert_allclose(maps[number], expected, atol=1e-4)
        alone = patch_maps(
            similarities[own], boxes[own], counts[number : number + 1], cells=cells, width=width
        )
        assert np.array_equal(alone[0], maps[number])


def test_known_maps():
    halves = np.array([[0, 0, 0.5, 1], [0.5, 0, 1, 1]], dtype=np.float32)
    found = patch_maps([1.0, 0.0], halves, [2], cells=4)[0]
    assert (np.diff(found, axis=1) < 0).all(), "falls from left to right"
    assert np.allclose(found, found[:1]), "the same in all rows"
    assert np.allclose(found + found[:, ::-1], 1.0)
    small = np.array([[0, 0, 1, 1], [0.4, 0.4, 0.6, 0.6]], dtype=np.float32)
    found = patch_maps([0.0, 1.0], small, [2], cells=5)[0]
    assert found[2, 2] > 0.9, "a small patch decides where it lies"
    assert found[0, 0] < 0.01
    tiny = np.array([[0, 0, 0.01, 0.01], [0, 0, 0.02, 0.02]], dtype=np.float32)
    assert patch_maps([0.7, 0.2], tiny, [2], cells=4)[0, 3, 3] == np.float32(0.2), "out of reach"
    assert patch_maps([], np.zeros((0, 4)), []).shape == (0, 16, 16)


def test_errors():
    box = np.array([[0, 0, 1, 1]], dtype=np.float32)
    for similarities, boxes, counts in (
        ([0.1, 0.2], box, [2]),
        ([0.1], box, [2]),
        ([[0.1]], box, [1]),
    ):
        with pytest.raises(SettingError, match="do not belong together"):
            patch_maps(similarities, boxes, counts)
    for counts, how in (([1, 0], {}), ([1], {"cells": 0}), ([1], {"width": 0.0})):
        with pytest.raises(SettingError, match="at least one patch"):
            patch_maps([0.1], box, counts, **how)
