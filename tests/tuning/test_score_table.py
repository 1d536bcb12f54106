from __future__ import annotations

import json
import pickle
import zlib
from dataclasses import fields, replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from patchrerank.analysis.relevance import Relevance
from patchrerank.errors import SettingError, TableError
from patchrerank.metrics import parse_convention
from patchrerank.pipeline import StageSpec
from patchrerank.tuning.tables.grids import evaluate_grid
from patchrerank.tuning.tables.score_table import BY_QUERY, BY_RERANKER
from patchrerank.tuning.tables.table_files import load_table, save_table
from patchrerank.tuning.tables.table_folder import MANIFEST
from synthetic import one_stage, random_table, slow_stages

CONVENTIONS = ("full", "revisited", "@4", "ilias@5", "ames-rectangular", "ames-trapezoidal@4")
LAMS, GAMMAS, SIZES = [0.0, 0.3, 1.0], [0.0, 0.5, 40.0], [0, 1, 5, 12, None]


def same(first, second):
    for name in BY_QUERY:
        assert np.array_equal(getattr(first, name), getattr(second, name), equal_nan=True), name
    for field in BY_RERANKER:
        assert list(getattr(first, field)) == list(getattr(second, field))
        for name, values in getattr(first, field).items():
            assert np.array_equal(values, getattr(second, field)[name], equal_nan=True)
    for name in ("query_ids", "gallery_ids", "costs", "convention", "about", "list_depths"):
        assert getattr(first, name) == getattr(second, name), name


@given(st.integers(0, 30), st.sampled_from(CONVENTIONS), st.booleans())
@hypothesis_settings(max_examples=25)
def test_grids_equal_the_slow_twin(seed, convention, coarse):
    table = random_table(seed, coarse=coarse, convention=parse_convention(convention))
    found = {
        metric: evaluate_grid(table, LAMS, GAMMAS, SIZES, "a", metric)
        for metric in ("AP", "LocScore")
    }
    for (s, size), (g, gamma), (n, lam) in product(
        enumerate(SIZES), enumerate(GAMMAS), enumerate(LAMS)
    ):
        _, precisions, located = slow_stages(table, [StageSpec("a", lam, gamma, size)])
        where = f"{lam=} {gamma=} {size=}"
        np.testing.assert_allclose(found["AP"][s, g, n], precisions, rtol=1e-12, err_msg=where)
        np.testing.assert_allclose(found["LocScore"][s, g, n], located, atol=1e-7, err_msg=where)


def test_evaluate_is_one_point_of_the_grid():
    table = random_table(5)
    scores = one_stage(table, 0.3, 0.5, 5, "a")
    grid = evaluate_grid(table, LAMS, GAMMAS, SIZES, "a")
    np.testing.assert_allclose(scores.AP, grid[2, 1, 1], rtol=1e-12)
    assert scores.mAP == pytest.approx(100 * np.nanmean(grid[2, 1, 1]))
    with pytest.raises(SettingError, match="say which"):
        one_stage(table, 0.3, 0.5)
    alone = random_table(5, names=("only",))
    assert np.isfinite(one_stage(alone, 0.3, 0.5).metrics["LocScore"])


def test_grid_errors():
    table = random_table(1)
    with pytest.raises(SettingError, match="metric"):
        evaluate_grid(table, [0.1], [1.0], [3], "a", "mAP")
    with pytest.raises(SettingError, match="lam must"):
        evaluate_grid(table, [1.1], [1.0], [3], "a")
    with pytest.raises(SettingError, match="gamma must"):
        evaluate_grid(table, [0.1], [-1.0], [3], "a")
    with pytest.raises(SettingError, match="shortlist_size"):
        evaluate_grid(table, [0.1], [1.0], [-3], "a")
    unknown = replace(table, overlaps={})
    assert np.isnan(one_stage(unknown, 0.5, 1.0, 5, "a").LocScore).all()
    with pytest.raises(TableError, match="no overlaps of 'a'"):
        evaluate_grid(unknown, [0.1], [1.0], [3], "a", "LocScore")


def test_scores_that_lack_are_named_and_counted():
    table = random_table(2, holes=False)
    scores = table.local_scores["a"].copy()
    scores[1, 7:9] = scores[3, 11] = np.nan
    table = replace(table, local_scores={**table.local_scores, "a": scores})
    assert table.missing("a").sum() == 3
    assert table.missing("a", 8).sum() == 1
    assert np.isfinite(one_stage(table, 0.5, 1.0, 7, "a").mAP)
    with pytest.raises(TableError, match="2 pairs have no local score of 'a'"):
        one_stage(table, 0.5, 1.0, 10, "a")
    with pytest.raises(TableError, match="at least 6"):
        one_stage(replace(table, list_depths={"a": 6}), 0.5, 1.0, 5, "a")


