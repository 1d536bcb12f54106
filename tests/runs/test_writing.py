"""Runs keep our order when others read them: the same average precision by trec_eval and ranx."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from patchrerank.errors import SettingError, ShortlistError
from patchrerank.fusion import Fusion
from patchrerank.metrics import (
    average_precisions,
    ilias_lists,
    membership,
    parse_convention,
    positives_and_junk,
    positives_by_instance,
)
from patchrerank.runs import check_run_path, run_of_hits, write_run
from patchrerank.tuning.tables.run_files import read_run
from patchrerank.types import EMPTY, Hit, LocalScores, Ranking, Shortlist
from prepared import python

REFERENCE = Path(__file__).parents[1] / "reference"
FULL = parse_convention("full")


RANX = """
import json, sys
import numba
numba.config.DISABLE_JIT = True
import ranx
for path, qrels in json.load(sys.stdin):
    run = ranx.Run.from_file(path, kind="trec")
    print(json.dumps(list(ranx.evaluate(ranx.Qrels(qrels), run, "map", return_mean=False))))
"""


def by_trec_eval(path, qrels):
    """As the program reads it: every score becomes a float32."""
    run = {}
    for line in path.read_text().splitlines():
        query, _, document, _, score, _ = line.split()
        run.setdefault(query, {})[document] = float(score)
    found = pytrec_eval.RelevanceEvaluator(qrels, {"map"}).evaluate(run)
    return [found[query]["map"] for query in qrels]


def lists_of(rows, scores, relevant, junk):
    """The run without junk, which neither program knows, and the judgements."""
    run, qrels = {}, {}
    for number, row in enumerate(rows):
        kept = (row != EMPTY) & ~junk[number]
        names = [f"d{image}" for image in row]
        query = f"q{number:02d}"
        run[query] = {
            name: float(score)
            for name, score, keep in zip(names, scores[number], kept, strict=True)
            if keep
        }
        judged = relevant[number] & kept
        qrels[query] = {name: 1 for name, yes in zip(names, judged, strict=True) if yes}
    return run, qrels


def reference_fusions():
    """Fused lists of the reference, with junk."""
    folder = REFERENCE / "fusion/ames_revisited"
    truths = json.loads((folder / "gnd.json").read_text())
    with np.load(folder / "data.npz") as data:
        rows, first, raw = (data[name] for name in ("shortlist", "global_sims", "raw"))
    shortlist = Shortlist(rows, first)
    local = LocalScores(np.take_along_axis(raw, rows, axis=1))
    for mode in ("medium", "hard"):
        good, bad = positives_and_junk(truths, mode)
        for fusion in (Fusion(), Fusion(0.3, 60.0), Fusion(0.0, 60.0), Fusion(0.5, 0.5, 10)):
            ranking = fusion.apply(Ranking.of(shortlist), local)
            relevant, junk = membership(ranking.rows, good), membership(ranking.rows, bad)
            yield f"{mode}, {fusion}", ranking.rows, ranking.hit_scores(), relevant, junk


def reference_submission():
    """Similarities as they were submitted, of lists of different lengths."""
    names = (REFERENCE / "ilias_eval/dataset/image_ids/positive_ids.txt").read_text().split()
    positives = positives_by_instance(line.split(",")[0] for line in names)
    given = json.loads((REFERENCE / "ilias_eval/similarities.json").read_text())
    lists = ilias_lists(given, positives)
    rows = np.where(lists.valid, np.arange(lists.scores.shape[1]), EMPTY)
    yield "submission", rows, lists.scores.astype(np.float32), lists.relevant, ~lists.valid


def tied_and_mixed():
    """Sigmoids of 1 and of 0, dot products behind the cut, denormal and huge scores."""
    for fusion, scale, spread in [
        (Fusion(0.0, 60.0), 1.0, 1.0),
        (Fusion(0.0, 60.0), 1.0, -1.0),
        (Fusion(0.0, 1.0, 5), 40.0, 1.0),
        (Fusion(0.5, 60.0, 20), 40.0, 1.0),
        (Fusion(0.0, 1.0, 0), 1e-42, 1.0),
        (Fusion(1.0), 3e38, 1.0),
    ]:
        rng = np.random.default_rng(0)
        rows = np.stack([rng.permutation(50) for _ in range(6)])
        relevant = rng.random((6, 50)) < 0.2
        first = -np.sort(-scale * (0.5 + rng.random((6, 50)) / 2), axis=1).astype(np.float32)
        local = spread * (1 + rng.random((6, 50)) + np.take_along_axis(relevant, rows, axis=1))
        behind = Ranking.of(Shortlist(rows, first))
        ranking = fusion.apply(behind, LocalScores(local.astype(np.float32)))
        if fusion == Fusion(0.0, 60.0):
            assert (np.diff(ranking.scores) == 0).mean() > 0.4, "the case must be one"
        found = np.take_along_axis(relevant, ranking.rows, axis=1)
        scores = ranking.hit_scores()
        yield f"{fusion}, {scale}", ranking.rows, scores, found, np.zeros(found.shape, bool)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Runs as files, with their judgements and our average precisions."""
    folder, cases = tmp_path_factory.mktemp("runs"), []
    for name, *case in (*reference_fusions(), *reference_submission(), *tied_and_mixed()):
        some = (case[2] & ~case[3]).any(axis=1)
        rows, scores, relevant, junk = (values[some] for values in case)
        run, qrels = lists_of(rows, scores, relevant, junk)
        positives = np.array([len(judged) for judged in qrels.values()])
        ours = average_precisions(relevant, positives, FULL, junk=junk, valid=rows != EMPTY)
        path = folder / f"{len(cases)}.txt"
        write_run(path, run)
        cases.append((name, path, qrels, ours))
    assert len(cases) == 15
    return cases


