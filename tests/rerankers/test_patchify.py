from __future__ import annotations

import array
import io
import itertools

import numpy as np
import pytest
import torch

from patchrerank.errors import (
    ImageError,
    QueryError,
    RegionError,
    SettingError,
    ShortlistError,
)
from patchrerank.first_stage import GlobalSearch
from patchrerank.fusion import Fusion
from patchrerank.gallery import encode_queries
from patchrerank.images import read_image
from patchrerank.pipeline import Cascade, Stage
from patchrerank.rerankers import Patchify
from patchrerank.types import Queries, Shortlist


def slow_scores(gallery, queries, rows):
    """One candidate at a time."""
    starts = np.concatenate([[0], gallery.patch_ends])
    scores = np.full(rows.shape, -np.inf, dtype=np.float32)
    boxes = np.full((*rows.shape, 4), np.nan, dtype=np.float32)
    for q, k in np.argwhere(rows >= 0):
        own = slice(starts[rows[q, k]], starts[rows[q, k] + 1])
        similarity = np.asarray(gallery.patches[own], np.float32) @ queries.vectors[q]
        scores[q, k] = similarity.max()
        boxes[q, k] = gallery.boxes[own][similarity.argmax()]
    return scores, boxes


@pytest.fixture(scope="module")
def queries(tiny_encoder, photo_folder, tiny_gallery):
    return encode_queries(tiny_encoder, [photo_folder / tiny_gallery.ids[row] for row in range(5)])


def test_scores_and_boxes_equal_the_slow_twin(tiny_gallery, queries):
    rows = np.random.default_rng(0).permuted(np.tile(np.arange(40), (5, 1)), axis=1)[:, :12]
    rows[2, 9:] = -1
    shortlist = Shortlist(rows, np.tile(np.linspace(1, 0, 12, dtype=np.float32), (5, 1)))
    local = Patchify(tiny_gallery).score(queries, shortlist)
    scores, boxes = slow_scores(tiny_gallery, queries, rows)
    assert np.allclose(local.scores, scores, atol=1e-5)
    assert np.allclose(local.boxes, boxes, equal_nan=True)


def test_reranking_is_pure_and_batches_do_not_matter(tiny_gallery, queries):
    reranker = Patchify(tiny_gallery, fusion=Fusion(0.3, 2.0, 10))
    shortlist = GlobalSearch(tiny_gallery).search(queries)
    together = reranker.rerank(queries, shortlist)
    for number in range(5):
        one = reranker.rerank(
            Queries(queries.vectors[number : number + 1]),
            Shortlist(shortlist.rows[number : number + 1], shortlist.scores[number : number + 1]),
        )
        assert np.array_equal(one.rows[0], together.rows[number])
        assert np.array_equal(one.scores[0], together.scores[number])
    assert set(together.crops) == {"none"}
    assert "patchify" in together.settings[0]


def test_drop_in_call(tiny_gallery, tiny_encoder, photo_folder):
    reranker = Patchify(tiny_gallery, tiny_encoder, Fusion(0.5, 1.0))
    ids = list(tiny_gallery.ids[:6])
    scores = np.linspace(0.9, 0.1, 6).astype(np.float32)
    file = photo_folder / ids[3]
    given = ids.copy(), scores.copy()
    hits = reranker.rank(file, ids, scores)
    assert (ids, scores.tolist()) == (given[0], given[1].tolist()), "inputs are not changed"
    assert sorted(hit.id for hit in hits) == sorted(ids)
    assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5, 6]
    assert all(a.score >= b.score for a, b in itertools.pairwise(hits))
    own = next(hit for hit in hits if hit.id == ids[3])
    assert own.local_score == pytest.approx(1.0, abs=1e-5)
    assert own.box == (0.0, 0.0, 1.0, 1.0)
    assert own.global_score == pytest.approx(float(scores[3]))
    assert isinstance(own.score, float)
    assert reranker.rank(file, ids, scores, top_k=2) == hits[:2]
    assert reranker.rank(read_image(file), ids, scores) == hits
    assert reranker.rank(file.read_bytes(), ids, scores) == hits
    vector = tiny_encoder.encode_images([file])[0]
    assert [
        h.id for h in Patchify(tiny_gallery, fusion=Fusion(0.5, 1.0)).rank(vector, ids, scores)
    ] == [h.id for h in hits]


