from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from patchrerank.analysis import relevance_of
from patchrerank.analysis.relevance import positive_areas
from patchrerank.datasets import Dataset
from patchrerank.errors import SettingError, TableError
from patchrerank.fusion import Fusion
from patchrerank.pipeline import StageSpec
from patchrerank.rerankers import Patchify, QueryExpansion, RefineBoxes, SuperGlobal
from patchrerank.rerankers.base import rescore
from patchrerank.tuning.tables import _reranker_records
from patchrerank.tuning.tables._reranker_records import describe, pace_of
from patchrerank.tuning.tables.build_table import TableOptions, build_table
from patchrerank.tuning.tables.cascades import evaluate_stages
from patchrerank.tuning.tables.fill_table import TableFiller, gathered
from patchrerank.tuning.tables.pair_scorer import PairScorer, rerankers_of
from patchrerank.tuning.tables.score_table import BY_QUERY, BY_RERANKER
from patchrerank.tuning.tables.table_files import load_table
from patchrerank.tuning.tables.table_share import Share, score_share
from patchrerank.types import LocalScores, Ranking, Shortlist
from prepared import python
from synthetic import TableReranker

QUIET = TableOptions(progress=False, timed=False, block=3)


def same(first, second):
    for name in BY_QUERY:
        assert np.array_equal(getattr(first, name), getattr(second, name), equal_nan=True), name
    for field in BY_RERANKER:
        for name, values in getattr(first, field).items():
            other = getattr(second, field)[name]
            assert np.array_equal(values, other, equal_nan=True), (field, name)


@pytest.fixture
def own_scorer(small_dataset, tiny_gallery, small_queries):
    """A scorer whose rerankers count what they score."""
    rng = np.random.default_rng(8)
    rerankers = {
        "patchify": Patchify(tiny_gallery),
        "slow": TableReranker(tiny_gallery, rng.standard_normal(40)),
        "query-expansion": QueryExpansion(tiny_gallery),
    }
    return PairScorer(small_dataset, tiny_gallery, rerankers, small_queries)


def test_the_table_holds_what_rerankers_and_ground_truth_say(
    tmp_path, scorer, small_dataset, small_shortlist
):
    table = build_table(tmp_path, scorer, small_shortlist, QUIET)
    assert np.array_equal(table.rows, small_shortlist.rows)
    assert np.array_equal(table.global_scores, small_shortlist.scores)
    assert np.array_equal(table.groups, small_dataset.query_objects)
    assert table.gallery_ids == tuple(scorer.gallery.ids)
    assert table.fingerprint == scorer.fingerprint(30)
    assert table.list_depths == {"query-expansion": 3}
    areas = positive_areas(small_dataset)
    for query, known in enumerate(areas):
        row = table.positive_areas[query]
        np.testing.assert_array_equal(row[~np.isnan(row)], known)
    for name, reranker in scorer.rerankers.items():
        found = reranker.score(scorer.queries, small_shortlist)
        np.testing.assert_allclose(table.local_scores[name], found.scores, rtol=1e-6)
        ranking = rescore(reranker, Fusion(lam=1.0), scorer.queries, Ranking.of(small_shortlist))
        relevance = relevance_of(ranking, scorer.gallery, small_dataset)
        assert np.array_equal(table.relevant, relevance.relevant)
        assert np.array_equal(table.n_positives, relevance.n_positives)
        assert np.array_equal(table.areas, relevance.area, equal_nan=True)
        boxless = np.isnan(ranking.boxes).any(axis=-1)
        assert np.array_equal(np.isnan(table.overlaps[name]), boxless)
        known = np.nan_to_num(table.overlaps[name], nan=0.0)
        assert np.array_equal(known[table.relevant], relevance.iou[table.relevant])
    whole = table.overlaps["global"]
    listed = table.areas[table.relevant]
    np.testing.assert_allclose(whole[table.relevant], listed, rtol=1e-5)


