"""Candidates that the gallery does not hold: an error, kept at their places, or dropped."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn_galleries import draw_gallery
from patchrerank.errors import GalleryError, SettingError, ShortlistError
from patchrerank.fusion import Fusion
from patchrerank.gallery import Gallery, id_table, remove
from patchrerank.pipeline import Cascade, Stage
from patchrerank.rerankers import Patchify
from patchrerank.types import Shortlist

HELD, DIM = 24, 16
KINDS = {
    "text": lambda number: f"p/{number}.jpg",
    "int": lambda number: 3 * number - 2,
    "uuid": lambda number: UUID(int=5**number),
}


@pytest.fixture(scope="module")
def galleries(tmp_path_factory):
    """Images 0 … 23 are held, others are not; some have no patches."""
    folder = tmp_path_factory.mktemp("missing")
    return {
        kind: draw_gallery(
            folder / kind, list(map(make, range(HELD))), np.arange(HELD) % 4, DIM, id_type=kind
        )
        for kind, make in KINDS.items()
    }


def unit(seed, count=1):
    drawn = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def rankers(gallery, lam):
    one = Patchify(gallery, fusion=Fusion(lam, 4.0, 7))
    yield one
    yield Patchify(gallery, fusion=Fusion(lam, 60.0))
    yield Cascade([Stage(one, Fusion(lam, 4.0, 9)), Stage(one, Fusion(lam, 1.0, 5))])


def slow_list(ranker, query, ids, scores, held):
    """Rank what is held, then put each other candidate where it stood."""
    known = [place for place, item in enumerate(ids) if item in held]
    found = ranker.rank(query, [ids[p] for p in known], [scores[p] for p in known])
    listed = [hit.id for hit in found]
    for place, item in enumerate(ids):
        if item not in held:
            listed.insert(place, item)
    return listed, {hit.id: hit for hit in found}


candidates = st.lists(st.integers(0, 2 * HELD), unique=True, max_size=20)
worst_first = st.lists(st.floats(-1, 1, width=32), min_size=20, max_size=20).map(sorted)


@settings(max_examples=25, deadline=None)
@given(
    candidates, worst_first, st.sampled_from(list(KINDS)), st.sampled_from([0, 0.3, 1]), st.data()
)
def test_kept_ones_keep_their_places_and_say_so(galleries, numbers, rising, kind, lam, data):
    gallery, query = galleries[kind], unit(1)[0]
    ids, scores = [KINDS[kind](n) for n in numbers], rising[::-1][: len(numbers)]
    held = set(gallery.ids)
    for ranker in rankers(gallery, lam):
        hits = ranker.rank(query, ids, scores, missing="keep")
        expected, known = slow_list(ranker, query, ids, scores, held)
        assert [hit.id for hit in hits] == expected
        assert [hit.rank for hit in hits] == list(range(1, len(ids) + 1))
        assert (np.diff(np.array([hit.score for hit in hits], dtype=np.float32)) < 0).all()
        if lam == 1:
            assert expected == ids
        first = dict(zip(ids, np.float32(scores).tolist(), strict=True))
        for hit in hits:
            assert hit.global_score == first[hit.id]
            assert (hit.status == "kept") is (hit.id not in held)
            if hit.status == "kept":
                assert (hit.local_score, hit.box, hit.probability) == (None, None, None)
            else:
                twin = known[hit.id]
                assert (hit.local_score, hit.box) == (twin.local_score, twin.box)
                assert hit.status == ("behind" if hit.local_score is None else "rescored")
        depth = data.draw(st.integers(0, 20))
        assert ranker.rank(query, ids, scores, depth, missing="keep") == hits[:depth]
        dropped = ranker.rank(query, ids, scores, missing="drop")
        assert [hit.id for hit in dropped] == [item for item in expected if item in held]
        assert [hit.score for hit in dropped] == [known[hit.id].score for hit in dropped]
        if not set(ids) - held:
            assert hits == dropped == ranker.rank(query, ids, scores)


ODD = {"text": ["", "\ud800"], "int": [2**63, -(10**30)], "uuid": [UUID(int=2**128 - 1)]}


@pytest.mark.parametrize("kind", KINDS)
def test_ids_that_no_gallery_can_hold_are_missing_ones(galleries, kind):
    ranker, query = Patchify(galleries[kind]), unit(1)[0]
    ids = [ODD[kind][0], *map(KINDS[kind], range(4)), *ODD[kind][1:]]
    kept = ranker.rank(query, ids, missing="keep")
    assert kept[0].id == ids[0] and sorted(map(str, ids)) == sorted(str(hit.id) for hit in kept)
    assert {hit.id for hit in kept if hit.status == "kept"} == set(ODD[kind])
    dropped = ranker.rank(query, ids, missing="drop")
    assert [hit.id for hit in dropped] == [hit.id for hit in kept if hit.status != "kept"]
    with pytest.raises(ShortlistError, match=f"{len(ODD[kind])} of {len(ids)} ids are not in"):
        ranker.rank(query, ids)


@settings(max_examples=15, deadline=None)
@given(st.lists(candidates, min_size=1, max_size=4), st.sampled_from(["keep", "drop"]))
def test_a_batch_is_its_queries_and_arrays_are_its_hits(galleries, lists, missing):
    gallery, queries = galleries["int"], unit(2, len(lists))
    ranker = Patchify(gallery, fusion=Fusion(0.5, 4.0, 6))
    ids = [[KINDS["int"](n) for n in numbers] for numbers in lists]
    batch = ranker.rank_batch(list(queries), ids, missing=missing)
    alone = [ranker.rank(q, i, missing=missing) for q, i in zip(queries, ids, strict=True)]
    assert batch == alone
    found = ranker.rank_arrays(queries, ids=ids, missing=missing)
    for number, hits in enumerate(batch):
        columns, scores = found.listed(number)
        away = found.missing[number] if found.missing else None
        names = [
            away.ids[-1 - column] if column < 0 else gallery.ids[int(found.rows[number, column])]
            for column in columns.tolist()
        ]
        assert names == [hit.id for hit in hits]
        assert scores.tolist() == [hit.score for hit in hits]
        strangers = [item for item in ids[number] if item not in set(gallery.ids)]
        assert (away.ids if away else []) == strangers
        if away:
            assert away.kept is (missing == "keep")
            assert [ids[number][place] for place in away.places] == strangers


def test_a_kept_hit_has_its_own_score_where_the_order_allows(galleries):
    gallery, ids = galleries["text"], ["p/0.jpg", "new.jpg", "p/1.jpg", "p/2.jpg", "late.jpg"]
    scores = [0.875, 0.75, 0.625, 0.5, 0.25]
    hits = Patchify(gallery, fusion=Fusion(1.0)).rank(unit(0)[0], ids, scores, missing="keep")
    assert [(hit.id, hit.score) for hit in hits] == list(zip(ids, scores, strict=True))
    hits = Patchify(gallery, fusion=Fusion(0.0, 4.0)).rank(unit(0)[0], ids, scores, missing="keep")
    assert [hit.id for hit in hits][1::3] == ["new.jpg", "late.jpg"]
    assert hits[1].score in (scores[1], hits[0].score, np.nextafter(np.float32(hits[0].score), -1))
    assert hits[1].global_score == scores[1]


def test_sorted_lists_and_distances_place_them_by_their_scores(galleries):
    gallery, ids = galleries["text"], ["p/0.jpg", "new.jpg", "p/1.jpg"]
    ranker = Patchify(gallery, fusion=Fusion(1.0))
    hits = ranker.rank(unit(0)[0], ids, [0.2, 0.9, 0.4], sort=True, missing="keep")
    assert [hit.id for hit in hits] == ["new.jpg", "p/1.jpg", "p/0.jpg"]
    hits = ranker.rank(unit(0)[0], ids, [0.1, 0.2, 0.9], metric="cosine-distance", missing="keep")
    assert [round(hit.global_score, 6) for hit in hits] == [0.9, 0.8, 0.1]
    hits = ranker.rank(unit(0)[0], ids, missing="drop")
    assert [hit.global_score for hit in hits] == [1.0, pytest.approx(1 / 3)]
    with pytest.raises(ShortlistError, match="higher than"):
        ranker.rank(unit(0)[0], ids, [0.2, 0.9, 0.1], missing="drop")


@pytest.mark.parametrize("kind", KINDS)
def test_all_and_none_and_numbers_of_numpys(galleries, kind):
    gallery, make = galleries[kind], KINDS[kind]
    ranker, query = Patchify(gallery), unit(3)[0]
    strangers = [make(n) for n in range(HELD, HELD + 5)]
    hits = ranker.rank(query, strangers, missing="keep")
    assert [hit.id for hit in hits] == strangers
    assert {hit.status for hit in hits} == {"kept"}
    assert [hit.score for hit in hits] == np.float32([1, 0.8, 0.6, 0.4, 0.2]).tolist()
    assert {type(hit.id) for hit in hits} == {type(strangers[0])}
    assert ranker.rank(query, strangers, missing="drop") == []
    assert ranker.rank(query, [], missing="keep") == []
    with pytest.raises(ShortlistError, match="5 of 5 ids are not in"):
        ranker.rank(query, strangers)
    if kind == "int":
        away = np.array([KINDS["int"](HELD), 1])
        for form in (away, list(away)):
            found = ranker.rank(query, form, missing="keep")
            assert [type(hit.id) for hit in found] == [int, int]


def test_what_stays_an_error(galleries, caplog):
    gallery, query = galleries["text"], unit(0)[0]
    ranker = Patchify(gallery)
    for missing in ("keep", "drop"):
        with pytest.raises(ShortlistError, match=r"'new.jpg' stands twice .* position 2"):
            ranker.rank(query, ["new.jpg", "p/1.jpg", "new.jpg"], missing=missing)
        with pytest.raises(ShortlistError, match=r"'p/1.jpg' stands twice"):
            ranker.rank(query, ["p/1.jpg", "new.jpg", "p/1.jpg"], missing=missing)
        with pytest.raises(ShortlistError, match=r"7 is a int .*are text"):
            ranker.rank(query, ["p/1.jpg", 7], missing=missing)
    with pytest.raises(SettingError, match="missing is 'skip'; use 'error', 'keep' or 'drop'"):
        ranker.rank(query, ["p/1.jpg"], missing="skip")
    with pytest.raises(SettingError, match="missing says something of ids"):
        ranker.rank_arrays(query[None], rows=[[0]], missing="keep")
    with pytest.raises(ShortlistError, match="2 queries, but missing holds 1"):
        Shortlist(np.zeros((2, 1), int), np.zeros((2, 1)), (None,))
    wrong = SimpleNamespace(rows_of=lambda ids, strict: np.array([-2]))
    with pytest.raises(ShortlistError, match="its index gave the row -2"):
        Shortlist.from_ids(wrong, [["a"]], missing="keep")
    with caplog.at_level(logging.WARNING):
        ranker.rank_batch([query, query], [["p/1.jpg", "x"], ["y", "p/2.jpg"]], missing="drop")
    assert caplog.messages == [
        "2 of 4 candidates are not in the gallery and were dropped, for example 'x'"
    ]


def test_images_that_were_removed_are_missing_from_then_on(tmp_path):
    ids = [f"{n}.jpg" for n in range(6)]
    before = Patchify(draw_gallery(tmp_path / "g", ids, 2, DIM))
    after = Patchify(remove(tmp_path / "g", ids[1:3]))
    whole = before.rank(unit(0)[0], ids, missing="keep")
    assert {hit.status for hit in whole} == {"rescored"}, "an open reader keeps its state"
    with pytest.raises(ShortlistError, match="2 of 6 ids are not in"):
        after.rank(unit(0)[0], ids)
    hits = after.rank(unit(0)[0], ids, missing="keep")
    assert [hit.id for hit in hits if hit.status == "kept"] == ids[1:3]
    assert [hit.id for hit in hits][1:3] == ids[1:3]
    held = [hit.id for hit in whole if hit.id not in ids[1:3]]
    dropped = after.rank(unit(0)[0], ids, missing="drop")
    assert [hit.id for hit in dropped] == held


def test_a_damaged_table_is_told_and_nothing_is_dropped(tmp_path, monkeypatch):
    folder = tmp_path / "g"
    monkeypatch.setattr(id_table, "TABLE_FROM", 1)
    gallery = draw_gallery(folder, [f"{n}.jpg" for n in range(50)], 1, DIM)
    table = gallery.files()["id_table"]
    table.write_bytes(bytes(table.stat().st_size))
    for missing in ("error", "keep", "drop"):
        with pytest.raises(GalleryError, match="checksum differs"):
            Patchify(Gallery(folder)).rank(unit(0)[0], ["1.jpg"], missing=missing)