def test_empty_and_scoreless_and_ragged(tiny_gallery, tiny_encoder, photo_folder):
    reranker = Patchify(tiny_gallery, tiny_encoder)
    file = photo_folder / tiny_gallery.ids[0]
    assert reranker.rank(file, []) == []
    assert reranker.rank(file, [], []) == []
    assert reranker.rank_batch([], []) == []
    assert reranker.rank(file, list(tiny_gallery.ids[:3]), top_k=0) == []
    lists = [list(tiny_gallery.ids[:4]), [], list(tiny_gallery.ids[2:3])]
    batch = reranker.rank_batch([file] * 3, lists)
    assert [len(hits) for hits in batch] == [4, 0, 1]
    by_order = Patchify(tiny_gallery, tiny_encoder, Fusion(lam=1.0)).rank(file, lists[0])
    assert [hit.id for hit in by_order] == lists[0]
    assert [hit.global_score for hit in by_order] == [1.0, 0.75, 0.5, 0.25]


def test_candidates_behind_the_cut(tiny_gallery, tiny_encoder, photo_folder):
    reranker = Patchify(tiny_gallery, tiny_encoder, Fusion(shortlist_size=2))
    hits = reranker.rank(photo_folder / tiny_gallery.ids[0], list(tiny_gallery.ids[:5]))
    assert [hit.id for hit in hits[2:]] == list(tiny_gallery.ids[2:5])
    assert all(hit.local_score is None and hit.box is None for hit in hits[2:])


@pytest.mark.parametrize("fusion", [Fusion(0.0, 60.0), Fusion(0.0, 1.0, 5), Fusion(0.5, 60.0, 5)])
def test_scores_of_hits_fall_strictly(tiny_gallery, tiny_encoder, photo_folder, fusion):
    reranker = Patchify(tiny_gallery, tiny_encoder, fusion)
    ids, dots = list(tiny_gallery.ids[:30]), np.linspace(40, 20, 30)
    hits = reranker.rank(photo_folder / tiny_gallery.ids[0], ids, dots)
    scores = np.array([hit.score for hit in hits])
    assert (np.diff(scores.astype(np.float32)) < 0).all()
    assert np.array_equal(scores, scores.astype(np.float32)), "a float32, whoever reads it"
    known = {hit.id: hit.global_score for hit in hits}
    assert known == dict(zip(ids, dots.astype(np.float32).tolist(), strict=True))


def test_errors(tiny_gallery, tiny_encoder, other_encoder, photo_folder):
    reranker = Patchify(tiny_gallery, tiny_encoder)
    file = photo_folder / tiny_gallery.ids[0]
    ids = list(tiny_gallery.ids[:2])
    with pytest.raises(ShortlistError, match=r"01\.pgn.*did you mean"):
        reranker.rank(file, ["01.pgn"])
    with pytest.raises(QueryError, match="no encoder"):
        Patchify(tiny_gallery).rank(file, ids)
    with pytest.raises(QueryError, match="array of 7 numbers"):
        reranker.rank(np.ones(7, np.float32) / np.sqrt(7), ids)
    with pytest.raises(QueryError, match="norm"):
        reranker.rank(np.ones(16, np.float32), ids)
    with pytest.raises(QueryError, match=r"encoded otherwise.*weights"):
        Patchify(tiny_gallery, other_encoder)
    with pytest.raises(QueryError, match="separately"):
        reranker.rank_batch([file, np.ones(16, np.float32)], [ids, ids])
    with pytest.raises(QueryError, match="1 queries but 2"):
        reranker.rank_batch([file], [ids, ids])
    with pytest.raises(SettingError, match="top_k"):
        reranker.rank(file, ids, top_k=-1)


def test_vectors_of_any_kind(tiny_gallery):
    ids = [np.str_(name) for name in tiny_gallery.ids[:3]]
    vector = np.array(tiny_gallery.global_vectors[1])
    reranker = Patchify(tiny_gallery)
    expected = reranker.rank(vector, ids)
    assert reranker.rank(vector.tolist(), ids) == expected
    assert reranker.rank(torch.tensor(vector, requires_grad=True), tuple(ids)) == expected
    scores = torch.tensor([0.9, 0.8, 0.7])
    assert len(reranker.rank(vector, ids, scores)) == 3
    with pytest.raises(QueryError, match="4×5×3"):
        reranker.rank(np.zeros((4, 5, 3)), ids)
    with pytest.raises(QueryError, match="numbers"):
        reranker.rank(["a", "b"], ids)


