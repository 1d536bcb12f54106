"""Ids are found by their bytes, whatever else the table or its neighbours hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchrerank.kernels.ids import find_rows, table_of

SIZE = 256


def arrays_of(ids):
    raw = [item.encode("utf-8", "surrogatepass") for item in ids]
    ends = np.cumsum([len(item) for item in raw], dtype=np.int64)
    return np.frombuffer(b"".join(raw), dtype=np.uint8), ends


def rows_of(asked, ids):
    blob, ends = arrays_of(ids)
    table, twice = table_of(blob, ends, SIZE)
    assert twice == -1
    text, stops = arrays_of(asked)
    return find_rows(text.tobytes(), stops, table, blob, ends).tolist()


@given(st.lists(st.text(min_size=1, max_size=40), unique=True, max_size=50), st.data())
def test_equals_a_dictionary(ids, data):
    known = {item: row for row, item in enumerate(ids)}
    others = st.text(min_size=1, max_size=40)
    asked = data.draw(st.lists(st.sampled_from(ids) | others if ids else others, max_size=60))
    assert rows_of(asked, ids) == [known.get(item, -1) for item in asked]


@pytest.mark.parametrize("size", range(1, 35))
def test_ids_that_differ_in_one_byte_anywhere(size):
    ids = ["a" * place + "b" + "a" * (size - place - 1) for place in range(size)]
    assert rows_of([*ids, "a" * size, "a" * (size + 1)], ids) == [*range(size), -1, -1]


def test_an_id_that_stands_twice_is_told():
    ids = ["x", "longer than a word", "x", "longer than a word"]
    assert table_of(*arrays_of(ids), SIZE)[1] == 2


def test_a_damaged_table_or_ends_find_nothing_and_touch_nothing():
    ids = [f"photos/{number:05d}.jpg" for number in range(100)]
    blob, ends = arrays_of(ids)
    table, _ = table_of(blob, ends, SIZE)
    text, stops = arrays_of(ids)
    full = np.full_like(table, 2**32 - 1)
    assert set(find_rows(text.tobytes(), stops, full, blob, ends)) == {-1}
    for wild in (ends + 2**60, -ends, np.zeros_like(ends), ends[::-1].copy()):
        found = find_rows(text.tobytes(), stops, table, blob, wild)
        assert ((found == -1) | (found == np.arange(100))).all()
    shuffled = np.roll(table, 1)
    found = find_rows(text.tobytes(), stops, shuffled, blob, ends)
    assert ((found == -1) | (found == np.arange(100))).all()


@given(st.lists(st.sampled_from("abcdefgh"), max_size=60), st.data())
def test_removed_rows_are_passed_over(ids, data):
    """Of equal ids only the last may live; rows behind the flags do."""
    last = {item: row for row, item in enumerate(ids)}
    gone = {item for item in last if data.draw(st.booleans())}
    removed = np.array([row != last[i] or i in gone for row, i in enumerate(ids)], dtype=np.uint8)
    removed = removed[: int(np.flatnonzero(removed)[-1]) + 1 if removed.any() else 0]
    blob, ends = arrays_of(ids)
    table, twice = table_of(blob, ends, SIZE, removed)
    assert twice == -1 and sorted(table[table > 0] - 1) == list(range(len(ids)))
    text, stops = arrays_of("abcdefghi")
    found = find_rows(text.tobytes(), stops, table, blob, ends, removed=removed)
    assert found.tolist() == [-1 if i in gone else last.get(i, -1) for i in "abcdefghi"]


def test_an_id_that_lives_twice_is_told_behind_removed_ones():
    ids = ["x", "x", "y", "x"]
    assert table_of(*arrays_of(ids), SIZE, np.array([1], dtype=np.uint8))[1] == 3
    assert table_of(*arrays_of(ids), SIZE, np.array([1, 1], dtype=np.uint8))[1] == -1