def test_a_table_is_found_again(tmp_path, own_scorer, small_shortlist):
    first = build_table(tmp_path, own_scorer, small_shortlist, QUIET)
    scored = own_scorer.rerankers["slow"]._scored
    assert scored == 10 * 30
    same(first, build_table(tmp_path, own_scorer, small_shortlist, QUIET))
    assert own_scorer.rerankers["slow"]._scored == scored
    cut = Shortlist(small_shortlist.rows[:, :9], small_shortlist.scores[:, :9])
    with pytest.raises(TableError, match="another data set"):
        build_table(tmp_path, own_scorer, cut, QUIET)


def test_costs_are_measured(tmp_path, scorer, small_shortlist):
    table = build_table(tmp_path, scorer, small_shortlist, replace(QUIET, timed=True))
    for name in scorer.rerankers:
        assert table.costs[name].ms_per_candidate >= 0
        assert table.costs[name].milliseconds(30) > 0
    assert table.costs["patchify"].reads == {"patches": scorer.gallery.patches.nbytes / 40}
    assert table.costs["query-expansion"].bytes_per_image == 16 * 4
    result = evaluate_stages(table, [StageSpec("patchify", 0.5, 1.0, 20)])
    assert result.milliseconds == table.costs["patchify"].milliseconds(20)


def test_costs_are_those_of_one_thread(scorer, small_shortlist):
    reranker, seen = scorer.rerankers["patchify"], []

    class Watched(TableReranker):
        def score(self, queries, shortlist):
            seen.append(torch.get_num_threads())
            return reranker.score(queries, shortlist)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        pace_of(Watched(scorer.gallery, []), scorer.queries, small_shortlist)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {1}


class Clocked(TableReranker):
    """Takes 3 ms a query and 2 ms a candidate, by a clock of its own."""

    def __init__(self, gallery, slower=1.0):
        super().__init__(gallery, np.zeros(40))
        self.slower, self.now, self.calls = slower, 0.0, []

    def score(self, queries, shortlist):
        self.calls.append(shortlist.rows.shape[1])
        self.now += self.slower * (0.003 + 0.002 * shortlist.rows.shape[1])
        return super().score(queries, shortlist)


def paced(monkeypatch, scorer, rows, slower=1.0):
    reranker = Clocked(scorer.gallery, slower)
    clock = SimpleNamespace(perf_counter=lambda: reranker.now)
    monkeypatch.setattr(_reranker_records, "time", clock)
    shortlist = Shortlist(rows, np.zeros(rows.shape, np.float32))
    return pace_of(reranker, scorer.queries, shortlist), reranker.calls


def test_pace_is_the_slope_of_a_line_and_what_is_left_at_its_start(monkeypatch, scorer):
    rows = np.tile(np.arange(80) % 40, (len(scorer.queries), 1))
    for width in (2, 3, 30, 80):
        pace, calls = paced(monkeypatch, scorer, rows[:, :width])
        assert pace == pytest.approx((2, 3))
        assert calls == [2, *[1, min(width, 50)] * 5]
    pace, calls = paced(monkeypatch, scorer, rows[:, :1])
    assert pace == pytest.approx((5, 0)) and calls == [1, *[1, 1] * 5]
    slow, calls = paced(monkeypatch, scorer, rows[:, :30], slower=40)
    assert slow == pytest.approx((80, 120)) and len(calls) == 1 + 2 * 2, "more would take too long"
    nobody, calls = paced(monkeypatch, scorer, np.full_like(rows, -1))
    assert np.isnan(nobody[0]) and calls == []


