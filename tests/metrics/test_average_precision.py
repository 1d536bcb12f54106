from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from later import later
from patchrerank.errors import SettingError, ShortlistError
from patchrerank.metrics import (
    FULL,
    REVISITED,
    APConvention,
    ames_convention,
    at,
    average_precision,
    average_precisions,
    ilias_at,
    mean_average_precision,
    mean_over_queries,
    membership,
)
from prepared import python

sklearn = later("sklearn.metrics")

CONVENTIONS = [
    FULL,
    REVISITED,
    at(1),
    at(4),
    ilias_at(3),
    ilias_at(1000),
    ames_convention(),
    ames_convention("rectangular", 5),
]
conventions = st.sampled_from(CONVENTIONS)


def slow_ap(relevant, n_positives, convention, scores, junk, valid):
    """One list, one place at a time."""
    if n_positives == 0:
        return math.nan
    places = range(len(relevant))
    if convention.cut == "places":
        places = places[: convention.cutoff]
    kept = [place for place in places if valid[place] and not junk[place]]
    if convention.cutoff is not None:
        kept = kept[: convention.cutoff]
    total = 0.0
    for rank, place in enumerate(kept, start=1):
        if not relevant[place]:
            continue
        last = rank
        if convention.ties == "threshold":
            while last < len(kept) and scores[kept[last]] == scores[place]:
                last += 1
        precision = sum(relevant[p] for p in kept[:last]) / last
        if convention.interpolation == "trapezoidal":
            above = kept[: rank - 1]
            before = sum(relevant[p] for p in above) / len(above) if above else 1.0
            precision = (before + precision) / 2
        total += precision
    bounds = [n_positives]
    if convention.normaliser == "min_length":
        bounds.append(max(sum(valid), 1))
    if convention.normaliser in ("min_length", "min_cutoff") and convention.cutoff:
        bounds.append(convention.cutoff)
    return total / min(bounds)


@st.composite
def batches(draw, max_queries=4, max_width=9):
    """(relevant, n_positives, scores, junk, valid); junk and relevant do not overlap."""
    queries, width = draw(st.integers(0, max_queries)), draw(st.integers(0, max_width))
    kinds = draw(
        st.lists(
            st.lists(st.sampled_from("rrwwj"), min_size=width, max_size=width),
            min_size=queries,
            max_size=queries,
        )
    )
    kinds = np.array(kinds, dtype=str).reshape(queries, width)
    filled = [draw(st.integers(0, width)) for _ in range(queries)]
    valid = np.arange(width) < np.array(filled, dtype=int).reshape(queries, 1)
    steps = np.array(
        [[draw(st.sampled_from([0, 0, 1])) for _ in range(width)] for _ in range(queries)]
    ).reshape(queries, width)
    scores = -np.cumsum(steps, axis=1).astype(np.float32)
    relevant = (kinds == "r") & valid
    missed = np.array([draw(st.integers(0, 3)) for _ in range(queries)], dtype=np.int64)
    return relevant, relevant.sum(axis=1) + missed, scores, (kinds == "j") & valid, valid


@settings(deadline=None)
@given(batches(), conventions)
def test_batches_agree_with_the_slow_twin(batch, convention):
    relevant, n_positives, scores, junk, valid = batch
    fast = average_precisions(
        relevant, n_positives, convention, scores=scores, junk=junk, valid=valid
    )
    slow = [slow_ap(*row, *more) for row, more in _rows(batch, convention)]
    assert fast.dtype == np.float64 and fast.shape == (len(relevant),)
    np.testing.assert_allclose(fast, slow, rtol=0, atol=1e-12)
    known = fast[~np.isnan(fast)]
    assert ((known >= 0) & (known <= 1)).all()
    one_by_one = [
        average_precision(hit, n, convention, scores=s, junk=j, valid=v)
        for hit, n, s, j, v in zip(*batch, strict=True)
    ]
    np.testing.assert_array_equal(fast, one_by_one)


def _rows(batch, convention):
    relevant, n_positives, scores, junk, valid = batch
    for q in range(len(relevant)):
        yield (relevant[q], n_positives[q], convention), (scores[q], junk[q], valid[q])


@settings(deadline=None)
@given(batches(), st.sampled_from([c for c in CONVENTIONS if c.cut == "ranks"]))
def test_junk_has_no_influence_wherever_it_stands(batch, convention):
    relevant, n_positives, scores, junk, valid = batch
    with_junk = average_precisions(
        relevant, n_positives, convention, scores=scores, junk=junk, valid=valid
    )
    for q in range(len(relevant)):
        clean = valid[q] & ~junk[q]
        without = average_precision(
            relevant[q][clean], n_positives[q], convention, scores=scores[q][clean]
        )
        np.testing.assert_allclose(with_junk[q], without, rtol=0, atol=1e-12)


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(0, 5), conventions)
def test_a_perfect_ranking_has_one(positives, others, convention):
    relevant = np.arange(positives + others) < positives
    scores = -np.arange(positives + others, dtype=np.float32)
    assert average_precision(relevant, positives, convention, scores=scores) == 1.0


@settings(deadline=None)
@given(batches(max_queries=1), conventions, st.data())
def test_moving_a_positive_up_never_lowers_ap(batch, convention, data):
    relevant, n_positives, _, _, _ = batch
    if not relevant.any():
        return
    row, scores = relevant[0], -np.arange(relevant.shape[1], dtype=np.float32)
    start = data.draw(st.sampled_from(list(np.flatnonzero(row))))
    target = data.draw(st.integers(0, int(start)))
    order = np.insert(np.delete(np.arange(len(row)), start), target, start)
    before = average_precision(row, n_positives[0], convention, scores=scores)
    after = average_precision(row[order], n_positives[0], convention, scores=scores)
    assert after >= before - 1e-12


