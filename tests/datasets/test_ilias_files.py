"""ILIAS' feature and result files: read, written, and refused."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchrerank.datasets.ilias_features import (
    database_files,
    escape_id,
    read_database,
    read_features,
    unescape_id,
    write_features,
)
from patchrerank.datasets.ilias_similarities import (
    read_similarities,
    similarities_of,
    write_similarities,
)
from patchrerank.errors import DatasetError
from patchrerank.types import Shortlist

REFERENCE = Path(__file__).parents[1] / "reference" / "ilias_knn"
TABLE = {"a/q": {"x": 0.75, "é": 0.5}, "b/q": {"z": -0.25, "x": -0.5}}


def test_feature_files_round_trip(tmp_path):
    path = tmp_path / "f.hdf5"
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    write_features(path, ["a/é.jpg", "b/日.jpg", "c/😀.jpg"], vectors)
    with h5py.File(path) as file:
        assert file["index"][0] == b"a/#U00e9.jpg"
        assert file["features"].dtype == np.float16
        assert file["features"].compression == "gzip"
    found = read_features(path)
    assert found.ids[:2] == ("a/#U00e9.jpg", "b/#U65e5.jpg")
    assert [unescape_id(name) for name in found.ids] == ["a/é.jpg", "b/日.jpg", "c/😀.jpg"]
    assert found.vectors.dtype == np.float32
    assert np.array_equal(found.vectors, vectors)
    part = read_features(path, 1, 2)
    assert part.ids == found.ids[1:2]
    assert np.array_equal(part.vectors, vectors[1:2])
    write_features(path, [], np.zeros((0, 2)))
    assert len(read_features(path)) == 0
    with pytest.raises(DatasetError, match="1 ids but vectors"):
        write_features(path, ["a"], vectors)


@given(st.text(st.characters(exclude_characters="#\\", exclude_categories=["Cs"])))
def test_escapes_are_ascii_and_come_back(name):
    assert escape_id(name).isascii()
    assert unescape_id(escape_id(name)) == name


def test_a_surrogate_is_left_alone():
    assert unescape_id("#Ud800") == "#Ud800"


def test_the_database_counts_through_its_files(tmp_path):
    files = database_files(REFERENCE / "features")
    assert [path.stem[9:] for path in files] == [
        "positives",
        "distractors_00000",
        "distractors_00001",
    ]
    whole = read_database(REFERENCE / "features")
    assert len(whole) == 58
    assert whole.ids[18] == read_features(files[1]).ids[0]
    few = read_database(REFERENCE / "features", selected=[whole.ids[20].split("/")[1]])
    assert few.ids == (*whole.ids[:18], whole.ids[20])
    with pytest.raises(DatasetError, match="did you mean features_positives"):
        database_files(REFERENCE / "features", "feature")
    write_features(tmp_path / "f_positives.hdf5", ["a"], np.ones((1, 2)))
    write_features(tmp_path / "f_distractors_00001.hdf5", ["000/1"], np.ones((1, 2)))
    with pytest.raises(DatasetError, match=r"00000\.hdf5 is missing"):
        database_files(tmp_path, "f")
    write_features(tmp_path / "f_distractors_00000.hdf5", ["000/1"], np.ones((1, 3)))
    with pytest.raises(DatasetError, match="3 dimensions, the positives have 2"):
        read_database(tmp_path, "f")


@pytest.mark.parametrize(
    ("arrays", "hint"),
    [
        ({"index": ["a"]}, "'features' is missing"),
        (
            {"indx": ["a"], "features": [[1.0]]},
            "'index' is missing; it holds features, indx; did you mean indx",
        ),
        ({"index": ["a", "b"], "features": [[1.0]]}, r"shape \(2,\)"),
        ({"index": ["a"], "features": [1.0]}, r"\(N, d\)"),
        ({"index": ["a"], "features": [[1]]}, "not floats"),
        ({"index": [1], "features": [[1.0]]}, "text ids"),
        ({"index": ["a", "b"], "features": [[1.0], [np.nan]]}, "row 1 .'b'."),
    ],
)
def test_bad_feature_files_are_named(tmp_path, arrays, hint):
    path = tmp_path / "bad.hdf5"
    with h5py.File(path, "w") as file:
        for key, value in arrays.items():
            file[key] = value
    with pytest.raises(DatasetError, match=f"bad.hdf5.*{hint}"):
        read_features(path)


def test_files_that_are_no_hdf5(tmp_path):
    with pytest.raises(DatasetError, match="no such file"):
        read_features(tmp_path / "none.hdf5")
    (tmp_path / "text.hdf5").write_text("hello")
    with pytest.raises(DatasetError, match="not an HDF5 file"):
        read_features(tmp_path / "text.hdf5")
    whole = (REFERENCE / "features/features_positives.hdf5").read_bytes()
    (tmp_path / "cut.hdf5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match=r"cut\.hdf5"):
        read_features(tmp_path / "cut.hdf5")
    with h5py.File(tmp_path / "group.hdf5", "w") as file:
        file.create_group("index")
    with pytest.raises(DatasetError, match="'index' is a group"):
        read_features(tmp_path / "group.hdf5")


@pytest.mark.parametrize("suffix", ["json", "pkl", "pickle"])
def test_similarities_round_trip(tmp_path, suffix):
    path = tmp_path / f"s.{suffix}"
    write_similarities(path, TABLE)
    found = read_similarities(path)
    assert found == TABLE
    assert [list(row) for row in found.values()] == [["x", "é"], ["z", "x"]]
    assert not list(tmp_path.glob("*.partial"))


def test_a_written_pickle_has_the_published_layout(tmp_path):
    path = tmp_path / "s.pkl"
    theirs = read_similarities(REFERENCE / "similarities_plain.pkl")
    database = read_database(REFERENCE / "features").ids
    write_similarities(path, theirs, database)
    ours = pickle.loads(path.read_bytes())
    original = pickle.loads((REFERENCE / "similarities_plain.pkl").read_bytes())
    assert ours.keys() == original.keys()
    for key, value in original.items():
        assert np.array_equal(ours[key], value), key


def test_result_files_agree():
    for name in ("plain", "qe"):
        files = [REFERENCE / f"similarities_{name}.{suffix}" for suffix in ("json", "pkl")]
        first, second = (read_similarities(file) for file in files)
        assert first == second
        assert [*map(list, first.values())] == [*map(list, second.values())]


@pytest.mark.parametrize("protocol", range(6))
def test_every_pickle_protocol_and_lists_are_read(tmp_path, protocol):
    arrays = {
        "query_ids": np.array(["a/q", "b/q"], dtype=object),
        "db_ids": np.array(["x", "é", "z"]),
        "sims": np.asfortranarray(np.array([[0.75, 0.5], [-0.25, -0.5]], np.float32)),
        "ranks": np.array([[0, 1], [2, 0]]),
    }
    (tmp_path / "s.pkl").write_bytes(pickle.dumps(arrays, protocol))
    assert read_similarities(tmp_path / "s.pkl") == TABLE
    plain = {key: value.tolist() for key, value in arrays.items()}
    (tmp_path / "s.pkl").write_bytes(pickle.dumps(plain, protocol))
    assert read_similarities(tmp_path / "s.pkl") == TABLE
    scalars = plain | {"query_ids": [np.str_("a/q"), np.str_("b/q")]}
    scalars["sims"] = [[np.float32(v) for v in row] for row in plain["sims"]]
    (tmp_path / "s.pkl").write_bytes(pickle.dumps(scalars, protocol))
    assert read_similarities(tmp_path / "s.pkl") == TABLE


class Runs:
    """Runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return subprocess.check_call, (["touch", str(self.path)],)