def test_lazy_rerankers_are_filled_where_asked(tmp_path, own_scorer, small_shortlist):
    whole = build_table(tmp_path / "whole", own_scorer, small_shortlist, QUIET)
    slow = own_scorer.rerankers["slow"]
    slow._scored = 0
    eager = replace(QUIET, eager=("patchify",))
    lazy = build_table(tmp_path / "lazy", own_scorer, small_shortlist, eager)
    assert slow._scored == 0
    assert lazy.missing("slow").all()
    filler = TableFiller(tmp_path / "lazy", own_scorer, progress=False, save_every=0.0)
    stages = [
        StageSpec("patchify", 0.0, 1.0, 20),
        StageSpec("slow", 0.4, 2.0, 6),
    ]
    with pytest.raises(TableError, match="60 pairs have no local score of 'slow'"):
        evaluate_stages(lazy, stages)
    result = evaluate_stages(lazy, stages, filler)
    expected = evaluate_stages(whole, stages)
    assert np.array_equal(result.order, expected.order)
    np.testing.assert_array_equal(result.AP, expected.AP)
    np.testing.assert_array_equal(result.LocScore, expected.LocScore)
    assert slow._scored == 60
    assert filler.table.missing("slow").sum() == 300 - 60
    evaluate_stages(filler.table, stages, filler)
    evaluate_stages(lazy, stages, filler)
    assert slow._scored == 60, "nothing is computed twice"
    lacking = int(filler.table.missing("slow", 4).sum())
    assert filler.fill("slow", 4) == lacking == slow._scored - 60 > 0
    assert not filler.table.missing("slow", 4).any()
    filler.fill("slow")
    same(whole, replace(filler.table, **_with_expansion(filler.table, whole)))
    assert slow._scored == 300


def _with_expansion(table, whole):
    """The fields by reranker, with those of ``whole`` for the one that was not filled."""
    name = "query-expansion"
    return {
        field: {**getattr(table, field), name: getattr(whole, field)[name]} for field in BY_RERANKER
    }


def test_a_cut_table_is_filled_too(tmp_path, own_scorer, small_shortlist):
    whole = build_table(tmp_path / "whole", own_scorer, small_shortlist, QUIET)
    lazy = build_table(tmp_path / "l", own_scorer, small_shortlist, replace(QUIET, eager=()))
    filler = TableFiller(tmp_path / "l", own_scorer, progress=False)
    stages = [StageSpec("slow", 0.4, 2.0, 6)]
    for cut in (lambda t: t.take([7, 2, 3]), lambda t: t.within(0.0, 0.3)):
        result = evaluate_stages(cut(lazy), stages, filler)
        expected = evaluate_stages(cut(whole), stages)
        np.testing.assert_array_equal(result.AP, expected.AP)
        np.testing.assert_array_equal(result.LocScore, expected.LocScore)


def test_rerankers_that_look_at_the_list_are_filled_whole(tmp_path, own_scorer, small_shortlist):
    whole = build_table(tmp_path / "whole", own_scorer, small_shortlist, QUIET)
    build_table(tmp_path / "l", own_scorer, small_shortlist, replace(QUIET, eager=()))
    filler = TableFiller(tmp_path / "l", own_scorer, progress=False)
    with pytest.raises(TableError, match="only whole lists"):
        filler.fill("query-expansion", 5)
    with pytest.raises(TableError, match="only whole lists"):
        evaluate_stages(filler.table, [StageSpec("query-expansion", 0.5, 1.0, 5)], filler)
    assert filler.fill("query-expansion") == 300
    name = "query-expansion"
    np.testing.assert_allclose(filler.table.local_scores[name], whole.local_scores[name], rtol=1e-6)


def test_two_fillers_lose_nothing(tmp_path, own_scorer, small_shortlist):
    build_table(tmp_path, own_scorer, small_shortlist, replace(QUIET, eager=()))
    first, second = (TableFiller(tmp_path, own_scorer, progress=False) for _ in range(2))
    first.fill("slow", 3)
    second.fill("patchify", 2)
    wanted = np.zeros((10, 30), dtype=bool)
    wanted[:, 20] = True
    second.fill("slow", wanted)
    table = load_table(tmp_path)
    known = ~np.isnan(table.local_scores["slow"])
    assert known.sum(axis=0).tolist() == [10] * 3 + [0] * 17 + [10] + [0] * 9
    assert table.missing("patchify").sum() == 300 - 20


