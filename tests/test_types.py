from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchrerank.errors import QueryError, ShortlistError
from patchrerank.types import (
    EMPTY,
    LocalDescriptors,
    LocalQueries,
    Queries,
    Shortlist,
    rank_scores,
)
from patchrerank.types.missing import MissingCandidates


class Letters:
    """Ids a…z are rows 0…25."""

    def rows_of(self, ids):
        return np.array([ord(item) - ord("a") for item in ids], dtype=np.int64)


def from_ids(ids, scores=None, **options):
    return Shortlist.from_ids(Letters(), ids, scores, **options)


def test_ragged_lists_are_padded():
    shortlist = from_ids([["a", "b"], ["c"], []], [[0.9, 0.5], [0.3], []])
    assert shortlist.rows.tolist() == [[0, 1], [2, -1], [-1, -1]]
    assert shortlist.scores[1, 1] == -np.inf
    assert shortlist.rows.dtype == np.int64
    assert shortlist.scores.dtype == np.float32


def test_order_without_scores():
    assert from_ids([["c", "a", "b", "d"]]).scores.tolist() == [[1.0, 0.75, 0.5, 0.25]]
    assert rank_scores(0).tolist() == []


def test_empty():
    assert from_ids([]).rows.shape == (0, 0)
    assert from_ids([[]], [[]]).rows.shape == (1, 0)


@pytest.mark.parametrize(
    ("ids", "scores", "message"),
    [
        ([["a", "a"]], [[0.5, 0.4]], "'a' stands twice"),
        (
            [["c"], ["a", "b", "a"]],
            None,
            r"query 1: id 'a' stands twice in the shortlist \(again at position 2\)",
        ),
        ([["a", "b"]], [[0.5]], "2 ids but 1 scores"),
        ([["a"]], [[0.5], [0.4]], "1 lists of ids but 2"),
        ([["a", "b"]], [[0.5, float("nan")]], "position 1 is nan"),
        ([["a", "b"]], [[float("inf"), 0.1]], "must be finite"),
        ([["a", "b"]], [[0.1, 0.5]], "higher is better"),
        (["ab"], None, "expected a sequence of ids, got 'ab'"),
        ([None], None, "got None"),
    ],
)
def test_bad_input(ids, scores, message):
    with pytest.raises(ShortlistError, match=message):
        from_ids(ids, scores)


def test_sort_is_stable_and_explicit():
    shortlist = from_ids([["a", "b", "c", "d"]], [[0.1, 0.5, 0.1, 0.9]], sort=True)
    assert shortlist.rows.tolist() == [[3, 1, 0, 2]]


def test_inputs_are_not_changed():
    ids, scores = [["a", "b"]], [np.array([0.1, 0.5])]
    from_ids(ids, scores, sort=True)
    assert ids == [["a", "b"]]
    assert scores[0].tolist() == [0.1, 0.5]


def test_direct_construction_is_checked():
    with pytest.raises(ShortlistError, match="at the end"):
        Shortlist(np.array([[-1, 2]]), np.array([[0.5, 0.4]], np.float32))
    with pytest.raises(ShortlistError, match="shape"):
        Shortlist(np.array([1, 2]), np.array([0.5, 0.4], np.float32))
    with pytest.raises(ShortlistError, match="negative"):
        Shortlist(np.array([[-2]]), np.array([[0.5]], np.float32))


@given(st.lists(st.floats(-1, 1, width=32), max_size=20))
def test_sorted_scores_come_back_sorted(scores):
    ids = [chr(ord("a") + number) for number in range(len(scores))]
    shortlist = from_ids([ids], [scores], sort=True, higher_is_better=True)
    assert shortlist.scores[0].tolist() == sorted(scores, reverse=True)
    assert sorted(shortlist.rows[0].tolist()) == list(range(len(scores)))


def test_queries_are_checked():
    with pytest.raises(QueryError, match="query 1 holds NaN"):
        Queries(np.array([[0.0, 1.0], [np.nan, 0.0]]))
    with pytest.raises(QueryError, match="shape"):
        Queries(np.zeros(3))
    with pytest.raises(QueryError, match="1 boxes"):
        Queries(np.zeros((2, 3)), boxes=np.zeros((1, 4), np.float32))


def descriptors(count=2):
    return LocalDescriptors(
        np.eye(count, 4, dtype=np.float32),
        np.full((count, 2), 0.5, np.float32),
        np.zeros(count, np.int16),
        np.ones(count, np.float32),
    )


