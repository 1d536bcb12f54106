from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from patchrerank.calibration import Calibration, ListLevel
from patchrerank.errors import SettingError
from patchrerank.fusion import Fusion
from patchrerank.pipeline import Cascade, Stage
from patchrerank.rerankers import Patchify
from patchrerank.rerankers.base import Reranker
from patchrerank.rerankers.hits import hits_of
from patchrerank.types import LocalScores, Queries, Shortlist


class TableReranker(Reranker):
    """Looks scores up by row; boxes only where the score is positive."""

    name = "table"

    def __init__(self, gallery, table):
        super().__init__(gallery)
        self.table = np.asarray(table, dtype=np.float32)

    def score(self, queries, shortlist):
        scores = np.where(shortlist.rows >= 0, self.table[shortlist.rows], -np.inf)
        boxes = np.where(scores[..., None] > 0, np.float32(self.table[0]), np.nan)
        return LocalScores(scores.astype(np.float32), np.broadcast_to(boxes, (*scores.shape, 4)))


@pytest.fixture
def setting(tiny_gallery):
    rng = np.random.default_rng(3)
    rows = np.stack([rng.permutation(40)[:10] for _ in range(3)])
    scores = -np.sort(-rng.random((3, 10)).astype(np.float32), axis=1)
    rows[2, 7:] = -1
    queries = Queries(rng.standard_normal((3, 16)).astype(np.float32))
    return queries, Shortlist(rows, scores), [rng.standard_normal(40) for _ in range(2)]


def slow_cascade(shortlist, tables, fusions):
    """Python lists, one query at a time."""
    out = []
    for rows, scores in zip(shortlist.rows, shortlist.scores, strict=True):
        now = [(int(r), float(s)) for r, s in zip(rows, scores, strict=True) if r >= 0]
        for table, fusion in zip(tables, fusions, strict=True):
            size = len(now) if fusion.shortlist_size is None else fusion.shortlist_size
            head = [
                (
                    r,
                    fusion.lam * s
                    + (1 - fusion.lam) / (1 + np.exp(-fusion.gamma * float(np.float32(table[r])))),
                )
                for r, s in now[:size]
            ]
            head = [(r, float(np.float32(s))) for r, s in sorted(head, key=lambda p: -p[1])]
            now = head + now[size:]
        out.append([r for r, _ in now])
    return out


@pytest.mark.parametrize("sizes", [(8, 4), (None, 5), (6, 6), (10, 0), (0, 3), (3, 1)])
def test_cascade_equals_the_slow_twin(tiny_gallery, setting, sizes):
    queries, shortlist, tables = setting
    fusions = [Fusion(0.4, 1.5, sizes[0]), Fusion(0.2, 0.7, sizes[1])]
    stages = [
        Stage(TableReranker(tiny_gallery, t), f) for t, f in zip(tables, fusions, strict=True)
    ]
    ranking = Cascade(stages).rerank(queries, shortlist)
    found = [[int(r) for r in rows if r >= 0] for rows in ranking.rows]
    assert found == slow_cascade(shortlist, tables, fusions)
    for query in range(3):
        for slot, row in enumerate(ranking.rows[query]):
            if row >= 0:
                before = int(np.flatnonzero(shortlist.rows[query] == row)[0])
                assert ranking.global_scores[query, slot] == shortlist.scores[query, before]


def test_one_stage_equals_the_reranker(tiny_gallery, setting):
    queries, shortlist, _ = setting
    alone = Patchify(tiny_gallery, fusion=Fusion(0.3, 2.0, 6))
    ranking = Cascade([Stage(alone, alone.fusion)]).rerank(queries, shortlist)
    expected = alone.rerank(queries, shortlist)
    for name in ("rows", "scores", "global_scores", "local_scores", "boxes"):
        assert np.array_equal(getattr(ranking, name), getattr(expected, name), equal_nan=True), name


def test_a_box_survives_a_stage_that_has_none(tiny_gallery, setting):
    queries, shortlist, tables = setting
    first = Stage(Patchify(tiny_gallery), Fusion(0.5, 1.0, 8))
    second = Stage(TableReranker(tiny_gallery, -np.abs(tables[0])), Fusion(0.5, 1.0, 4))
    both = Cascade([first, second]).rerank(queries, shortlist)
    alone = Cascade([first]).rerank(queries, shortlist)
    for query in range(3):
        box_of = dict(zip(alone.rows[query].tolist(), alone.boxes[query].tolist(), strict=True))
        for row, box in zip(both.rows[query].tolist(), both.boxes[query].tolist(), strict=True):
            assert np.array_equal(box, box_of[row], equal_nan=True)
    assert len(both.settings) == 2