def test_a_filler_of_something_else_is_refused(tmp_path, own_scorer, small_shortlist, tiny_gallery):
    build_table(tmp_path, own_scorer, small_shortlist, QUIET)
    other = {**own_scorer.rerankers, "more": Patchify(tiny_gallery)}
    strange = PairScorer(own_scorer.dataset, tiny_gallery, other, own_scorer.queries)
    with pytest.raises(TableError, match="made of another"):
        TableFiller(tmp_path, strange)


def test_gathered():
    wanted = np.array([[0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 0, 1]], dtype=bool)
    assert gathered(wanted).tolist() == [[1, 3, -1], [-1, -1, -1], [0, 1, 3]]


class Fails(TableReranker):
    """Stops in the midst of a build."""

    def __init__(self, gallery, table, after):
        super().__init__(gallery, table)
        self._after = after
        self.list_depth = 0

    def score(self, queries, shortlist):
        if self._scored >= self._after:
            raise RuntimeError("stop")
        return super().score(queries, shortlist)


def test_an_interrupted_build_goes_on(tmp_path, small_dataset, tiny_gallery, small_queries):
    shortlist = Shortlist(np.tile(np.arange(20), (10, 1)), np.tile(np.arange(20, 0, -1), (10, 1)))
    reranker = Fails(tiny_gallery, np.linspace(-1, 1, 40), after=100)
    scorer = PairScorer(small_dataset, tiny_gallery, {"x": reranker}, small_queries)
    with pytest.raises(RuntimeError):
        build_table(tmp_path / "t", scorer, shortlist, QUIET)
    with pytest.raises(TableError, match="half-built"):
        load_table(tmp_path / "t")
    parts = sorted((tmp_path / "t" / "parts").iterdir())
    assert [part.name for part in parts] == ["0-0-3.npz", "0-3-6.npz"]
    other = Shortlist(shortlist.rows, shortlist.scores + 1)
    with pytest.raises(TableError, match="begun here with another"):
        build_table(tmp_path / "t", scorer, other, QUIET)
    parts[1].write_bytes(parts[1].read_bytes()[:-20])
    scorer.rerankers["x"]._after = 10**6
    reranker._scored = 0
    resumed = build_table(tmp_path / "t", scorer, shortlist, QUIET)
    assert reranker._scored == 7 * 20, "the damaged part and those that lacked, nothing else"
    same(build_table(tmp_path / "whole", scorer, shortlist, QUIET), resumed)
    assert not (tmp_path / "t" / "parts").exists()


@pytest.mark.parametrize("done", [(1, 2, 3), (3, 1), ()])
def test_shares_make_the_table_that_one_would_have_built(
    tmp_path, own_scorer, small_shortlist, done
):
    """Those that are not done, or half done, are made up for."""
    where, options = tmp_path / "t", replace(QUIET, block=2)
    counts = [
        score_share(where, own_scorer, small_shortlist, Share(number, 3), options)
        for number in done
    ]
    if len(done) == 3:
        assert sum(counts) == len(small_shortlist)
    built = build_table(where, own_scorer, small_shortlist, options)
    same(build_table(tmp_path / "whole", own_scorer, small_shortlist, options), built)
    assert score_share(where, own_scorer, small_shortlist, Share(2, 3), options) == 0
    assert not (where / "parts").exists()


@pytest.mark.parametrize("text", ["", "2", "0/4", "5/4", "1/0", "a/b", "1/2/3"])
def test_what_is_no_share(text):
    with pytest.raises(SettingError, match="1/4"):
        Share.parse(text)