def test_trec_eval_finds_our_average_precision(written):
    for name, path, qrels, ours in written:
        theirs = by_trec_eval(path, qrels)
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-9, err_msg=name)


@pytest.mark.slow
def test_ranx_finds_our_average_precision(written):
    """In a process of its own, where numba need not compile ranx for half a minute."""
    given = json.dumps([(str(path), qrels) for _, path, qrels, _ in written])
    done = python("-c", RANX, stdin=given)
    assert done.returncode == 0, done.stderr
    for (name, _, _, ours), line in zip(written, done.stdout.splitlines(), strict=True):
        np.testing.assert_allclose(json.loads(line), ours, rtol=0, atol=1e-9, err_msg=name)


@given(st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=1, max_size=30), st.booleans())
def test_written_scores_read_back_as_they_fall(tmp_path_factory, scores, as_json):
    path = tmp_path_factory.mktemp("run") / ("run.json" if as_json else "run.txt")
    run = {"q": {f"d{n}": score for n, score in enumerate(sorted(scores, reverse=True))}}
    write_run(path, run)
    found = read_run(path)["q"]
    values = np.array(list(found.values()))
    assert list(found) == list(run["q"])
    assert np.array_equal(values, values.astype(np.float32)) and (np.diff(values) < 0).all()


def hit(name, score, rank):
    return Hit(name, score, rank, 0.0, None, None)


def test_hits_as_a_run(tmp_path):
    lists = [[hit("a.png", 0.5, 1), hit("sub/b.png", 0.25, 2)], []]
    run = run_of_hits(["q1", "q2"], lists)
    write_run(tmp_path / "run.txt", run, tag="mine")
    expected = "q1 Q0 a.png 1 0.5 mine\nq1 Q0 sub/b.png 2 0.25 mine\n"
    assert (tmp_path / "run.txt").read_text() == expected
    assert [path.name for path in tmp_path.iterdir()] == ["run.txt"]
    for names in (["q"], ["q", "q"]):
        with pytest.raises(ShortlistError, match="2 lists"):
            run_of_hits(names, lists)
    write_run(tmp_path / "empty.txt", {})
    assert (tmp_path / "empty.txt").read_text() == ""


@pytest.mark.parametrize("name", ["IMG 1.png", "a\tb", "a\u00a0b", "", "a\n", " a"])
def test_ids_that_do_not_fit_into_a_line(tmp_path, name):
    for run in ({"q": {name: 0.5}}, {name: {"a": 0.5}}):
        with pytest.raises(ShortlistError, match=r"does not fit into a TREC line.*\.json"):
            write_run(tmp_path / "run.txt", run)
        assert not list(tmp_path.iterdir())
        write_run(tmp_path / "run.json", run)
        assert read_run(tmp_path / "run.json") == run
        (tmp_path / "run.json").unlink()


def test_a_run_is_written_best_first(tmp_path):
    with pytest.raises(ShortlistError, match="query 'q': the score at position 1 is higher"):
        write_run(tmp_path / "run.txt", {"q": {"a": 0.1, "b": 0.5}})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.txt", b"my notes, one line"),
        ("photo.jpg", b"\xff\xd8\xff\xe0 no text"),
        ("tuned.json", b'{"stages": [], "lam": 0.3}'),
        ("list.json", b"[1, 2]"),
        ("deep.json", b"[" * 100_000),
    ],
)
def test_nothing_but_a_run_is_replaced(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    for write in (lambda path: write_run(path, {"q": {"a": 0.5}}), check_run_path):
        with pytest.raises(SettingError, match="is there and is no run"):
            write(tmp_path / name)
    assert (tmp_path / name).read_bytes() == content
    assert len(list(tmp_path.iterdir())) == 1


def test_places_for_runs(tmp_path):
    for name in ("run.txt", "run.json"):
        for score in (0.5, 0.25):
            write_run(tmp_path / name, {"q": {"a": score}})
        assert read_run(tmp_path / name) == {"q": {"a": 0.25}}
    with pytest.raises(SettingError, match="is a folder"):
        check_run_path(tmp_path)
    with pytest.raises(SettingError, match="there is no folder"):
        check_run_path(tmp_path / "absent/run.txt")
    if Path("/dev/full").exists():
        with pytest.raises(SettingError, match="no run"):
            check_run_path("/dev/full")
