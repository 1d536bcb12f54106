from __future__ import annotations

import json

import numpy as np
import pytest

from patchrerank.datasets.ilias_similarities import write_similarities
from patchrerank.errors import DatasetError, SettingError, TableError
from patchrerank.fusion import Fusion
from patchrerank.metrics import evaluate_ilias, parse_convention
from patchrerank.pipeline import StageSpec
from patchrerank.tuning.tables.cascades import evaluate_stages
from patchrerank.tuning.tables.import_table import (
    ImportOptions,
    table_from_arrays,
    table_from_ilias,
    table_from_runs,
)
from patchrerank.tuning.tables.run_files import read_qrels, read_run
from patchrerank.tuning.trials.studies import identity_of
from synthetic import one_stage, random_table

FIRST = {"q1": {"b": 0.5, "a": 0.9, "c": 0.5, "d": 0.1}, "q2": {"a": 1.0}}
LOCAL = {"q1": {"b": 3.0, "d": 2.0, "a": 1.0}, "q2": {"a": -1.0}}
QRELS = {"q1": {"d": 1, "c": 0, "e": 2}, "q2": {"a": 1}, "q3": {"b": 1}}


def test_runs_become_a_table():
    table = table_from_runs(FIRST, {"local": LOCAL}, QRELS)
    assert table.query_ids == ("q1", "q2", "q3"), "every judged query, in the judgements' order"
    assert table.gallery_ids == ("a", "b", "c", "d")
    assert table.rows.tolist() == [[0, 1, 2, 3], [0, -1, -1, -1], [-1] * 4], "ties keep the order"
    np.testing.assert_array_equal(table.global_scores[0], np.float32([0.9, 0.5, 0.5, 0.1]))
    assert table.local_scores["local"].tolist() == [
        [1.0, 3.0, -np.inf, 2.0],
        [-1.0] + [-np.inf] * 3,
        [-np.inf] * 4,
    ]
    assert table.relevant.tolist() == [[False] * 3 + [True], [True] + [False] * 3, [False] * 4]
    assert table.n_positives.tolist() == [2, 1, 1], "what no list holds counts too"
    assert table.groups.tolist() == [0, 1, 2]
    result = one_stage(table, 0.0, 1.0)
    np.testing.assert_allclose(result.AP, [0.5 / 2, 1.0, 0.0])
    assert np.isnan(result.LocScore).all()


def test_grades_junk_and_groups():
    how = ImportOptions(relevant_from=2, junk_grade=0, convention=parse_convention("@2"))
    groups = {"q1": "x", "q2": "y", "q3": "x"}
    table = table_from_runs(FIRST, {"local": LOCAL}, QRELS, how, groups)
    assert table.n_positives.tolist() == [1, 0, 0]
    assert table.junk[0].tolist() == [False, False, True, False]
    assert table.groups.tolist() == [0, 1, 0]
    assert str(table.convention) == "@2"
    with pytest.raises(TableError, match="'q3' has none"):
        table_from_runs(FIRST, {}, QRELS, how, {"q1": "x", "q2": "y"})


def test_what_does_not_fit_is_an_error_unless_said_otherwise():
    def table(first=FIRST, local=LOCAL, **how):
        return table_from_runs(first, {"local": local}, QRELS, ImportOptions(**how))

    more = {"q1": {**LOCAL["q1"], "z": 9.0}, "q2": {"a": 1.0}}
    with pytest.raises(TableError, match=r"local: query 'q1' scores 1 documents .* example 'z'"):
        table(local=more)
    assert table(local=more, extra="ignore").gallery_ids == ("a", "b", "c", "d")
    with pytest.raises(TableError, match=r"query 'q1' lacks 1 documents .* example 'c'"):
        table(absent="error")
    later = table(absent="not_computed")
    assert later.missing("local").sum() == 1
    with pytest.raises(TableError, match="1 pairs have no local score"):
        evaluate_stages(later, [StageSpec.of("local", Fusion(0.5))])
    strange = {**FIRST, "q9": {"a": 1.0}}
    with pytest.raises(TableError, match="first stage: 1 queries have no judgements"):
        table(first=strange)
    assert len(table(first=strange, extra="ignore")) == 3
    with pytest.raises(TableError, match=r"query 'q2': the score of 'a' is nan"):
        table(first={"q2": {"a": float("nan")}})
    for wrong in ({"absent": "x"}, {"extra": "x"}, {"junk_grade": 1}):
        with pytest.raises(SettingError):
            ImportOptions(**wrong)


