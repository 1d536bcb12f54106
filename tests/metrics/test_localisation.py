from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchrerank.errors import RegionError, SettingError, ShortlistError
from patchrerank.metrics import (
    FULL,
    REVISITED,
    at,
    average_precisions,
    best_iou,
    ilias_at,
    locscores,
    mlocscores,
)


def slow_locscore(relevant, overlap, n_positives, delta=None):
    """The paper's formula: (1/N) Σ P(r)·rel(r)·IoU(r), or with [IoU(r) ≥ δ]."""
    total = 0.0
    for r in range(1, len(relevant) + 1):
        if relevant[r - 1]:
            precision = sum(relevant[:r]) / r
            located = overlap[r - 1] if delta is None else float(overlap[r - 1] >= delta)
            total += precision * located
    return total / n_positives


lists = st.integers(1, 10).flatmap(
    lambda width: st.tuples(
        st.lists(st.booleans(), min_size=width, max_size=width),
        st.lists(
            st.sampled_from([0.0, 0.1, 0.3, 0.4, 0.45, 0.5, 1.0]), min_size=width, max_size=width
        ),
        st.integers(0, 3),
    )
)
conventions = st.sampled_from([FULL, REVISITED, at(3), ilias_at(4)])


@settings(deadline=None)
@given(lists)
def test_locscores_follow_the_formula(case):
    relevant, overlap, missed = case
    n = max(sum(relevant) + missed, 1)
    marks, boxes, counts = np.array([relevant]), np.array([overlap]), np.array([n])
    np.testing.assert_allclose(
        locscores(marks, boxes, counts), slow_locscore(relevant, overlap, n), atol=1e-12
    )
    steps = [slow_locscore(relevant, overlap, n, delta) for delta in (0.3, 0.4, 0.5)]
    for delta, expected in zip((0.3, 0.4, 0.5), steps, strict=True):
        np.testing.assert_allclose(
            locscores(marks, boxes, counts, delta=delta), expected, atol=1e-12
        )
        as_floats = locscores(marks, boxes.astype(np.float32), counts, delta=delta)
        np.testing.assert_allclose(as_floats, expected, atol=1e-12)
    np.testing.assert_allclose(mlocscores(marks, boxes, counts), np.mean(steps), atol=1e-12)


@settings(deadline=None)
@given(lists, conventions)
def test_locscore_is_at_most_ap_and_ap_where_every_box_is_right(case, convention):
    relevant, overlap, missed = case
    marks, counts = np.array([relevant]), np.array([sum(relevant) + missed])
    scores = -np.arange(len(relevant), dtype=np.float32)[None]
    shared = {"n_positives": counts, "convention": convention, "scores": scores}
    ap = average_precisions(marks, **shared)
    for values in (
        locscores(marks, np.array([overlap]), **shared),
        locscores(marks, np.array([overlap]), delta=0.4, **shared),
        mlocscores(marks, np.array([overlap]), **shared),
    ):
        if counts[0]:
            assert 0.0 <= values[0] <= ap[0]
        else:
            assert math.isnan(values[0])
    perfect = np.ones(marks.shape)
    np.testing.assert_array_equal(locscores(marks, perfect, **shared), ap)
    np.testing.assert_array_equal(locscores(marks, perfect, delta=1.0, **shared), ap)
    np.testing.assert_array_equal(mlocscores(marks, perfect, **shared), ap)


def test_precision_counts_relevant_images_that_were_not_located():
    """The first is relevant with IoU 0; the second still has precision 1."""
    assert locscores([[True, True]], [[0.0, 1.0]], [2]) == [0.5]


def test_junk_is_removed_and_no_box_counts_as_nothing():
    relevant, junk = [[False, True, True]], [[True, False, False]]
    overlap = [[math.nan, 0.5, math.nan]]
    assert locscores(relevant, overlap, [2], junk=junk) == [0.25]


def test_best_iou_takes_the_best_of_several_true_boxes():
    predicted = np.array([[0, 0, 0.5, 1], [0, 0, 0.5, 1], [0, 0, 0.5, 1], [math.nan] * 4])
    truths = [
        [[0, 0, 1, 1]],
        [[0.5, 0, 1, 1], [0, 0, 0.5, 1]],
        None,
        [[0, 0, 1, 1]],
    ]
    values = best_iou(predicted, truths)
    assert values.dtype == np.float32
    assert values.tolist() == [0.5, 1.0, 0.0, 0.0]
    assert best_iou(np.zeros((0, 4)), []).shape == (0,)
    assert best_iou(predicted[:1], [[]]).tolist() == [0.0]


@pytest.mark.parametrize(
    ("call", "error", "hint"),
    [
        (lambda: locscores([[True]], [[0.5]], [1], delta=0.0), SettingError, "delta"),
        (lambda: locscores([[True]], [[0.5]], [1], delta=1.5), SettingError, "delta"),
        (lambda: locscores([[True]], [[50.0]], [1]), SettingError, r"lie in \[0, 1\]"),
        (lambda: mlocscores([[True]], [[-0.5]], [1]), SettingError, r"lie in \[0, 1\]"),
        (lambda: locscores([[True]], [[0.5, 0.5]], [1]), ShortlistError, "overlap has the shape"),
        (lambda: best_iou([[0, 0, 1, 1]], []), RegionError, "1 predicted boxes"),
        (lambda: best_iou([[0, 0, 1, 1]], [[[0, 0, 1]]]), RegionError, "image 0"),
    ],
)
def test_bad_arguments_are_refused(call, error, hint):
    with pytest.raises(error, match=hint):
        call()
