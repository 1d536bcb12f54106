from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchrerank.errors import QueryError, SettingError, ShortlistError
from patchrerank.gallery.local_rows import BinaryStore
from patchrerank.kernels import Float32Store
from patchrerank.kernels import rows as rows_module
from patchrerank.kernels.peaks import peak_regions
from patchrerank.kernels.rows import row_products


def region_twin(values, window, cut):
    """The region around a map's peak, with a set of cells for the flood."""
    height, width = values.shape
    centres = {
        (y, x): ((x + 0.5) / width, (y + 0.5) / height) for y in range(height) for x in range(width)
    }
    x0, y0, x1, y1 = (0, 0, 1, 1) if np.isnan(window).any() else window
    columns = [x for x in range(width) if x0 <= (x + 0.5) / width <= x1]
    rows = [y for y in range(height) if y0 <= (y + 0.5) / height <= y1]
    columns = columns or [min(int((x0 + x1) / 2 * width), width - 1)]
    rows = rows or [min(int((y0 + y1) / 2 * height), height - 1)]
    cells = [(y, x) for y in rows for x in columns]
    peak = max(cells, key=lambda cell: (values[cell], -cell[0], -cell[1]))
    median = np.median(values)
    if values[peak] < median:
        return np.full(4, np.nan)
    threshold = median + cut * (values[peak] - median)
    region, new, edges = {peak}, [peak], ([], [], [], [])
    while new:
        y, x = new.pop()
        for side, (dy, dx) in enumerate(((0, -1), (-1, 0), (0, 1), (1, 0))):
            near, reach = (y + dy, x + dx), 0.5
            if near in centres and values[near] >= threshold:
                reach = 0.0
                if near not in region:
                    region.add(near)
                    new.append(near)
            elif near in centres and values[peak] > threshold:
                reach = (values[y, x] - threshold) / (values[y, x] - values[near])
            edges[side].append((x if dx else y) + 0.5 + (dx + dy) * reach)
    box = [min(edges[0]), min(edges[1]), max(edges[2]), max(edges[3])]
    return np.clip(np.array(box) / [width, height, width, height], 0, 1)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 8),
    width=st.integers(1, 8),
    cut=st.sampled_from([0.25, 0.5, 0.75, 1.0]),
    levels=st.integers(1, 40),
)
def test_equals_the_slow_twin(seed, height, width, cut, levels):
    rng = np.random.default_rng(seed)
    maps = rng.integers(0, 4 * levels, (5, height, width)).astype(np.float32)
    corners = rng.random((5, 2, 2), dtype=np.float32)
    windows = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    windows[0] = np.nan
    boxes = peak_regions(maps, windows, cut=cut)
    assert boxes.dtype == np.float32
    for values, window, box in zip(maps, windows, boxes, strict=True):
        expected = region_twin(values.astype(np.float64), window, cut)
        np.testing.assert_allclose(box, expected, atol=1e-5)
    known = boxes[~np.isnan(boxes).any(axis=1)]
    assert (known[:, 2:] > known[:, :2]).all()
    assert ((known >= 0) & (known <= 1)).all()
    alone = np.stack([peak_regions(maps[i][None], windows[i][None], cut=cut)[0] for i in range(5)])
    assert np.array_equal(alone, boxes, equal_nan=True)


def test_known_regions():
    values = np.zeros((1, 4, 4), np.float32)
    values[0, 1, 1:3] = 1.0
    values[0, 3, 3] = 0.9  # as high, but not connected
    assert np.allclose(peak_regions(values), [[0.25, 0.25, 0.75, 0.5]])
    corner = np.array([[0.8, 0.8, 1.0, 1.0]])
    assert np.allclose(peak_regions(values, corner), [[0.75, 0.75, 1.0, 1.0]])
    assert np.allclose(peak_regions(np.ones((1, 3, 5))), [[0, 0, 1, 1]]), "flat: all of it"
    slope = np.ones((1, 4, 4), np.float32)
    slope[0, 0, 0] = 0.0
    assert np.isnan(peak_regions(slope, np.array([[0, 0, 0.2, 0.2]]))).all(), "a hole is no peak"
    assert peak_regions(np.zeros((0, 3, 3))).shape == (0, 4)


def test_region_errors():
    with pytest.raises(SettingError, match=r"\(B, h, w\)"):
        peak_regions(np.zeros((3, 3)))
    with pytest.raises(SettingError, match="windows"):
        peak_regions(np.zeros((2, 3, 3)), np.zeros((1, 4)))
    with pytest.raises(SettingError, match="cut"):
        peak_regions(np.zeros((2, 3, 3)), cut=0.0)


def test_row_products_do_not_depend_on_their_neighbours(monkeypatch):
    rng = np.random.default_rng(0)
    vectors, query = rng.standard_normal((50, 20), dtype=np.float32), rng.random(20, np.float32)
    codes = BinaryStore(np.packbits(vectors > 0, axis=1), 20)
    wanted = rng.integers(0, 50, 33)
    for store in (Float32Store(vectors), codes):
        products = row_products(query, store, wanted)
        assert np.allclose(products, store.decode(wanted) @ query, atol=1e-5)
        monkeypatch.setattr(rows_module, "BLOCK_BYTES", 7 * 80)
        assert np.array_equal(row_products(query, store, wanted), products)
        singles = [row_products(query, store, wanted[i : i + 1])[0] for i in range(33)]
        assert np.array_equal(singles, products)
        assert row_products(query, store, wanted[:0]).shape == (0,)
    with pytest.raises(ShortlistError, match="0 … 49"):
        row_products(query, codes, np.array([50]))
    with pytest.raises(QueryError):
        row_products(query[:5], codes, wanted)
