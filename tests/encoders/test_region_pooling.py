"""Pooling regions from a map, against slow twins that are obviously right."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchrerank.cells import CellAxis, Cells
from patchrerank.encoders.region_pooling import align_weights, area_weights, pool_regions


def slow_area(features, box):
    """Cell by cell: the feature, weighted by the area of the cell that the box covers."""
    height, width, dim = features.shape
    total, weight = np.zeros(dim), 0.0
    for row in range(height):
        for column in range(width):
            high = min(box[3] * height, row + 1) - max(box[1] * height, row)
            wide = min(box[2] * width, column + 1) - max(box[0] * width, column)
            share = max(high, 0) * max(wide, 0)
            total += share * features[row, column]
            weight += share
    return total / weight


def slow_align(features, box):
    """Point by point, each interpolated between the centres of four cells."""
    height, width, dim = features.shape
    total = np.zeros(dim)
    for down in range(14):
        for across in range(14):
            y = (box[1] + (down + 0.5) / 14 * (box[3] - box[1])) * height - 0.5
            x = (box[0] + (across + 0.5) / 14 * (box[2] - box[0])) * width - 0.5
            y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
            top, left = math.floor(y), math.floor(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            upper = features[top, left] * (1 - x + left) + features[top, right] * (x - left)
            lower = features[bottom, left] * (1 - x + left) + features[bottom, right] * (x - left)
            total += upper * (1 - y + top) + lower * (y - top)
    return total / 14**2


@st.composite
def boxes(draw):
    sides = []
    for _ in range(2):
        low = draw(st.floats(0, 0.95))
        sides.append((low, draw(st.floats(low + 0.02, 1.0))))
    return [sides[0][0], sides[1][0], sides[0][1], sides[1][1]]


@pytest.mark.parametrize(("pooling", "slow"), [("area", slow_area), ("roi_align", slow_align)])
@given(box=boxes(), height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 10**6))
def test_pooling_equals_its_slow_twin(pooling, slow, box, height, width, seed):
    features = np.random.default_rng(seed).normal(size=(height, width, 3)).astype(np.float32)
    box = np.array(box, dtype=np.float32)
    found = pool_regions(features, box[None], pooling)
    assert found.dtype == np.float32
    assert np.allclose(found[0], slow(features, box.astype(float)), atol=2e-5)


def test_roi_align_is_that_of_torchvision():
    torchvision = pytest.importorskip("torchvision")
    import torch

    rng = np.random.default_rng(0)
    features = rng.normal(size=(7, 9, 5)).astype(np.float32)
    low = rng.uniform(0, 0.8, (20, 2))
    cut = np.concatenate([low, low + rng.uniform(0.05, 1, (20, 2)) * (1 - low)], axis=1)
    cut = np.concatenate([cut, [[0, 0, 1, 1]]]).astype(np.float32)
    theirs = torchvision.ops.roi_align(
        torch.from_numpy(features).permute(2, 0, 1)[None],
        [torch.from_numpy(cut * np.array([9, 7, 9, 7], dtype=np.float32))],
        output_size=7,
        sampling_ratio=2,
        aligned=True,
    ).mean((2, 3))
    assert np.allclose(pool_regions(features, cut, "roi_align"), theirs.numpy(), atol=1e-5)


@pytest.mark.parametrize("weigh", [area_weights, align_weights])
@given(box=boxes(), cells=st.integers(1, 40), shift=st.sampled_from([0, -0.48, 0.48, -0.9]))
def test_weights_are_shares(weigh, box, cells, shift):
    low, high = (np.array([side], dtype=np.float32) for side in (box[0], box[2]))
    weights = weigh(low, high, CellAxis(cells, (0.5 + shift) / cells, 1 / cells))
    assert weights.shape == (1, cells)
    assert (weights >= 0).all()
    assert np.isclose(weights.sum(), 1)


def test_the_whole_map_is_its_mean():
    features = np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float32)
    whole = np.array([[0, 0, 1, 1]], dtype=np.float32)
    assert np.allclose(pool_regions(features, whole)[0], features.mean((0, 1)), atol=1e-6)


def test_the_whole_map_is_its_mean_wherever_its_cells_lie():
    features = np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float32)
    whole = np.array([[0, 0, 1, 1]], dtype=np.float32)
    cells = Cells(CellAxis(5, 0.004, 0.2), CellAxis(4, 0.246, 0.25))
    found = pool_regions(features, whole, cells=cells)
    assert np.allclose(found[0], features.mean((0, 1)), atol=1e-6)


@pytest.mark.parametrize("pooling", ["area", "roi_align"])
def test_a_region_holds_the_cells_whose_centres_it_holds(pooling):
    features = np.arange(8, dtype=np.float32).reshape(1, 8, 1)
    cells = Cells(CellAxis.equal(1), CellAxis(8, 0.5 / 256, 32 / 256))  # around pixels 0, 32, 64 …
    around = np.array([[80 / 256, 0, 112 / 256, 1]], dtype=np.float32)
    assert np.allclose(pool_regions(features, around, pooling, cells=cells), 3, atol=0.05)
    last = np.array([[215 / 256, 0, 1, 1]], dtype=np.float32)
    assert np.allclose(pool_regions(features, last, pooling, cells=cells), 7, atol=0.2)


@given(box=boxes(), power=st.floats(1, 4), seed=st.integers(0, 10**6))
def test_power_mean(box, power, seed):
    features = np.random.default_rng(seed).normal(size=(5, 6, 3))
    raised = np.sign(features) * np.abs(features) ** power
    mean = slow_area(raised, box)
    found = pool_regions(features.astype(np.float32), np.array([box], np.float32), "area", power)
    back = np.sign(found[0]) * np.abs(found[0]) ** power
    assert np.allclose(back, mean, atol=1e-4)