def test_take():
    table = random_table(3, queries=6)
    some = table.take([4, 1])
    assert some.query_ids == ("q4", "q1")
    assert some.groups.tolist() == [2, 0]
    whole = one_stage(table, 0.3, 2.0, 8, "b")
    np.testing.assert_array_equal(one_stage(some, 0.3, 2.0, 8, "b").AP, whole.AP[[4, 1]])
    with pytest.raises(TableError, match="must lie in"):
        table.take([6])
    with pytest.raises(TableError, match="twice"):
        table.take([1, 1])
    with pytest.raises(TableError, match="whole numbers"):
        table.take(np.ones(6, dtype=bool))


def test_within_is_what_relevance_does():
    table = random_table(7)
    relevance = Relevance(
        table.relevant, table.junk, table.overlaps["a"], table.areas, table.n_positives, table.valid
    )
    areas = [row[~np.isnan(row)] for row in table.positive_areas]
    for low, high in [(0.0, 0.1), (0.1, 0.6), (0.0, 1.0)]:
        small, expected = table.within(low, high), relevance.within(low, high, areas)
        assert np.array_equal(small.relevant, expected.relevant)
        assert np.array_equal(small.junk, expected.junk)
        assert np.array_equal(small.n_positives, expected.n_positives)
        one_stage(small, 0.5, 1.0, 5, "a")
    unknown = np.full((len(table), 0), np.nan, np.float32)
    with pytest.raises(TableError, match="knows no areas"):
        replace(table, positive_areas=unknown).within(0, 1)


def test_arrays_are_read_only_and_not_copied():
    rows = random_table(0).rows
    table = replace(random_table(0), rows=rows)
    assert np.shares_memory(table.rows, rows)
    with pytest.raises(ValueError, match="read-only"):
        table.local_scores["a"][0, 0] = 1


def changed(table, **fields):
    def put(name, *place, to):
        array = np.array(getattr(table, name))
        array[place] = to
        return array

    return {key: value(put) if callable(value) else value for key, value in fields.items()}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rows": np.zeros(4)}, r"rows: expected the shape \(Q, K\)"),
        ({"rows": np.zeros((5, 12))}, "rows: expected an array of whole numbers"),
        ({"rows": lambda put: put("rows", 0, 0, to=99)}, "row 99 has no id"),
        ({"rows": lambda put: put("rows", 0, 0, to=-1)}, "no shortlist"),
        ({"rows": lambda put: put("rows", 0, 0, to=-2)}, "no shortlist"),
        ({"global_scores": lambda put: put("global_scores", 0, 5, to=9)}, "is higher than"),
        ({"global_scores": lambda put: put("global_scores", 0, 0, to=np.nan)}, "no shortlist"),
        ({"junk": lambda put: put("junk", slice(None), to=True)}, "relevant and junk|but empty"),
        ({"relevant": np.zeros((5, 12), int)}, "array of bool"),
        ({"relevant": np.zeros((5, 11), bool)}, r"expected the shape \(5, 12\), got \(5, 11\)"),
        ({"n_positives": np.zeros(5, int)}, "count the positives of the whole data set"),
        ({"n_positives": np.zeros(4, int)}, r"expected the shape \(5\), got \(4,\)"),
        ({"query_ids": ("a",) * 5}, "stands there twice"),
        ({"query_ids": (1, 2, 3, 4, 5)}, "ids are text"),
        ({"query_ids": ("a", "b")}, "2 ids, but 5 lists"),
        ({"local_scores": {"global": np.zeros((5, 12))}}, "is the first stage"),
        ({"local_scores": {"a": np.full((5, 12), np.inf)}}, "expected below infinity"),
        ({"overlaps": {"a": np.full((5, 12), 1.5)}}, r"expected in \[0, 1\]"),
        ({"overlaps": {"z": np.zeros((5, 12))}}, "'z' has no local scores"),
        ({"list_depths": {"z": 3}}, "'z' has no local scores"),
        ({"positive_areas": np.full((5, 40), 0.5)}, "more areas than positives"),
    ],
)
def test_contradictions_are_named(fields, message):
    table = random_table(0)
    with pytest.raises(TableError, match=message):
        replace(table, **changed(table, **fields))