def test_rank_through_a_cascade(tiny_gallery, tiny_encoder, photo_folder):
    cascade = Cascade([Stage(Patchify(tiny_gallery, tiny_encoder), Fusion(0.0, 1.0, 3))])
    ids = list(tiny_gallery.ids[:5])
    hits = cascade.rank(photo_folder / ids[2], ids)
    assert hits[0].id == ids[2]
    assert cascade.rank(photo_folder / ids[2], []) == []


def test_checks(tiny_gallery):
    patchify = Patchify(tiny_gallery)
    with pytest.raises(SettingError, match="at least one"):
        Cascade([])
    with pytest.raises(SettingError, match="grow"):
        Cascade([Stage(patchify, Fusion(0, 1, 10)), Stage(patchify, Fusion(0, 1, 20))])
    with pytest.raises(SettingError, match="query_crop"):
        Cascade(
            [Stage(patchify, Fusion()), Stage(Patchify(tiny_gallery, query_crop="box"), Fusion())]
        )


@pytest.mark.parametrize(("sizes", "head"), [((8, 4), 4), ((None, 5), 5), ((8, 0), 8), ((0, 0), 0),
                                             ((None, None), 10)])  # fmt: skip
def test_probabilities_of_what_the_last_stage_rescored(tiny_gallery, setting, sizes, head):
    queries, shortlist, tables = setting
    stages = [
        Stage(TableReranker(tiny_gallery, table), Fusion(0.3, 1.0, size))
        for table, size in zip(tables, sizes, strict=True)
    ]
    calibration = Calibration(2.0, 1.0, -1.0)
    plain = Cascade(stages).rerank(queries, shortlist)
    assert plain.probabilities is None
    assert all(hit.probability is None for hit in hits_of(plain, tiny_gallery)[0])
    found = Cascade(stages, calibration).rerank(queries, shortlist)
    assert np.array_equal(found.rows, plain.rows)
    known = ~np.isnan(found.probabilities)
    assert np.array_equal(known, (np.arange(10) < head) & (found.rows >= 0))
    expected = calibration.probabilities(found.scores)[known]
    np.testing.assert_allclose(found.probabilities[known], expected, rtol=1e-6)
    for query, hits in enumerate(hits_of(found, tiny_gallery)):
        for slot, hit in enumerate(hits):
            if known[query, slot]:
                assert hit.probability == found.probabilities[query, slot]
            else:
                assert hit.probability is None


def test_a_list_has_its_own_level_whoever_else_asks(tiny_gallery):
    rng = np.random.default_rng(5)
    table = rng.random(len(tiny_gallery), dtype=np.float32)
    rows = np.stack([rng.permutation(40)[:30] for _ in range(3)])
    rows[1, 20:] = -1
    rows[2, 9:] = -1
    scores = np.tile(np.linspace(1, 0, 30, dtype=np.float32), (3, 1))
    queries, shortlist = Queries(np.eye(16, dtype=np.float32)[:3]), Shortlist(rows, scores)
    level = ListLevel(2, 3, 14, 0.5, 0.5, -1.0, 1.0, 0.5, 0.4, 0.1, 0.1, 1e-3)
    calibration = Calibration(1.0, 1.0, 0.0, level=level)
    stage = Stage(TableReranker(tiny_gallery, table), Fusion(0.3, 2.0, 25))
    found = Cascade([stage], calibration).rerank(queries, shortlist)
    for number, held in enumerate((25, 20, 9)):
        own = found.scores[number, :held]
        expected = calibration.probabilities(own)
        np.testing.assert_allclose(found.probabilities[number, :held], expected, rtol=1e-6)
        assert np.isnan(found.probabilities[number, held:]).all()
        assert (np.diff(found.probabilities[number, :held]) <= 0).all(), "the order's own"
        levelled = not np.allclose(expected, replace(calibration, level=None).probabilities(own))
        assert levelled == (held > 9), "nine candidates have no level"


def test_probabilities_through_the_drop_in_call(tiny_gallery, tiny_encoder, photo_folder):
    stage = Stage(Patchify(tiny_gallery, tiny_encoder), Fusion(0.0, 1.0, 3))
    cascade = Cascade([stage], Calibration(1.0, 1.0, 0.0))
    ids = list(tiny_gallery.ids[:5])
    hits = cascade.rank(photo_folder / ids[2], ids)
    assert [hit.probability is None for hit in hits] == [False] * 3 + [True] * 2
    known = [hit.probability for hit in hits[:3]]
    assert known == sorted(known, reverse=True)
    assert known[0] == pytest.approx(hits[0].score, abs=1e-6), "logit and sigmoid cancel out"