def test_a_build_killed_at_random_moments_writes_the_same_bits(tmp_path):
    script = Path(__file__).parents[1] / "helpers" / "killing_tables.py"
    done = python(script, str(tmp_path), "5")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 3, "the builds must really have been killed"
    whole, pieces = (load_table(tmp_path / name) for name in ("whole", "pieces"))
    same(whole, pieces)
    files = [json.loads((tmp_path / n / "manifest.json").read_text()) for n in ("whole", "pieces")]
    assert files[0] == files[1], "every checksum too"
    assert sorted(p.name for p in (tmp_path / "whole").iterdir()) == sorted(
        p.name for p in (tmp_path / "pieces").iterdir()
    )


def test_wrong_arguments(tmp_path, scorer, small_shortlist, small_queries, tiny_gallery):
    with pytest.raises(SettingError, match="eager: there is no reranker 'patchfy'; did you mean"):
        build_table(tmp_path, scorer, small_shortlist, replace(QUIET, eager=("patchfy",)))
    with pytest.raises(SettingError, match="block"):
        TableOptions(block=0)
    few = Shortlist(small_shortlist.rows[:3], small_shortlist.scores[:3])
    with pytest.raises(TableError, match="3 shortlists, but 10 queries"):
        build_table(tmp_path, scorer, few, QUIET)
    with pytest.raises(TableError, match="3 queries"):
        PairScorer(scorer.dataset, tiny_gallery, {}, small_queries.take([0, 1, 2]))
    with pytest.raises(SettingError, match="'global'"):
        PairScorer(scorer.dataset, tiny_gallery, {"global": Patchify(tiny_gallery)}, small_queries)


def test_nan_scores_are_refused(tmp_path, small_dataset, tiny_gallery, small_queries):
    bad = TableReranker(tiny_gallery, np.full(40, np.nan))
    bad.score = lambda q, s: LocalScores(np.full(s.rows.shape, np.nan, np.float32))
    scorer = PairScorer(small_dataset, tiny_gallery, {"bad": bad}, small_queries)
    shortlist = Shortlist(np.tile(np.arange(5), (10, 1)), np.zeros((10, 5)))
    with pytest.raises(TableError, match="'bad' returned NaN"):
        build_table(tmp_path, scorer, shortlist, QUIET)


def test_records_of_rerankers(tiny_gallery):
    assert Patchify(tiny_gallery).list_depth == 0
    assert RefineBoxes(Patchify(tiny_gallery)).list_depth == 0
    assert RefineBoxes(Patchify(tiny_gallery), top=5).list_depth > 10**6
    assert SuperGlobal(tiny_gallery).list_depth == 400
    first, second = QueryExpansion(tiny_gallery), QueryExpansion(tiny_gallery, fusion=Fusion(0.5))
    assert describe(first) == describe(second), "the fusion changes no score"
    refined = RefineBoxes(Patchify(tiny_gallery), top=5)
    assert describe(refined) != describe(RefineBoxes(Patchify(tiny_gallery)))
    json.dumps(describe(refined))
    assert set(refined.bytes_read()) == {"patches"}


def test_rerankers_of(tiny_gallery):
    made = rerankers_of("patchify:400:0.3:2,patchify+refine:50,superglobal", tiny_gallery)
    assert list(made) == ["patchify", "patchify+refine", "superglobal"]
    assert isinstance(made["patchify+refine"], RefineBoxes)


def test_fingerprints_tell_ground_truths_apart(scorer, small_dataset, tiny_gallery, small_queries):
    images = list(small_dataset.images)
    images[0] = replace(images[0], boxes=images[0].boxes * np.float32(0.5))
    moved = Dataset(small_dataset.root, small_dataset.queries, tuple(images))
    other = PairScorer(moved, tiny_gallery, scorer.rerankers, small_queries)
    assert other.fingerprint(30) != scorer.fingerprint(30)
    assert scorer.fingerprint(29) != scorer.fingerprint(30)
