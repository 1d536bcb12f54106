"""Whatever holds ids and scores: read, or named in a sentence."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from patchrerank.errors import PatchRerankError, QueryError, ShortlistError, shown
from patchrerank.search_results import batch_of, ids_of, refuse_twice, scores_of

IDS = ["a", "b", "c"]
SCORES = [0.75, 0.5, 0.25]


class Vector:
    """As pgvector's: no length, no iteration, no ``__array__``."""

    def __init__(self, values):
        self._values = np.asarray(values, np.float32)

    def to_numpy(self):
        return self._values


class Column:
    """As pyarrow's: entries are scalar objects, ``to_numpy`` refuses text."""

    def __init__(self, values):
        self._values = values

    def __iter__(self):
        return iter([object() for _ in self._values])

    def to_numpy(self):
        raise ValueError("Needed to copy 1 chunks with 0 nulls, but zero_copy_only was True")

    def to_pylist(self):
        return list(self._values)


class Run:
    """As ranx's: a length, rows by query id, no iteration."""

    def __len__(self):
        return 1

    def __getitem__(self, query):
        return {"q": {}}[query]

    def to_dict(self):
        return {"q": {"a": 0.5}}


@pytest.mark.parametrize(
    "ids",
    [IDS, tuple(IDS), iter(IDS), map(str, IDS), np.array(IDS), np.array(IDS, object), Column(IDS)],
)
def test_ids_of_any_kind(ids):
    found = ids_of(0, ids)
    assert found == IDS and all(type(item) is str for item in found)


@pytest.mark.parametrize(
    "scores",
    [
        SCORES, tuple(SCORES), iter(SCORES), map(float, SCORES), np.array(SCORES),
        np.array(SCORES, np.float16), np.array(SCORES, object), torch.tensor(SCORES),
        torch.tensor(SCORES, dtype=torch.bfloat16, requires_grad=True), Column(SCORES),
        [Decimal("0.75"), Fraction(1, 2), np.float16(0.25)], list(torch.tensor(SCORES)),
        (score for _, score in zip(IDS, SCORES, strict=True)),
    ],
)  # fmt: skip
def test_scores_of_any_kind(scores):
    assert scores_of(0, scores, 3).tolist() == SCORES


def test_columns_of_pandas_and_pyarrow():
    pandas = pytest.importorskip("pandas")
    assert ids_of(0, pandas.Series(IDS, index=[7, 8, 9])) == IDS
    assert scores_of(0, pandas.Series(SCORES, index=[7, 8, 9]), 3).tolist() == SCORES
    assert batch_of(pandas.Series([IDS, IDS]), "candidates") == [IDS, IDS]
    with pytest.raises(ShortlistError, match=r"candidates: expected .* a pandas DataFrame"):
        batch_of(pandas.DataFrame({"id": IDS}), "candidates")
    with pytest.raises(ShortlistError, match="a pandas DataFrame"):
        ids_of(0, pandas.DataFrame({"id": IDS}))
    with pytest.raises(ShortlistError, match=r"position 1 is <NA>"):
        scores_of(0, pandas.Series([1, None], dtype="Int64"), 2)
    arrow = pytest.importorskip("pyarrow")
    assert ids_of(0, arrow.array(IDS)) == ids_of(0, arrow.chunked_array([IDS[:1], IDS[1:]])) == IDS
    assert scores_of(0, arrow.chunked_array([SCORES]), 3).tolist() == SCORES
    assert scores_of(0, list(arrow.array(SCORES)), 3).tolist() == SCORES


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([None, 3], "id None is a NoneType"),
        ([None], r"query 4: id None is a NoneType \(position 0\); ids are strings"),
        (["a", 3.0], r"id 3.0 is a float \(position 1\)"),
        (np.array([3.5, 4]), "id 3.5 is a float"),
        ([b"a"], "a bytes"),
        ([True], "a bool"),
        ([float("nan")], "a float"),
        ([("a", 0.5)], "a tuple"),
        ("ab", "expected a sequence of ids, got 'ab'"),
        (3, "got 3"),
        ({"a": 0.5}, r"got a dict; pass ids and scores as two lists"),
        ({"a"}, "a set has no order"),
        (Run(), r"got a .*Run; pass ids and scores as two lists"),
    ],
)
def test_bad_ids(ids, message):
    with pytest.raises(ShortlistError, match=message):
        ids_of(4, ids)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([0.75, None, 0.25], "position 1 is None; scores must be finite"),
        ([0.75, "0.5", 0.25], "position 1 is '0.5', a str; scores are numbers"),
        ([0.75, True, 0.25], "position 1 is True, a bool"),
        (np.array([True, False, True]), "position 0 is True, a bool"),
        (np.array(["x", "y", "z"]), "'x', a str"),
        ([[0.75], [0.5], [0.25]], r"\[0.75\], a list"),
        ([np.ones(1)] * 3, "a ndarray"),
        (np.ones((1, 3)), r"shape \(1, 3\); pass one score an id"),
        (np.ones((3, 1)), r"shape \(3, 1\)"),
        (torch.ones(1, 3), r"shape \(1, 3\)"),
        ([1j, 0, 0], "a complex"),
        (0.75, "expected a sequence of scores, got 0.75"),
        (Vector([1]), "got a .*Vector"),
        ({"a": 0.75}, "got a dict"),
        ([0.75, 0.5], "3 ids but 2 scores"),
        ([0.75, float("-inf"), 0.25], "position 1 is -inf"),
        ([0.75, 0.5, np.nan], "position 2 is nan"),
        ([1e300, 0.5, 0.25], r"position 0 is 1e\+300"),
        ([10**400, 0.5, 0.25], "position 0 is 1000"),
        (np.ma.array(SCORES, mask=[0, 1, 0]), "position 1 is nan"),
    ],
)
def test_bad_scores(scores, message):
    with pytest.raises(ShortlistError, match=message) as caught:
        scores_of(0, scores, 3)
    assert len(str(caught.value)) < 400


def test_batches():
    assert batch_of(iter([IDS, IDS]), "candidates") == [IDS, IDS]
    for wrong in (Run(), {"q": {"a": 0.5}}, "ab", 3, None):
        with pytest.raises(ShortlistError, match="candidates: "):
            batch_of(wrong, "candidates")


def test_messages_are_bounded():
    long = "x" * 50_000
    for wrong in ([long, 3.0], long, [[long] * 1000], [{long: long}]):
        with pytest.raises(ShortlistError) as caught:
            ids_of(0, wrong)
        assert len(str(caught.value)) < 500, wrong
    with pytest.raises(ShortlistError) as caught:
        refuse_twice(0, [long, long])
    assert len(str(caught.value)) < 500
    message = str(PatchRerankError(f"begin {long} end"))
    assert len(message) < 2100 and message.startswith("begin x") and message.endswith("x end")
    assert "50010 characters" in message
    assert str(QueryError("short")) == "short" and shown("a\nb") == r"'a\nb'"
    assert len(shown(np.zeros((1000, 1000)))) < 200