def crafted(opcodes):
    return b"\x80\x04" + opcodes + b"."


LAUGHS = b"]\x94" + b"".join(b"](h%ch%ce\x94" % (n, n) for n in range(40))


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({"query_ids": np.array([{}, []], dtype=object)[:0], "db_ids": np.float64}),
        pickle.dumps(np.zeros(2, dtype=[("a", "i4"), ("b", "O")])),
        pickle.dumps(np.datetime64("2020-01-01")),
        pickle.dumps(np.ma.masked_array([1.0])),
        pickle.dumps({1, 2}),
        pickle.dumps(1j),
        pickle.dumps(io.BytesIO(b"")),
        crafted(b"cbuiltins\neval\n(V1+1\ntR"),
        crafted(b"cnumpy\ndtype\n}b"),
        crafted(b"cnumpy\ndtype\n}Vx\nK\x01sb"),
        crafted(b"cnumpy.core.multiarray\n_reconstruct\n)R"),
        crafted(b"cnumpy\nload\n(Vx\ntR"),
        crafted(b"(cnumpy\nndarray\no"),
        crafted(LAUGHS),
        b"",
        b"nothing",
    ],
)
def test_pickles_of_anything_else_are_refused(tmp_path, content):
    path = tmp_path / "bad.pkl"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"bad\.pkl"):
        read_similarities(path)


