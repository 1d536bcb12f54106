from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchrerank.cells import CellAxis, Cells

SHIFTS = st.sampled_from([0.0, -0.484375, 0.484375, -0.125, 0.9375])


@given(st.integers(1, 60), SHIFTS)
def test_each_centre_belongs_to_its_cell(count, shift):
    axis = CellAxis(count, (0.5 + shift) / (count + 1), 1 / (count + 1))
    if axis.first + axis.step * (count - 1) > 1:
        return
    centres = axis.centres().astype(np.float32)
    assert axis.numbers(centres).tolist() == list(range(count))
    assert ((centres >= 0) & (centres <= 1)).all()


@given(st.integers(2, 40), SHIFTS, st.floats(0, 1))
def test_there_and_back(count, shift, point):
    axis = CellAxis(count, (0.5 + shift) / count, 1 / count)
    share = axis.across_map(point)
    if 0 < share < 1 and 0 <= axis.first + (share * count - 0.5) * axis.step <= 1:
        assert axis.across_picture(share) == pytest.approx(point, abs=1e-9)
    stretched = axis.stretched([0.0, point, 1.0])
    assert stretched[0] == 0 and stretched[2] == 1 and 0 <= stretched[1] <= 1


def test_cells_that_share_the_picture_out_are_left_alone():
    cells = Cells.equal(3, 4)
    assert cells.even and cells.grid == (3, 4)
    boxes = np.random.default_rng(0).uniform(size=(5, 4)).astype(np.float32)
    np.testing.assert_array_equal(cells.boxes_across_map(boxes), boxes)
    np.testing.assert_array_equal(cells.boxes_across_picture(boxes), boxes)
    y, x = np.mgrid[:3, :4]
    expected = np.stack([(x + 0.5) / 4, (y + 0.5) / 3], -1).reshape(-1, 2).astype(np.float32)
    np.testing.assert_array_equal(cells.centres(), expected)


def test_a_region_at_the_border_of_the_map_ends_with_the_picture():
    cells = Cells(CellAxis.equal(4), CellAxis(4, 0.004, 0.25))
    boxes = np.array([[0, 0, 1, 1], [0.25, 0.5, 0.5, 1], [np.nan] * 4], dtype=np.float32)
    found = cells.boxes_across_picture(boxes)
    np.testing.assert_allclose(found[0], [0, 0, 1, 1])
    np.testing.assert_allclose(found[1], [0.129, 0.5, 0.379, 1], atol=1e-6)
    assert np.isnan(found[2]).all()


def test_a_record_is_read_back_and_impossible_ones_are_refused():
    cells = Cells(CellAxis(4, 0.004, 0.25), CellAxis(5, 0.1, 0.2))
    assert Cells.of_record((4, 5), cells.as_record()) == cells
    for bad in (
        [[0.1, 0.2]],
        [[0.1, 0.0], [0.1, 0.2]],
        [[float("nan"), 0.2], [0.1, 0.2]],
        [[0.1, 0.2, 0.3], [0.1, 0.2]],
        [[9.0, 0.2], [0.1, 0.2]],
    ):
        with pytest.raises(ValueError):
            Cells.of_record((4, 5), bad)
