from __future__ import annotations

import numpy as np
import pytest

from local_twins import patch_box_twin
from patchrerank.rerankers._patch_boxes import patch_boxes


def random_boxes(rng, count):
    corners = np.sort(rng.random((count, 2, 2), dtype=np.float32), axis=1)
    corners[:, 1] += 0.01
    return corners.reshape(count, 4).clip(0, 1)


@pytest.mark.parametrize(
    "seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 30))]
)
def test_equal_the_slow_twin_and_do_not_depend_on_their_neighbours(seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 9, 6)
    boxes, anchors = random_boxes(rng, counts.sum()), random_boxes(rng, 6)
    anchors[0] = np.nan
    similarities = rng.random(counts.sum(), dtype=np.float32)
    cut = (0.3, 0.5, 1.0)[seed % 3]
    found = patch_boxes(similarities, boxes, counts, anchors, cut=cut)
    for number, end in enumerate(np.cumsum(counts)):
        own, one = slice(end - counts[number], end), slice(number, number + 1)
        alone = patch_boxes(similarities[own], boxes[own], counts[one], anchors[one], cut=cut)
        assert np.array_equal(alone[0], found[number], equal_nan=True)
        expected = patch_box_twin(
            similarities[own].astype(float), boxes[own].astype(float), anchors[number], cut
        )
        np.testing.assert_allclose(found[number], expected, atol=1e-4)
    known = found[~np.isnan(found).any(axis=1)]
    assert (known[:, 2:] > known[:, :2]).all()
    assert ((known >= 0) & (known <= 1)).all()


def test_a_bright_corner_is_found():
    from patchrerank.regions import GridPyramid

    boxes = GridPyramid(3).boxes("a", 64, 64)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    similarities = 0.3 + 0.5 * np.exp(-((centres - 0.8) ** 2).sum(axis=1) / 0.05)
    similarities = similarities.astype(np.float32)
    counts = np.array([len(boxes)])
    anchor = boxes[similarities.argmax()][None]
    x0, y0, x1, y1 = patch_boxes(similarities, boxes, counts, anchor, cut=0.5)[0]
    assert 0.3 < x0 < 0.8 < x1 <= 1.0
    assert np.allclose([x0, x1], [y0, y1], atol=1e-5)
    tighter = patch_boxes(similarities, boxes, counts, anchor, cut=0.9)[0]
    assert tighter[0] > x0
    assert tighter[2] <= x1


def test_nothing_to_tell_patches_apart():
    boxes = np.array([[0, 0, 1, 1], [0, 0, 0.5, 0.5], [0.2, 0.2, 0.4, 0.4]], dtype=np.float32)
    similarities = np.array([0.4, 0.4, 0.7], dtype=np.float32)
    nowhere = np.full((2, 4), np.nan, dtype=np.float32)
    found = patch_boxes(similarities, boxes, np.array([2, 1]), nowhere, cut=0.5)
    assert np.isnan(found).all()
    empty = np.zeros(0, dtype=np.int64)
    assert patch_boxes(similarities[:0], boxes[:0], empty, nowhere[:0], cut=0.5).shape == (0, 4)