@settings(deadline=None)
@given(batches(), st.randoms(use_true_random=False), st.sampled_from([ilias_at(1000)]))
def test_one_threshold_a_tie_forgets_the_order_inside_it(batch, random, convention):
    relevant, n_positives, scores, junk, valid = batch
    before = average_precisions(
        relevant, n_positives, convention, scores=scores, junk=junk, valid=valid
    )
    relevant, junk = relevant.copy(), junk.copy()
    for q in range(len(relevant)):
        ties = [(score, int(v)) for score, v in zip(scores[q], valid[q], strict=True)]
        mixed = sorted(range(len(ties)), key=lambda p: (-ties[p][1], -ties[p][0], random.random()))
        relevant[q], junk[q] = relevant[q][mixed], junk[q][mixed]
    after = average_precisions(
        relevant, n_positives, convention, scores=scores, junk=junk, valid=valid
    )
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-12)


@settings(deadline=None)
@given(batches())
def test_threshold_ties_agree_with_scikit_learn(batch):
    relevant, _, scores, _, _ = batch
    everything = APConvention("full, ties as one threshold", ties="threshold")
    for row, marks in zip(scores, relevant, strict=True):
        if marks.any():
            ours = average_precision(marks, marks.sum(), everything, scores=row)
            np.testing.assert_allclose(
                ours, sklearn.average_precision_score(marks, row), atol=1e-12
            )


RANX = """
import json, sys
import numba
numba.config.DISABLE_JIT = True
import ranx
given = json.load(sys.stdin)
qrels, run = ranx.Qrels(given["qrels"]), ranx.Run(given["run"])
metrics = ["map", "map@10"]
print(json.dumps({m: list(ranx.evaluate(qrels, run, m, return_mean=False)) for m in metrics}))
"""


@pytest.mark.slow
def test_full_and_cut_lists_agree_with_ranx():
    """ranx divides map@k by all positives, so it is asked with at most k of them.

    In a process of its own, where numba need not compile ranx for half a minute.
    """
    rng = np.random.default_rng(0)
    width, k = 40, 10
    relevant = rng.random((30, width)) < 0.15
    relevant[:, 0] |= ~relevant.any(axis=1)
    missed = rng.integers(0, 3, 30)
    run, qrels = {}, {}
    for q in range(30):
        run[f"q{q:02d}"] = {f"d{p}": float(width - p) for p in range(width)}
        names = [f"d{p}" for p in np.flatnonzero(relevant[q])]
        qrels[f"q{q:02d}"] = dict.fromkeys(names + [f"missed{n}" for n in range(missed[q])], 1)
    theirs = json.loads(python("-c", RANX, stdin=json.dumps({"qrels": qrels, "run": run})).stdout)
    counts = relevant.sum(axis=1) + missed
    few = counts <= k
    assert few.sum() > 20
    full, cut = average_precisions(relevant, counts), average_precisions(relevant, counts, at(k))
    np.testing.assert_allclose(full, theirs["map"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(cut[few], np.array(theirs["map@10"])[few], rtol=0, atol=1e-12)


def test_a_cut_by_places_counts_junk_and_a_cut_by_ranks_does_not():
    relevant, junk = [False, True, True], [True, False, False]
    assert average_precision(relevant, 2, at(2), junk=junk) == 1.0
    places = ames_convention("rectangular", 2)
    assert average_precision(relevant, 2, places, junk=junk) == 0.5


def test_means_leave_out_queries_without_positives():
    relevant = np.array([[True, False], [False, False], [False, True]])
    assert mean_average_precision(relevant, [1, 0, 1]) == 0.75
    assert math.isnan(average_precision([False, False], 0))
    assert math.isnan(mean_average_precision(relevant[1:2], [0]))
    assert math.isnan(mean_over_queries([]))
    assert average_precision([], 3) == 0.0


def test_more_positives_than_places():
    assert average_precision([True, True], 5, FULL) == 0.4
    assert average_precision([True, True], 5, ames_convention("rectangular")) == 1.0
    valid = [True, True, False]
    cut = ames_convention("rectangular")
    assert average_precision([True, True, False], 5, cut, valid=valid) == 1.0
    assert average_precision([True, True, False], 5, cut) == pytest.approx(2 / 3)


def test_membership_marks_rows_and_never_empty_slots():
    marks = membership([[3, 1, -1], [1, 0, 3]], [[1, -1, 9], []])
    assert marks.tolist() == [[False, True, False], [False, False, False]]
    with pytest.raises(ShortlistError, match="number of queries"):
        membership([[1, 2]], [[1], [2]])


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (([[True, True]], [1]), SettingError, "query 0: n_positives is 1, .* 2 relevant"),
        (([[False]], [-1]), SettingError, "n_positives is -1"),
        (([[True]], [1, 1]), ShortlistError, "one whole number a query"),
        (([[True]], [1.0]), ShortlistError, "one whole number a query"),
        (([True], [1]), ShortlistError, r"shape \(Q, R\)"),
        (([[True]], [1], ilias_at()), SettingError, "need the scores"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, hint):
    with pytest.raises(error, match=hint):
        average_precisions(*arguments)


@pytest.mark.parametrize("name", ["junk", "valid", "scores", "weights"])
def test_arrays_of_another_shape_are_refused(name):
    with pytest.raises(ShortlistError, match=f"{name} has the shape"):
        average_precisions([[True, False]], [1], ilias_at(), **{"scores": [[1, 0]], name: [[1]]})