def made(identity="maker", count=3):
    local = LocalQueries([descriptors() for _ in range(count)], identity, ((8, 8),))
    return Queries(np.eye(count, 4), local=local)


@pytest.mark.parametrize(
    "path",
    [
        lambda queries: queries,
        lambda queries: queries.take([2, 0]),
        lambda queries: queries.take(range(2)).take([1]),
        lambda queries: replace(queries, crop="box"),
        lambda queries: replace(queries, local=[descriptors(1)] * 3),  # cut by the caller
        lambda queries: Queries(queries.vectors[:2], local=queries.local[:2]),
        lambda queries: Queries(queries.vectors[1:], local=queries.take([1, 2]).local[:]),
        lambda queries: pickle.loads(pickle.dumps(queries)),
    ],
)
def test_who_made_local_descriptors_is_never_lost(path):
    found = path(made())
    assert found.local_encoder == "maker"
    assert found.local.identity == "maker" and found.local.sizes in (((8, 8),), ())
    assert len(found.local) == len(found)


def test_who_made_local_descriptors_can_be_said_beside_them():
    plain = Queries(np.eye(2, 4), local=[descriptors(), descriptors()])
    assert plain.local_encoder is None and plain.local.identity == ""
    said = replace(plain, local_encoder="maker")
    assert said.local.identity == "maker" and said.take([1]).local.identity == "maker"
    other = replace(said, local=LocalQueries(plain.local, "another"))
    assert other.local_encoder == "another", "what descriptors say of themselves counts"
    assert replace(said, local=None).local_encoder is None


@pytest.mark.parametrize(
    ("rows", "scores", "message"),
    [
        ("abc", [[1.0]], "rows: expected whole numbers of gallery rows, got 'abc'"),
        ([["a.png"]], [[1.0]], r"from_ids"),
        ([[1.5]], [[1.0]], "whole numbers"),
        ([[np.nan]], [[1.0]], "whole numbers"),
        ([[True]], [[1.0]], "whole numbers"),
        (None, [[1.0]], "got None"),
        ([[1]], None, "scores: expected an array of numbers, got None"),
        ([[1]], [["x"]], "scores: expected an array of numbers"),
        ([[1, 2]], [[0.5, None]], "scores: expected an array of numbers"),
        ([[1]], [[1.0], [1.0, 2.0]], "scores: expected an array of numbers"),
        ([[1]], [[1e300]], "is inf"),
        ([[1]], 0.5, r"one shape \(Q, K\), got \(1, 1\) and \(\)"),
    ],
)
def test_shortlists_of_wrong_types(rows, scores, message):
    with pytest.raises(ShortlistError, match=message):
        Shortlist(rows, scores)


def test_rows_that_are_whole_floats_are_read():
    assert Shortlist(np.array([[2.0, -1.0]]), np.array([[0.5, 0.0]])).rows.tolist() == [[2, -1]]


@pytest.mark.parametrize("vectors", [None, "abc", [["x"]], [[1.0], [1.0, 2.0]], [[None, 1.0]]])
def test_queries_of_wrong_types(vectors):
    with pytest.raises(QueryError, match="query vectors: expected an array of numbers"):
        Queries(vectors)


def test_an_index_that_gives_no_row_is_told():
    class Forgetful:
        def rows_of(self, ids):
            return np.full(len(ids), -1)

    with pytest.raises(ShortlistError, match="query 0: its index gave the row -1"):
        Shortlist.from_ids(Forgetful(), [["a"]], [[0.5]])


def test_shortlists_joined_are_filled_up_to_one_width():
    away = MissingCandidates(["x"], np.zeros(1, np.int64), np.array([0.5], np.float32), True)
    parts = [
        Shortlist([[3, 1]], [[0.9, 0.2]]),
        Shortlist([[5], [2]], [[0.4], [0.3]], (away, None)),
    ]
    made = Shortlist.joined(parts)
    assert made.rows.tolist() == [[3, 1], [5, EMPTY], [2, EMPTY]]
    np.testing.assert_array_equal(
        made.scores, np.array([[0.9, 0.2], [0.4, -np.inf], [0.3, -np.inf]], np.float32)
    )
    assert made.missing == (None, away, None)
    assert Shortlist.joined(parts[:1]) is parts[0]
    assert Shortlist.joined([parts[0], parts[0]]).missing == ()
