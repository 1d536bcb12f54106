"""Slots grouped by image, against counting them in Python."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from patchrerank.kernels._shared_images import group_slots


def drawn(lists, width, images, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.integers(-1, images, lists * width)
    counts = np.where(rows >= 0, rows % 4, 0)  # some have no patches
    return rows, 1000 + 8 * rows, 7 * rows, counts


@pytest.mark.parametrize(
    ("lists", "width", "images"),
    [(1, 9, 3), (2, 1, 1), (16, 40, 100), (3, 50, 10**12), (5, 30, 4), (0, 4, 9), (4, 0, 9)],
)
def test_images_that_several_slots_want(lists, width, images):
    rows, starts, steps, counts = drawn(lists, width, images)
    wanted = Counter(row for row, count in zip(rows.tolist(), counts, strict=True) if count)
    shared = {row for row, times in wanted.items() if times > 1}
    left = counts.copy()
    groups, members = group_slots(width, rows, starts, steps, left)
    of = [tuple(image[:3]) for image in groups.tolist()]
    assert sorted(of) == sorted((1000 + 8 * row, 7 * row, row % 4) for row in shared)
    begin = 0
    for start, _, _, first, stop in groups.tolist():
        assert first == begin
        begin = stop
        slots = (members[first:stop] @ [width, 1]).tolist()
        assert slots == [n for n, row in enumerate(rows.tolist()) if 1000 + 8 * row == start]
    assert begin == len(members) == sum(wanted[row] for row in shared)
    np.testing.assert_array_equal(left, np.where(np.isin(rows, list(shared)), 0, counts))


def test_rows_whose_hashes_meet_are_told_apart():
    rows = np.repeat(np.arange(0, 64, dtype=np.int64) << 32, 2)
    ones = np.ones_like(rows)
    groups, members = group_slots(2, rows, rows, rows, ones)
    assert groups[:, 0].tolist() == (np.arange(64) << 32).tolist()
    assert len(members) == 128
    assert not ones.any()