def test_no_code_in_a_pickle_runs(tmp_path):
    trace = tmp_path / "ran"
    (tmp_path / "s.pkl").write_bytes(pickle.dumps({"query_ids": Runs(trace)}))
    with pytest.raises(DatasetError, match=r"check_call.*nothing in it was run"):
        read_similarities(tmp_path / "s.pkl")
    assert not trace.exists()


@given(st.binary(max_size=40), st.integers(0, 7900), st.integers(0, 7900))
def test_damaged_pickles_give_one_error(tmp_path_factory, noise, start, length):
    whole = (REFERENCE / "similarities_plain.pkl").read_bytes()
    path = tmp_path_factory.mktemp("damaged") / "s.pkl"
    path.write_bytes(whole[:start] + noise + whole[start + length :])
    try:
        found = read_similarities(path)
    except DatasetError:
        return
    assert all(isinstance(v, float) for row in found.values() for v in row.values())


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"sims": None}, "'sims' is missing; did you mean sim"),
        ({"sims": [[1.0, 0.5]]}, "1 rows of sims"),
        ({"sims": [[1.0], [0.5]]}, r"sims \(1,\) and ranks \(2,\)"),
        ({"sims": [["a", "b"], ["c", "d"]]}, "must be numbers"),
        ({"sims": [[1.0, float("nan")], [0.5, 0.0]]}, "not a finite number"),
        ({"ranks": [[0, 3], [2, 0]]}, "rank 3 is beyond the 3 db_ids"),
        ({"ranks": [[0, -1], [2, 0]]}, "from 0"),
        ({"ranks": [[0.5, 1.0], [2.0, 0.0]]}, "from 0"),
        ({"ranks": [[0, 0], [2, 0]]}, "stands twice"),
        ({"query_ids": ["a", "a"]}, "query_ids holds an id twice"),
        ({"db_ids": ["x", 3, "z"]}, r"db_ids\[1\] is 3"),
        ({"db_ids": 5}, "db_ids"),
    ],
)
def test_result_pickles_that_do_not_fit(tmp_path, change, hint):
    arrays = {
        "query_ids": ["a", "b"],
        "db_ids": ["x", "y", "z"],
        "sims": [[0.75, 0.5], [-0.25, -0.5]],
        "ranks": [[0, 1], [2, 0]],
    } | change
    if arrays["sims"] is None:
        arrays["sim"] = arrays.pop("sims")
    (tmp_path / "s.pkl").write_bytes(pickle.dumps(arrays))
    with pytest.raises(DatasetError, match=f"s.pkl.*{hint}"):
        read_similarities(tmp_path / "s.pkl")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("[]", "expected an object of queries"),
        ('{"q": []}', "query 'q': expected an object"),
        ('{"q": {"x": "1"}}', "similarity of 'x' is '1'"),
        ('{"q": {"x": true}}', "similarity of 'x' is True"),
        ('{"q": {"x": NaN}}', "similarity of 'x' is nan"),
        ('{"q": {"x": 1, "x": 2}}', "'x' stands twice"),
        ('{"q": ', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_bad_json_is_named(tmp_path, text, hint):
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(DatasetError, match=f"s.json.*{hint}"):
        read_similarities(tmp_path / "s.json")


def test_other_mistakes(tmp_path):
    for name in ("none.json", "none.pkl", "s.csv"):
        with pytest.raises(DatasetError, match=name):
            read_similarities(tmp_path / name)
    with pytest.raises(DatasetError, match=r"s\.csv"):
        write_similarities(tmp_path / "s.csv", TABLE)
    with pytest.raises(DatasetError, match="1 to 2 entries; write JSON"):
        write_similarities(tmp_path / "s.pkl", {"a": {"x": 1.0}, "b": {"x": 1.0, "y": 0.5}})
    with pytest.raises(DatasetError, match="does not hold 'é'"):
        write_similarities(tmp_path / "s.pkl", TABLE, ["x", "z"])
    assert not list(tmp_path.iterdir())


def test_similarities_of_a_shortlist():
    shortlist = Shortlist([[2, 0], [1, -1]], np.array([[0.5, 0.25], [1.0, 0]], np.float32))
    table = similarities_of(["p", "q"], ["a", "b", "c"], shortlist)
    assert table == {"p": {"c": 0.5, "a": 0.25}, "q": {"b": 1.0}}
    assert json.dumps(table)
    with pytest.raises(DatasetError, match="1 query ids"):
        similarities_of(["p"], ["a"], shortlist)