def test_files_give_the_same_table(tmp_path):
    lines = [
        f"{query} Q0 {name} {rank} {score} tag"
        for query, row in FIRST.items()
        for rank, (name, score) in enumerate(row.items())
    ]
    (tmp_path / "first.trec").write_text("\n".join(lines) + "\n\n")
    (tmp_path / "local.json").write_text(json.dumps(LOCAL))
    judged = [f"{q}\t0\t{name}\t{grade}" for q, row in QRELS.items() for name, grade in row.items()]
    (tmp_path / "qrels.txt").write_text("\r\n".join(judged))
    (tmp_path / "qrels.json").write_text(json.dumps(QRELS))
    expected = table_from_runs(FIRST, {"local": LOCAL}, QRELS)
    for qrels in ("qrels.txt", "qrels.json"):
        table = table_from_runs(
            tmp_path / "first.trec", {"local": tmp_path / "local.json"}, tmp_path / qrels
        )
        assert np.array_equal(table.rows, expected.rows)
        assert np.array_equal(table.local_scores["local"], expected.local_scores["local"])
        assert np.array_equal(table.relevant, expected.relevant)
        assert table.query_ids == expected.query_ids


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q1 Q0 a 1 0.5 t\nq1 Q0 b 2 0.4", "line 2: 5 fields, expected 6"),
        ("q1 Q0 a 1 0.5 t\nq1 Q0 a 2 0.4 t", "line 2: 'a' stands twice under query 'q1'"),
        ("q1 Q0 a 1 half t", "line 1: 'half' is no finite number"),
        ("\nq1 Q0 a 1 inf t", "line 2: 'inf' is no finite number"),
    ],
)
def test_damaged_runs(tmp_path, text, message):
    (tmp_path / "run").write_text(text)
    with pytest.raises(TableError, match=f"run: {message}"):
        read_run(tmp_path / "run")


def test_damaged_qrels(tmp_path):
    (tmp_path / "a").write_text("q 0 d 1.5")
    with pytest.raises(TableError, match=r"line 1: '1.5' is no whole number"):
        read_qrels(tmp_path / "a")
    (tmp_path / "a.json").write_text('{"q": {"d": 1.5}}')
    with pytest.raises(TableError, match="grades are whole numbers"):
        read_qrels(tmp_path / "a.json")
    (tmp_path / "b.json").write_text('{"q": {"d": 1, "d": 2}}')
    with pytest.raises(DatasetError, match="twice"):
        read_qrels(tmp_path / "b.json")
    (tmp_path / "c").write_bytes(b"q 0 \xff 1")
    with pytest.raises(TableError, match="cannot be read"):
        read_qrels(tmp_path / "c")
    with pytest.raises(TableError, match="cannot be read"):
        read_run(tmp_path / "none")


class Held:
    """As ranx's Run and Qrels: a length and rows, but no mapping."""

    def __init__(self, table):
        self._table = table

    def __len__(self):
        return len(self._table)

    def to_dict(self):
        return self._table


def test_objects_of_ranx_are_read():
    run, qrels = {"q": {"a": 0.5, "b": 0.25}}, {"q": {"a": 1}}
    expected = table_from_runs(run, {"local": run}, qrels)
    found = table_from_runs(Held(run), {"local": Held(run)}, Held(qrels))
    assert np.array_equal(found.rows, expected.rows)
    assert np.array_equal(found.relevant, expected.relevant)
    for wrong in (3, [run], None):
        with pytest.raises(TableError, match="expected"):
            table_from_runs(wrong, {}, qrels)
        with pytest.raises(TableError, match="expected"):
            table_from_runs(run, {}, wrong)


@pytest.mark.slow  # ranx compiles for 20 seconds
def test_ranx_agrees():
    """ranx's average precision of the fused run, where nothing is tied."""
    ranx = pytest.importorskip("ranx")
    rng = np.random.default_rng(3)
    names = [f"d{n}" for n in range(30)]
    queries = [f"q{n}" for n in range(6)]
    first = {q: dict(zip(names, rng.random(30).tolist(), strict=True)) for q in queries}
    local = {q: dict(zip(names, rng.random(30).tolist(), strict=True)) for q in queries}
    qrels = {q: dict.fromkeys(rng.choice(names, 5, replace=False), 1) for q in queries}
    table = table_from_runs(first, {"local": local}, qrels)
    result = one_stage(table, 0.4, 2.0)
    fused = {
        q: {
            name: 0.4 * np.float32(first[q][name])
            + 0.6 / (1 + np.exp(-2.0 * np.float32(local[q][name])))
            for name in names
        }
        for q in queries
    }
    theirs = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(fused), "map")
    assert result.mAP == pytest.approx(100 * theirs, abs=1e-9)


class LikeRanx:
    """What ranx's objects offer; making a real one compiles for a minute."""

    def __init__(self, content):
        self.to_dict = lambda: content


def real_ranx():
    ranx = pytest.importorskip("ranx")
    return ranx.Run, ranx.Qrels


@pytest.mark.parametrize(
    "kinds",
    [lambda: (LikeRanx, LikeRanx), pytest.param(real_ranx, marks=pytest.mark.slow)],
    ids=["alike", "real"],
)
def test_ranx_objects_are_taken_as_they_are(kinds):
    run, qrels = kinds()
    ours = table_from_runs(FIRST, {"local": LOCAL}, QRELS)
    theirs = table_from_runs(run(FIRST), {"local": run(LOCAL)}, qrels(QRELS))
    assert theirs.query_ids == ours.query_ids
    np.testing.assert_array_equal(one_stage(theirs, 0.0, 1.0).AP, one_stage(ours, 0.0, 1.0).AP)
    assert identity_of(theirs) == identity_of(ours)