def test_query_box(tiny_gallery, tiny_encoder, photo_folder):
    file = photo_folder / tiny_gallery.ids[0]
    box = [0.25, 0.25, 0.75, 0.75]
    cut = encode_queries(tiny_encoder, [file, file], boxes=[box, None], crop="box")
    image = read_image(file)
    expected = tiny_encoder.encode(
        tiny_encoder.preprocessing.prepare(image, np.array([box, [0, 0, 1, 1]], np.float32))
    )
    assert np.allclose(cut.vectors, expected, atol=1e-6)
    assert cut.crop == "box" and cut.crops == ("box", "none")
    whole = encode_queries(tiny_encoder, [file], boxes=[box])
    assert np.allclose(whole.vectors[0], expected[1], atol=1e-6)
    assert np.allclose(whole.boxes[0], box)
    hits = Patchify(tiny_gallery, tiny_encoder, query_crop="box").rank(
        file, list(tiny_gallery.ids[:2]), box=box
    )
    assert [hit.query_crop for hit in hits] == ["box", "box"]
    reranker = Patchify(tiny_gallery, tiny_encoder, query_crop="box")
    ids = list(tiny_gallery.ids[:2])
    for boxes in ([None, box], [[np.nan] * 4, box]):
        whole, cut_hits = reranker.rank_batch([file, file], [ids, ids], boxes=boxes)
        assert {hit.query_crop for hit in whole} == {"none"}
        assert {hit.query_crop for hit in cut_hits} == {"box"}
    assert {hit.query_crop for hit in reranker.rank(file, ids)} == {"none"}
    vector = np.array(tiny_gallery.global_vectors[0])
    assert {hit.query_crop for hit in reranker.rank(vector, ids)} == {"none"}
    with pytest.raises(SettingError, match="crop"):
        encode_queries(tiny_encoder, [file], crop="mask")


class Vector:
    """As pgvector's: no length, no iteration, no ``__array__``."""

    def __init__(self, values):
        self._values = values

    def to_numpy(self):
        return self._values


def test_open_files_as_queries(tiny_gallery, tiny_encoder, photo_folder):
    reranker = Patchify(tiny_gallery, tiny_encoder, Fusion(0.3, 4.0))
    ids = list(tiny_gallery.ids[:6])
    path = photo_folder / ids[3]
    expected = reranker.rank(path, ids)
    with path.open("rb") as file:
        file.seek(5)
        for source in (file, io.BytesIO(path.read_bytes()), bytearray(path.read_bytes())):
            assert reranker.rank(source, ids) == expected
            assert isinstance(reranker.encode([source]).images[0], bytes), "it can be read again"
        assert file.tell() == 5 and not file.closed
        twice = reranker.rank_batch([file, path], [ids, ids])
        assert twice[0] == twice[1] and [h.id for h in twice[0]] == [h.id for h in expected]
    with path.open() as text, pytest.raises(ImageError, match="open as text"):
        reranker.rank(text, ids)


def test_vectors_of_other_libraries(tiny_gallery):
    ids = list(tiny_gallery.ids[:3])
    vector = np.array(tiny_gallery.global_vectors[1])
    reranker = Patchify(tiny_gallery)
    expected = reranker.rank(vector, ids)
    for query in (Vector(vector), array.array("f", vector), memoryview(vector)):
        assert reranker.rank(query, ids) == expected
    half = torch.tensor(vector, dtype=torch.bfloat16)
    assert [hit.id for hit in reranker.rank(half / half.norm(), ids)] == [h.id for h in expected]
    arrow = pytest.importorskip("pyarrow")
    assert reranker.rank(arrow.array(vector), arrow.chunked_array([ids])) == expected


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (None, "query 0 is None, a NoneType; a query is the path of a picture"),
        (3.5, "query 0 is 3.5, a float"),
        ({"image": "a.png"}, "a dict; a query is"),
        (["a.png", "b.png"], "must hold numbers .*rank_batch"),
        ([0.5, None], "must hold numbers"),
        (np.ones(16, complex), "must hold numbers"),
        (np.array(object()), "must hold numbers"),
        (iter([0.5]), "a list_iterator; a query is"),
    ],
)
def test_queries_of_no_kind(tiny_gallery, query, message):
    with pytest.raises(QueryError, match=message) as caught:
        Patchify(tiny_gallery).rank(query, list(tiny_gallery.ids[:2]))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("http://example.org/a.jpg", "addresses are not fetched"),
        ("a red mug", "not words"),
        ("data:image/png;base64," + "iVBO" * 5000, "data URI"),
    ],
)
def test_words_and_addresses_as_queries(tiny_gallery, tiny_encoder, query, message):
    with pytest.raises(ImageError, match=message) as caught:
        Patchify(tiny_gallery, tiny_encoder).rank(query, list(tiny_gallery.ids[:2]))
    assert len(str(caught.value)) < 500