def test_saved_and_loaded(tmp_path):
    table = random_table(9, names=("chamfer+refine", "a/b"), convention=parse_convention("@4"))
    save_table(table, tmp_path / "t")
    loaded = load_table(tmp_path / "t")
    same(table, loaded)
    base = loaded.rows
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    assert not loaded.rows.flags.writeable
    with pytest.raises(TableError, match="there already"):
        save_table(table, tmp_path / "t")
    other = random_table(10)
    save_table(other, tmp_path / "t", overwrite=True)
    same(other, load_table(tmp_path / "t"))
    assert len(list((tmp_path / "t").iterdir())) == 1 + 2 + 8 + 5, "old files are gone"


def test_an_empty_table_is_saved_and_loaded(tmp_path):
    table = random_table(0).take([])
    save_table(table, tmp_path)
    same(table, load_table(tmp_path))


def test_a_folder_of_others_is_left_alone(tmp_path):
    (tmp_path / "mine.npy").write_bytes(b"1")
    with pytest.raises(TableError, match=r"holds 'mine.npy'"):
        save_table(random_table(0), tmp_path)
    assert (tmp_path / "mine.npy").read_bytes() == b"1"


def files_of(folder):
    return {name: folder / r["file"] for name, r in manifest_of(folder)["files"].items()}


def manifest_of(folder):
    return json.loads((folder / MANIFEST).read_text())


@pytest.fixture
def stored(tmp_path):
    save_table(random_table(0), tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["rows", "local_scores-1", "overlaps-0", "gallery_ids"])
def test_damaged_files_are_named(stored, name):
    path = files_of(stored)[name]
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[-3] ^= 1
    for wrong, message in [
        (bytes(flipped), "checksum"),
        (content[:-1], "bytes"),
        (None, "missing"),
    ]:
        path.unlink() if wrong is None else path.write_bytes(wrong)
        with pytest.raises(TableError, match=f"{path.name}.*{message}"):
            load_table(stored)
    path.write_bytes(content)
    load_table(stored)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format=9), "format 9"),
        (lambda m: m.pop("fingerprint"), "damaged"),
        (lambda m: m["files"].pop("rows"), "damaged"),
        (lambda m: m.update(convention={"name": "x", "cutoff": 0}), "damaged"),
        (lambda m: m.update(costs={"a": {"what": 1}}), "damaged"),
        (lambda m: m["files"]["rows"].update(dtype="<f4"), "the manifest says <f4"),
        (lambda m: m["files"]["rows"].update(file="/etc/passwd"), "passwd: is missing"),
    ],
)
def test_damaged_manifests_are_named(stored, change, message):
    manifest = manifest_of(stored)
    change(manifest)
    (stored / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(TableError, match=message):
        load_table(stored)


def test_no_manifest(stored):
    (stored / MANIFEST).write_text("{")
    with pytest.raises(TableError, match=r"manifest.json: damaged"):
        load_table(stored)
    (stored / MANIFEST).unlink()
    with pytest.raises(TableError, match="no such file"):
        load_table(stored)


def test_pickled_arrays_are_refused(stored):
    """A file with a good checksum that wants to be unpickled."""
    path = files_of(stored)["areas"]
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    manifest, content = manifest_of(stored), path.read_bytes()
    manifest["files"]["areas"] |= {"bytes": len(content), "crc32": zlib.crc32(content)}
    (stored / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(TableError, match=r"areas.*damaged"):
        load_table(stored)


def test_lists_are_judged_once_and_do_not_travel():
    table = random_table(2, holes=False)
    lists = table.judged("a")
    assert table.judged("a") is lists
    assert table.judged("b") is not lists
    assert table.judged("a", "LocScore") is not lists
    again = pickle.loads(pickle.dumps(table))
    assert set(vars(again)) == {item.name for item in fields(table)}
    assert np.array_equal(again.judged("a").local, lists.local)


def test_scored_counts_the_slots_that_all_lists_know():
    table = random_table(2, holes=False)
    scores = table.local_scores["a"].copy()
    scores[1, 4] = np.nan
    lacking = replace(table, local_scores={**table.local_scores, "a": scores})
    assert (lacking.scored("a"), lacking.scored("b")) == (4, table.size)
    evaluate_grid(lacking, [0.5], [1.0], [4], "a")
    with pytest.raises(TableError, match="1 pairs have no local score of 'a'"):
        evaluate_grid(lacking, [0.5], [1.0], [5], "a")