@pytest.mark.parametrize(
    ("first", "local", "qrels", "why"),
    [
        ([("q1", "a", 0.5)], {}, QRELS, "first stage: expected .*, got a list"),
        (FIRST, LOCAL["q1"], QRELS, "b: expected .*, got a float"),
        (FIRST, [LOCAL], QRELS, "local runs: expected .*, got a list"),
        (FIRST, {}, None, "judgements: expected .*ranx Qrels.*, got a NoneType"),
        (FIRST, {}, {"q1": ["a"]}, "judgements: query 'q1': expected .*, got a list"),
        ({"q1": {"a": "0.5"}}, {}, QRELS, "query 'q1': the score of 'a' is '0.5', no number"),
        ({"q1": {"a": None}}, {}, QRELS, "query 'q1': the score of 'a' is None, no number"),
        ({1: {"a": 0.5}}, {}, QRELS, "query 1 is a int, not text"),
        ({"q1": {7: 0.5}}, {}, QRELS, "document 7 is a int, not text"),
        ({"q1": {"a": float("nan")}}, {}, QRELS, "score of 'a' is nan"),
    ],
)
def test_whatever_is_no_run_is_a_sentence(first, local, qrels, why):
    with pytest.raises(TableError, match=why):
        table_from_runs(first, local, qrels)


def test_a_data_frame_is_no_run():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(TableError, match=r"score of .* is nan"):
        table_from_runs(pandas.DataFrame(FIRST), {}, QRELS)


def test_arrays_that_are_none_are_named():
    good = {"rows": [[0]], "global_scores": [[1.0]], "relevant": [[True]], "n_positives": [1]}
    for field, value in (
        ("rows", [[0], [1, 2]]),
        ("global_scores", {"q": 1}),
        ("relevant", (x for x in "ab")),
        ("n_positives", "x"),
    ):
        with pytest.raises(TableError, match=field):
            table_from_arrays(**{**good, field: value}, local_scores={"a": [[0.0]]})
    with pytest.raises(TableError, match="query_ids"):
        table_from_arrays(**good, local_scores={"a": [[0.0]]}, query_ids="q")


def test_ilias_files(tmp_path):
    rng = np.random.default_rng(1)
    positives = {"i1": ["i1/P1", "i1/P2", "i1/P3"], "i2": ["i2/P1"]}
    database = [*positives["i1"], *positives["i2"], *(f"d{n}" for n in range(20))]
    queries = ["i1/Q1", "i1/Q2", "i2/Q1"]

    def similarities():
        table = {}
        for query in queries:
            chosen = rng.permutation(len(database))[:12]
            values = np.sort(rng.random(12))[::-1]
            table[query] = {database[n]: float(v) for n, v in zip(chosen, values, strict=True)}
        return table

    first = similarities()
    local = {query: dict.fromkeys(row, 0.5) for query, row in first.items()}
    write_similarities(tmp_path / "first.pkl", first)
    write_similarities(tmp_path / "local.json", local)
    files = {"local": tmp_path / "local.json"}
    table = table_from_ilias(tmp_path / "first.pkl", files, positives)
    assert table.query_ids == tuple(queries)
    assert table.groups.tolist() == [0, 0, 1]
    assert table.n_positives.tolist() == [3, 3, 1]
    assert str(table.convention) == "ilias@1000"
    own = evaluate_stages(table, [])
    theirs = evaluate_ilias(first, positives)
    np.testing.assert_allclose(own.AP, theirs.average_precisions, atol=1e-12)
    with pytest.raises(TableError, match="instance 'i2' has no entry"):
        table_from_ilias(tmp_path / "first.pkl", files, {"i1": positives["i1"]})


def test_arrays_with_defaults():
    source = random_table(3, holes=False)
    table = table_from_arrays(
        source.rows, source.global_scores, source.local_scores, source.relevant, source.n_positives
    )
    result = evaluate_stages(table, [StageSpec("a", 0.3, 2.0, 6), StageSpec("b", 0.5, 1.0, 3)])
    expected = evaluate_stages(source, [StageSpec("a", 0.3, 2.0, 6), StageSpec("b", 0.5, 1.0, 3)])
    np.testing.assert_array_equal(result.AP, expected.AP)
    assert table.query_ids == ("0", "1", "2", "3", "4")
    with pytest.raises(TableError, match="knows no areas"):
        table.within(0.0, 0.1)
    with pytest.raises(TableError, match="rows: expected the shape"):
        table_from_arrays([1, 2], [0.2, 0.1], {}, [True, False], [1])


def test_an_empty_import():
    table = table_from_runs({}, {"local": {}}, {})
    assert table.rows.shape == (0, 0)
    assert len(table_from_runs({}, {"local": {}}, QRELS)) == 3
