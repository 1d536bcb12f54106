"""The quick way of a request finds what the general one finds, and refuses what that refuses."""

from __future__ import annotations

import pickle
from functools import partial
from uuid import UUID

import numpy as np
import pytest
from scipy.special import expit

from drawn_galleries import draw_gallery
from patchrerank.errors import PatchRerankError
from patchrerank.fusion import Fusion
from patchrerank.gallery import Gallery, merge, remove
from patchrerank.kernels._requests import fused
from patchrerank.pipeline import Cascade, Stage
from patchrerank.rerankers import Patchify, Ranker
from patchrerank.types import Queries, Shortlist

IMAGES, DIM = 300, 24
IDS = {
    "text": [f"p/{number}-ä.jpg" for number in range(IMAGES)],
    "int": [7 * number - 3 for number in range(IMAGES)],
    "uuid": [UUID(int=5**number % 2**128) for number in range(IMAGES)],
}
FUSIONS = [
    Fusion(),
    Fusion(0.3, 4.0),
    Fusion(0.3, 4.0, 7),
    Fusion(0.0, 1000.0, 40),
    Fusion(0.0, 0.0),
    Fusion(1.0, 2.0),
    Fusion(0.5, 0.0),
    Fusion(0.4, 1.0, 0),
]


class General(Patchify):
    """Takes the general way, as every subclass does."""


def drawn(folder, kind="text", store="float16", seed=0, **more):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 9, IMAGES)
    return draw_gallery(folder, IDS[kind], counts, DIM, store=store, id_type=kind, **more)


def asked(count, seed, ids=IDS["text"], places=3):
    rng = np.random.default_rng(seed)
    query = rng.standard_normal(DIM).astype(np.float32)
    rows = rng.permutation(IMAGES)[:count]
    scores = -np.sort(-rng.uniform(-1, 1, count).round(places))
    return query / np.linalg.norm(query), [ids[row] for row in rows], scores.tolist(), rows


def outcome(call):
    try:
        return call()
    except PatchRerankError as error:
        return type(error), str(error)


QUICK = {("text", "float32"), ("int", "float16"), ("uuid", "int8")}
PAIRS = [(kind, store) for kind in IDS for store in ("float32", "float16", "int8")]


@pytest.mark.parametrize(
    ("kind", "store"),
    [pair if pair in QUICK else pytest.param(*pair, marks=pytest.mark.slow) for pair in PAIRS],
)
def test_hits_are_the_general_ones(tmp_path, kind, store):
    gallery = drawn(tmp_path / "g", kind, store)
    for number, fusion in enumerate(FUSIONS):
        quick, general = Patchify(gallery, fusion=fusion), General(gallery, fusion=fusion)
        cascade = Cascade([Stage(quick, fusion)])
        for count in (1, 2, 9, 250):
            query, ids, scores, _ = asked(count, 100 * number + count, IDS[kind], count % 3)
            for top_k in (None, 1, 5, 1000):
                expected = general.rank(query, ids, scores, top_k)
                assert quick.rank(query, ids, scores, top_k) == expected
                assert cascade.rank(query, ids, scores, top_k) == expected
                if fusion.size_of(count):
                    assert quick.answer([query], [ids], [scores], top_k) == [expected]
            assert quick.rank(query, ids) == general.rank(query, ids)


@pytest.mark.parametrize("store", ["float16", "int8"])
def test_batches_of_any_lengths_are_the_general_ones(tmp_path, store):
    gallery = drawn(tmp_path / "g", store=store)
    for number, fusion in enumerate(FUSIONS):
        quick, general = Patchify(gallery, fusion=fusion), General(gallery, fusion=fusion)
        requests = [asked(count, 50 * number + count)[:3] for count in (7, 120, 1, 120)]
        queries, lists, scores = map(list, zip(*requests, strict=True))
        for top_k in (None, 1, 5, 1000):
            expected = general.rank_batch(queries, lists, scores, top_k)
            assert quick.rank_batch(queries, lists, scores, top_k) == expected
            if fusion.shortlist_size != 0:
                assert quick.answer(queries, lists, scores, top_k) == expected
        assert quick.rank_batch(queries, lists) == general.rank_batch(queries, lists)
        for broken in ([*lists[:-1], []], [*lists[:-1], ["p/1"]], lists[1:]):
            expected = outcome(partial(general.rank_batch, queries, broken))
            assert outcome(partial(quick.rank_batch, queries, broken)) == expected