def test_generators_and_wrong_batches(tiny_gallery):
    ids, scores = list(tiny_gallery.ids[:3]), [0.9, 0.8, 0.7]
    vector = np.array(tiny_gallery.global_vectors[1])
    reranker = Patchify(tiny_gallery)
    expected = reranker.rank(vector, ids, scores)
    assert reranker.rank(vector, map(str, ids), map(float, scores)) == expected
    lists = reranker.rank_batch(iter([vector] * 2), iter([ids] * 2), iter([scores] * 2))
    assert lists == [expected] * 2
    with pytest.raises(QueryError, match="expected a sequence of queries"):
        reranker.rank_batch("a.png", [ids])
    with pytest.raises(ShortlistError, match="candidates: expected one sequence a query"):
        reranker.rank_batch([vector], 3)
    with pytest.raises(ShortlistError, match=r"query 0: expected a sequence of scores, got 0\.9"):
        reranker.rank_batch([vector], [ids], scores[:1])
    with pytest.raises(ShortlistError, match="id None is a NoneType"):
        reranker.rank(vector, [None])


def test_distances(tiny_gallery, caplog):
    ids = list(tiny_gallery.ids[:8])
    vector = np.array(tiny_gallery.global_vectors[1])
    reranker = Patchify(tiny_gallery, fusion=Fusion(0.5, 2.0))
    cosines = -np.sort(-tiny_gallery.global_vectors[:8] @ vector)
    known = reranker.rank(vector, ids, cosines)
    found = reranker.rank(vector, ids, 1 - cosines, metric="cosine-distance")
    assert [hit.id for hit in found] == [hit.id for hit in known]
    assert np.allclose([h.score for h in found], [h.score for h in known], atol=1e-6)
    sums = reranker.rank_batch(
        [vector], [ids], [3 * cosines], metric="maxsim-sum", n_query_vectors=3
    )
    assert [hit.id for hit in sums[0]] == [hit.id for hit in known]
    with pytest.raises(ShortlistError, match="upside down"):
        reranker.rank(vector, ids, np.linspace(0.1, 0.9, 8), sort=True)
    assert not caplog.records


def test_scores_that_are_no_cosines_are_logged_where_they_weigh(tiny_gallery, caplog):
    ids = list(tiny_gallery.ids[:3])
    vector = np.array(tiny_gallery.global_vectors[1])
    rounded = [1.0017, 0.5, 0.1]
    for fusion, scores, said in [
        (Fusion(0.0), [40, 30, 20], False),
        (Fusion(0.3), [40, 30, 20], True),
        (Fusion(0.3, shortlist_size=0), [40, 30, 20], False),
        (Fusion(0.3), rounded, False),
        (Fusion(0.3), [0.5, 0.1, -3], True),
        (Fusion(0.3), None, False),
    ]:
        for ranker in (
            Patchify(tiny_gallery, fusion=fusion),
            Cascade([Stage(Patchify(tiny_gallery), fusion)]),
        ):
            caplog.clear()
            ranker.rank(vector, ids, scores)
            assert ("outside the [−1, 1] of cosines" in caplog.text) == said


def test_unknown_ids_show_what_ids_look_like(tiny_gallery):
    vector = np.array(tiny_gallery.global_vectors[1])
    with pytest.raises(ShortlistError) as caught:
        Patchify(tiny_gallery).rank(vector, ["42", "x" * 50_000])
    message = str(caught.value)
    assert "2 of 2 ids are not in the gallery" in message and "'42'" in message
    assert f"its ids look like '{tiny_gallery.ids[0]}', '{tiny_gallery.ids[1]}'" in message
    assert len(message) < 700


def test_settings_of_wrong_types(tiny_gallery, tiny_encoder, photo_folder):
    ids = list(tiny_gallery.ids[:2])
    file = photo_folder / ids[0]
    reranker = Patchify(tiny_gallery, tiny_encoder)
    for top_k in ("3", 2.5, -1):
        with pytest.raises(SettingError, match="top_k must be a whole number"):
            reranker.rank(file, ids, top_k=top_k)
    assert len(reranker.rank(file, ids, top_k=np.int64(1))) == 1
    for box in ("abc", [0, 0, 1], [["x"]], 5, [0.5, 0.5, 0.1, 0.1]):
        with pytest.raises(RegionError, match="query 0"):
            reranker.rank(file, ids, box=box)
    for images in (str(file), file, file.read_bytes(), io.BytesIO(), 3):
        with pytest.raises(QueryError, match="expected a sequence of query pictures"):
            encode_queries(tiny_encoder, images)


def test_a_crop_to_boxes_that_no_query_has_is_said(
    tiny_gallery, tiny_encoder, photo_folder, caplog
):
    reranker = Patchify(tiny_gallery, tiny_encoder, query_crop="box")
    ids = list(tiny_gallery.ids)[:3]
    query = photo_folder / ids[0]
    reranker.rank(query, ids, box=[0.1, 0.1, 0.9, 0.9])
    assert "encoded whole" not in caplog.text
    reranker.rank(query, ids)
    assert "none of 1 has one: encoded whole" in caplog.text