def test_rankings_are_the_general_ones_behind_other_stages_too(tmp_path):
    gallery = drawn(tmp_path / "g")
    for number, fusion in enumerate(FUSIONS):
        first, second = Fusion(0.2, 3.0, 60), Fusion(fusion.lam, fusion.gamma, 20)
        query, _, scores, rows = asked(100, number)
        table = np.append(rows, [-1, -1])[None]
        given = np.append(scores, [-np.inf] * 2).astype(np.float32)[None]
        shortlist, queries = Shortlist(table, given), Queries(query[None])
        kinds = [
            Cascade([Stage(kind(gallery), first), Stage(kind(gallery), second)])
            for kind in (Patchify, General)
        ]
        for quick, general in (
            kinds,
            [kind(gallery, fusion=fusion) for kind in (Patchify, General)],
        ):
            found, expected = quick.rerank(queries, shortlist), general.rerank(queries, shortlist)
            for ours, theirs in zip(found.tables, expected.tables, strict=True):
                assert ours.dtype == theirs.dtype
                np.testing.assert_array_equal(ours, theirs)
            assert found.settings == expected.settings


@pytest.mark.parametrize("store", ["float32", "float16", "int8"])
def test_rankings_of_several_lists_are_the_general_ones(tmp_path, store):
    gallery = drawn(tmp_path / "g", store=store)
    lists = [asked(count, count) for count in (100, 3, 250, 1)]
    shortlist = Shortlist.joined(
        [
            Shortlist(rows[None], np.asarray(scores, dtype=np.float32)[None])
            for _, _, scores, rows in lists
        ]
    )
    queries = Queries(np.stack([query for query, *_ in lists]))
    for fusion in FUSIONS:
        first = Fusion(0.2, 3.0, 60)
        second = Fusion(fusion.lam, fusion.gamma, min(fusion.size_of(60), 60))
        found, expected = (
            Cascade([Stage(kind(gallery), first), Stage(kind(gallery), second)]).rerank(
                queries, shortlist
            )
            for kind in (Patchify, General)
        )
        for ours, theirs in zip(found.tables, expected.tables, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_what_is_not_plain_ends_as_ever(tmp_path):
    gallery = drawn(tmp_path / "g")
    quick, general = (kind(gallery, fusion=Fusion(0.3, 4.0)) for kind in (Patchify, General))
    query, ids, scores, _ = asked(6, 0)
    for given in (
        (query, [*ids[:-1], ids[0]], scores),
        (query, [*ids[:-1], "p/1"], scores),
        (query, [*ids[:-1], "a\0b"], scores),
        (query, ["\0".join(ids)], scores[:1]),
        (query, [*ids[:-1], "\ud800"], scores),
        (query, [*ids[:-1], ""], scores),
        (query, [*ids[:-1], 5], scores),
        (query, [*map(np.str_, ids)], scores),
        (query, tuple(ids), scores),
        (query, [], []),
        (query, ids, scores[:-1]),
        (query, ids, scores[::-1]),
        (query, ids, [*scores[:-1], float("nan")]),
        (query, ids, [float("inf"), *scores[1:]]),
        (query, ids, [10**400, *scores[1:]]),
        (query, ids, [True, *scores[1:]]),
        (query, ids, ["0.9", *scores[1:]]),
        (query, ids, [1.5, *scores[1:]]),
        (query, ids, np.asarray(scores, dtype=np.float32)),
        (query, ids, np.asarray([scores])),
        (query, ids, scores, -1),
        (query, ids, scores, 0),
        (query, ids, scores, 2.0),
        (2 * query, ids, scores),
        (np.nan * query, ids, scores),
        (query[:-1], ids, scores),
        (query.astype(np.float64), ids, scores),
        (np.repeat(query, 2)[::2], ids, scores),
        (query.tolist(), ids, scores),
    ):
        assert outcome(partial(quick.rank, *given)) == outcome(partial(general.rank, *given))
    for more in ({"missing": "keep"}, {"missing": "drop"}, {"sort": True}, {"metric": "l2"}):
        given = query, [*ids[:-1], "gone"], scores
        expected = outcome(partial(general.rank, *given, **more))
        assert outcome(partial(quick.rank, *given, **more)) == expected


def test_scores_of_another_scale_are_warned_of(tmp_path, caplog):
    query, ids, scores, _ = asked(6, 0)
    quick = Patchify(drawn(tmp_path / "g"), fusion=Fusion(0.3, 4.0))
    quick.rank(query, ids, [1.5, *scores[1:]])
    assert "outside the [−1, 1] of cosines" in caplog.text


def test_removed_rows_are_not_found(tmp_path):
    drawn(tmp_path / "g")
    query, ids, scores, _ = asked(6, 0)
    remove(tmp_path / "g", ids[2:3])
    quick = Patchify(Gallery(tmp_path / "g"), fusion=Fusion(0.3, 4.0))
    with pytest.raises(PatchRerankError, match="1 of 6 ids are not in"):
        quick.rank(query, ids, scores)
    assert len(quick.rank(query, ids[:2], scores[:2])) == 2


def test_shards_are_read_in_place_once_they_are_open(tmp_path):
    half = IMAGES // 2
    for name, part in (("a", IDS["text"][:half]), ("b", IDS["text"][half:])):
        draw_gallery(tmp_path / name, part, np.arange(half) % 5, DIM, store="int8")
    merge(tmp_path / "g", [tmp_path / "a", tmp_path / "b"], progress=False)
    gallery = Gallery(tmp_path / "g")
    quick, general = (kind(gallery, fusion=Fusion(0.3, 4.0)) for kind in (Patchify, General))
    query, ids, scores, _ = asked(80, 0)
    assert quick.answer([query], [ids], [scores], 10) is None
    assert quick.rank(query, ids, scores, 10) == general.rank(query, ids, scores, 10)
    assert quick.answer([query], [ids], [scores], 10) == [general.rank(query, ids, scores, 10)]


def test_codes_and_threads_take_the_general_way(tmp_path):
    query, ids, scores, _ = asked(6, 0)
    gallery = drawn(tmp_path / "g")
    threaded = Patchify(gallery, fusion=Fusion(0.3, 4.0), threads=2)
    assert threaded.answer([query], [ids], [scores], 3) is None
    plain = Patchify(gallery, fusion=Fusion(0.3, 4.0))
    assert threaded.rank(query, ids, scores, 3) == plain.rank(query, ids, scores, 3)


def test_a_pickled_reranker_answers_from_its_own_maps(tmp_path):
    quick: Ranker = Patchify(drawn(tmp_path / "g"), fusion=Fusion(0.3, 4.0))
    query, ids, scores, _ = asked(6, 0)
    found = quick.rank(query, ids, scores)
    again = pickle.loads(pickle.dumps(quick))
    assert again.rank(query, ids, scores) == found


def test_the_compiled_fusion_has_the_bits_of_scipy():
    drawn_at = np.random.default_rng(0).standard_normal(100_000) * 20
    for local in (*drawn_at.astype(np.float32)[:20_000], np.float32(-np.inf), np.float32(0)):
        assert fused(np.float32(0), local, 0.0, 3.7) == expit(3.7 * np.float64(local))
