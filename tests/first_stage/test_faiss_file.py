"""Index files of every kind as first stage, with the labels that their owners gave."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from uuid import UUID

import faiss
import numpy as np
import pytest

from drawn_galleries import draw_gallery
from patchrerank.errors import GalleryError, QueryError, SettingError, ShortlistError
from patchrerank.first_stage import FaissFile, GlobalSearch
from patchrerank.gallery import import_gallery
from patchrerank.rerankers import Patchify
from patchrerank.rerankers.hits import hits_of
from patchrerank.types import Queries, Ranking
from quick_indexes import quick_index

COUNT, DIM = 300, 16
IP, L2 = faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L2
EXHAUSTIVE = ["Flat", "IVF16,Flat", "IDMap,Flat", "IDMap2,Flat", "HNSW16,Flat"]
CODED = ["SQfp16", "OPQ8,IVF16,PQ8x4"]
NAMES = [f"photos/{n:03d}.jpg" for n in range(COUNT)]
LABELS = 7 * np.arange(COUNT) + 100


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    return draw_gallery(tmp_path_factory.mktemp("named") / "g", NAMES, 2, DIM)


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    ids = LABELS[::-1].tolist()
    return draw_gallery(tmp_path_factory.mktemp("numbered") / "g", ids, 2, DIM, id_type="int")


def save(path, vectors, factory="Flat", metric=IP, labels=None, training=None):
    index = quick_index(vectors.shape[1], factory, metric)
    index.train(vectors if training is None else training)
    if labels is None:
        index.add(vectors)
    else:
        index.add_with_ids(vectors, np.asarray(labels, dtype=np.int64))
    faiss.write_index(index, str(path))
    return path


@pytest.fixture
def queries(named):
    return near(named)


def near(gallery):
    rng = np.random.default_rng(3)
    vectors = np.asarray(gallery.global_vectors)[[5, 77, 240]]
    vectors = vectors + 0.1 * rng.standard_normal(vectors.shape)
    return Queries((vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32))


def same(found, expected):
    assert np.array_equal(found.rows, expected.rows)
    assert np.allclose(found.scores, expected.scores, atol=1e-5)


@pytest.mark.parametrize("metric", [IP, L2])
@pytest.mark.parametrize("factory", EXHAUSTIVE)
def test_it_finds_what_our_own_search_finds(numbered, tmp_path, factory, metric):
    labels = None if "HNSW" in factory or factory == "Flat" else LABELS[::-1]
    vectors = np.asarray(numbered.global_vectors)
    path = save(tmp_path / "i.faiss", vectors, factory, metric, labels)
    ids = numbered.ids if labels is None else None
    setting = {"nprobe": 16} if "IVF" in factory else {}
    setting = {"efSearch": 400} if "HNSW" in factory else setting
    found = FaissFile(numbered, path, ids=ids, **setting).search(near(numbered), 20)
    same(found, GlobalSearch(numbered).search(near(numbered), 20))


@pytest.mark.parametrize("metric", [IP, L2])
@pytest.mark.parametrize("factory", CODED)
def test_it_finds_nearly_that_through_codes(named, queries, tmp_path, factory, metric):
    path = save(tmp_path / "i.faiss", np.asarray(named.global_vectors), factory, metric)
    setting = {"nprobe": 16} if "IVF" in factory else {}
    found = FaissFile(named, path, **setting).search(queries, 20)
    assert found.rows[:, 0].tolist() == [5, 77, 240]
    expected = queries.vectors @ np.asarray(named.global_vectors).T
    true = np.take_along_axis(expected, found.rows, axis=1)
    assert np.abs(found.scores - true).max() < (0.01 if factory == "SQfp16" else 0.4)


def test_a_reranker_takes_its_shortlist(named, queries, tmp_path):
    path = save(tmp_path / "i.faiss", np.asarray(named.global_vectors))
    reranker = Patchify(named)
    ranking = reranker.rerank(queries, FaissFile(named, path).search(queries, 100))
    expected = reranker.rerank(queries, GlobalSearch(named).search(queries, 100))
    assert np.array_equal(ranking.rows, expected.rows)


def test_every_form_of_ids_gives_the_same(named, queries, tmp_path):
    order = np.random.default_rng(1).permutation(COUNT)
    vectors, ids = np.asarray(named.global_vectors)[order], [NAMES[n] for n in order]
    path = save(tmp_path / "i.faiss", vectors)
    np.save(tmp_path / "ids.npy", np.array(ids))
    (tmp_path / "ids.txt").write_text("\n".join(ids))
    (tmp_path / "ids.json").write_text(json.dumps(ids))
    (tmp_path / "map.json").write_text(json.dumps(dict(enumerate(ids))))
    expected = GlobalSearch(named).search(queries, 30)
    forms = [ids, np.array(ids), dict(enumerate(ids)), tmp_path / "ids.npy", tmp_path / "ids.txt"]
    for form in [*forms, str(tmp_path / "ids.json"), tmp_path / "map.json"]:
        same(FaissFile(named, path, ids=form).search(queries, 30), expected)
    own = save(tmp_path / "own.faiss", vectors, "IDMap2,Flat", labels=LABELS)
    given = dict(zip(LABELS.tolist(), ids, strict=True))
    same(FaissFile(named, own, ids=given).search(queries, 30), expected)


def test_uuids_and_numbers_come_out_of_text(tmp_path):
    ids = [UUID(int=n + 1) for n in range(20)]
    gallery = draw_gallery(tmp_path / "g", ids, 1, DIM, id_type="uuid")
    path = save(tmp_path / "i.faiss", np.asarray(gallery.global_vectors))
    (tmp_path / "ids.txt").write_text("\n".join(map(str, ids)))
    same(
        FaissFile(gallery, path, ids=tmp_path / "ids.txt").search(near20(gallery), 5),
        GlobalSearch(gallery).search(near20(gallery), 5),
    )
    (tmp_path / "bad.txt").write_text("x\n" * 20)
    with pytest.raises(SettingError, match=r"bad.txt: entry 0: 'x' is no UUID"):
        FaissFile(gallery, path, ids=tmp_path / "bad.txt")


def near20(gallery):
    return Queries(np.asarray(gallery.global_vectors)[[2, 11]])


def test_another_order_is_noticed(named, tmp_path, caplog):
    path = save(tmp_path / "i.faiss", np.asarray(named.global_vectors)[::-1].copy())
    with pytest.raises(GalleryError, match="are not those of the images in these rows"):
        FaissFile(named, path)
    with caplog.at_level(logging.WARNING):
        FaissFile(named, path, ids=NAMES)
    assert "in the order of the index" in caplog.text


def test_labels_that_the_gallery_does_not_hold(numbered, tmp_path):
    """Dropped ones make no list shorter: more are asked for."""
    vectors = np.asarray(numbered.global_vectors)
    twice, labels = np.concatenate([vectors, vectors]), np.append(LABELS[::-1], LABELS + 50_000)
    path = save(tmp_path / "i.faiss", twice, "IDMap,Flat", labels=labels)
    with pytest.raises(ShortlistError, match=r"i\.faiss: \d+ labels .* missing='drop'"):
        FaissFile(numbered, path).search(near(numbered), 20)
    found = FaissFile(numbered, path, missing="drop")
    for size in (1, 20, COUNT, None):
        same(
            found.search(near(numbered), size), GlobalSearch(numbered).search(near(numbered), size)
        )


def test_ids_that_the_gallery_does_not_hold(named, queries, tmp_path):
    path = save(tmp_path / "i.faiss", np.asarray(named.global_vectors))
    ids = [*NAMES[:-1], "gone.jpg"]
    with pytest.raises(ShortlistError, match=r"1 of 300 ids .* 'gone.jpg'.*missing='drop'"):
        FaissFile(named, path, ids=ids)
    found = FaissFile(named, path, ids=ids, missing="drop").search(queries)
    assert found.rows.shape == (3, COUNT)
    assert (found.rows[:, -1] == -1).all()
    assert not (found.rows == COUNT - 1).any()
    with pytest.raises(ShortlistError, match="300 of 300 ids"):
        FaissFile(named, path, ids=[f"x{n}" for n in range(COUNT)], missing="drop")


def test_kept_labels_stand_where_the_index_found_them(numbered, tmp_path):
    """As many are returned as were asked for, and kept ones say the label they were found by."""
    vectors, (queries, exact) = np.asarray(numbered.global_vectors), exhaustive(numbered)
    away = np.arange(COUNT) % 3 == 0
    labels = np.where(away, LABELS[::-1] + 50_000, LABELS[::-1])
    path = save(tmp_path / "i.faiss", vectors, "IDMap,Flat", labels=labels)
    search = FaissFile(numbered, path, missing="keep")
    for size in (1, 20, None):
        found = search.search(queries, size)
        hits = hits_of(Ranking.of(found), numbered)
        for number, listed in enumerate(hits):
            order = np.argsort(-exact[number], kind="stable")[:size]
            assert [hit.id for hit in listed] == labels[order].tolist()
            assert [hit.status == "kept" for hit in listed] == away[order].tolist()
            scores = [hit.global_score for hit in listed]
            assert np.allclose(scores, exact[number, order], atol=1e-5)
    reranked = Patchify(numbered).rerank(queries, search.search(queries, 20))
    for listed, before in zip(hits_of(reranked, numbered), hits, strict=True):
        kept = {hit.rank: hit.id for hit in listed if hit.status == "kept"}
        assert kept == {hit.rank: hit.id for hit in before[:20] if hit.status == "kept"}


def exhaustive(gallery):
    queries = near(gallery)
    return queries, queries.vectors @ np.asarray(gallery.global_vectors).T


@pytest.mark.parametrize("form", [list, lambda ids: dict(enumerate(ids))])
def test_kept_ids_stand_once_however_many_labels_they_have(named, tmp_path, form):
    queries, exact = exhaustive(named)
    path = save(tmp_path / "i.faiss", np.repeat(np.asarray(named.global_vectors), 2, axis=0))
    names = [f"new/{n}.jpg" if n % 4 == 1 else NAMES[n] for n in range(COUNT)]
    search = FaissFile(named, path, ids=form(np.repeat(names, 2).tolist()), missing="keep")
    for number, listed in enumerate(hits_of(Ranking.of(search.search(queries, 40)), named)):
        order = np.argsort(-exact[number], kind="stable")[:40]
        assert [hit.id for hit in listed] == [names[row] for row in order]
    if form is list:
        return
    some = form(np.repeat(names, 2).tolist())
    del some[10]
    with pytest.raises(ShortlistError, match=r"no id for the label 10, .*missing='drop'"):
        FaissFile(named, path, ids=some, missing="keep").search(queries)


def test_an_image_with_several_vectors_stands_once(named, queries, tmp_path):
    vectors = np.repeat(np.asarray(named.global_vectors), 3, axis=0)
    path = save(tmp_path / "i.faiss", vectors)
    found = FaissFile(named, path, ids=np.repeat(NAMES, 3)).search(queries, 50)
    same(found, GlobalSearch(named).search(queries, 50))


def test_fewer_vectors_than_images_and_none(named, queries, tmp_path):
    path = save(tmp_path / "few.faiss", np.asarray(named.global_vectors)[:10])
    found = FaissFile(named, path, ids=NAMES[:10]).search(queries, 20)
    assert found.rows.shape == (3, 20)
    assert (found.rows[:, :10] >= 0).all()
    assert (found.rows[:, 10:] == -1).all()
    path = save(tmp_path / "none.faiss", np.empty((0, DIM), dtype=np.float32))
    assert (FaissFile(named, path, ids=[]).search(queries, 3).rows == -1).all()
    assert FaissFile(named, path, ids=[]).search(queries, 0).rows.shape == (3, 0)


def test_a_gallery_of_nothing(named, queries, tmp_path):
    path = save(tmp_path / "i.faiss", np.asarray(named.global_vectors))
    empty = draw_gallery(tmp_path / "g", [], 1, DIM, id_type="int")
    assert FaissFile(empty, path, missing="drop").search(queries, 5).rows.shape == (3, 0)


def test_an_approximate_index_leaves_slots_empty(named, queries, tmp_path):
    path = save(tmp_path / "i.faiss", np.asarray(named.global_vectors), "IVF16,Flat")
    found = FaissFile(named, path, nprobe=1).search(queries, COUNT)
    assert (found.rows[:, -1] == -1).all()


def test_settings_are_checked(named, tmp_path):
    path = save(tmp_path / "i.faiss", np.asarray(named.global_vectors))
    with pytest.raises(SettingError, match="this IndexFlatIP has no nprobe"):
        FaissFile(named, path, nprobe=4)
    with pytest.raises(SettingError, match="did you mean nprobe"):
        FaissFile(named, path, nprobes=4)
    for value in (0, -1, 1 << 40, True, "4"):
        with pytest.raises(SettingError, match="nprobe must be at least 1"):
            FaissFile(named, path, nprobe=value)
    with pytest.raises(SettingError, match="missing is 'skip'; use 'error', 'keep' or 'drop'"):
        FaissFile(named, path, missing="skip")


def test_queries_are_checked(named, tmp_path):
    found = FaissFile(named, save(tmp_path / "i.faiss", np.asarray(named.global_vectors)))
    with pytest.raises(QueryError, match="3 dimensions"):
        found.search(Queries(np.ones((1, 3))))
    with pytest.raises(SettingError, match="-1"):
        found.search(Queries(np.ones((1, DIM))), -1)


@pytest.mark.parametrize("factory", ["Flat", "PQ8x4"])
@pytest.mark.parametrize("metric", [IP, L2])
def test_vectors_of_another_length(named, queries, tmp_path, factory, metric):
    path = save(tmp_path / "i.faiss", 5 * np.asarray(named.global_vectors), factory, metric)
    with pytest.raises(GalleryError, match=r"not of unit length .*normalize_L2"):
        FaissFile(named, path).search(queries, 5)


def test_what_does_not_fit(named, numbered, tmp_path):
    vectors = np.asarray(named.global_vectors)
    path = save(tmp_path / "i.faiss", vectors[:, :8].copy())
    with pytest.raises(GalleryError, match=r"have 8 dimensions, those of the gallery .* 16"):
        FaissFile(named, path)
    path = save(tmp_path / "i.faiss", vectors, metric=faiss.METRIC_L1)
    with pytest.raises(GalleryError, match=r"its metric is METRIC_L1; use"):
        FaissFile(named, path)
    path = save(tmp_path / "i.faiss", vectors[:-1])
    with pytest.raises(SettingError, match=r"holds 299 vectors, .* 300 images; say"):
        FaissFile(named, path)
    with pytest.raises(SettingError, match="there are 300 ids, but the index holds 299"):
        FaissFile(named, path, ids=NAMES)
    with pytest.raises(ShortlistError, match="are text"):
        FaissFile(named, path, ids=list(range(299)))
    path = save(tmp_path / "i.faiss", vectors, "IDMap,Flat", labels=LABELS)
    with pytest.raises(SettingError, match=r"labels of its own, .* ids=\{label: id\}"):
        FaissFile(named, path)
    with pytest.raises(SettingError, match="whole numbers"):
        FaissFile(named, path, ids={"a": "b"})
    path = save(tmp_path / "i.faiss", vectors)
    with pytest.raises(SettingError, match=r"no\.txt: cannot be read"):
        FaissFile(named, path, ids=tmp_path / "no.txt")
    with pytest.raises(ShortlistError, match="labels that it found are no images"):
        FaissFile(numbered, path).search(near(numbered), 20)


def test_what_faiss_cannot_search_is_said(named, queries, tmp_path, monkeypatch):
    found = FaissFile(named, save(tmp_path / "i.faiss", np.asarray(named.global_vectors)))

    def refuse(vectors, count):
        raise RuntimeError("no list 7")

    monkeypatch.setattr(found.index, "search", refuse)
    with pytest.raises(GalleryError, match=r"cannot search this IndexFlatIP \(.*no list 7"):
        found.search(queries, 3)


def test_the_lines_of_the_page_work(tmp_path, monkeypatch):
    page = Path(__file__).parents[2] / "docs/data.md"
    section = page.read_text(encoding="utf-8").partition("## You have a FAISS index")[2]
    section = section.partition("\n## ")[0]
    search, vectors = re.findall(r"```python\n(.*?)```", section, flags=re.S)
    gallery = draw_gallery(tmp_path / "gallery", NAMES, 2, DIM)
    save(tmp_path / "catalogue.faiss", np.asarray(gallery.global_vectors), "IVF16,Flat")
    (tmp_path / "ids.txt").write_text("\n".join(NAMES))
    monkeypatch.chdir(tmp_path)
    names = {"query": gallery.global_vectors[42]}
    exec(search.replace('"query.jpg"', "query"), names)
    assert gallery.ids[int(names["search"].search(names["queries"], 1).rows[0, 0])] == NAMES[42]
    assert names["ranking"].rows.shape == (1, 100)
    exec(vectors, names)
    assert np.array_equal(names["vectors"], gallery.global_vectors)


def compacted(folder, gone, come):
    """A gallery of names, from which some were taken out and others put behind."""
    gallery = draw_gallery(folder, NAMES, 2, DIM)
    kept = [row for row in range(COUNT) if row not in gone]
    vectors = np.asarray(gallery.global_vectors)
    rng = np.random.default_rng(9)
    new = rng.standard_normal((come, DIM)).astype(np.float32)
    new /= np.linalg.norm(new, axis=1, keepdims=True)
    names = [NAMES[row] for row in kept] + [f"new/{n}" for n in range(come)]
    whole = np.concatenate([vectors[kept], new])
    return vectors, import_gallery(
        folder.with_name("after"), names, whole, whole[:, None], encoder="drawn", progress=False
    )


@pytest.mark.parametrize("factory", ["Flat", "IVF16,Flat", "HNSW16,Flat", "SQfp16", "PQ8x4"])
@pytest.mark.parametrize("gone", [[0], [150], list(range(100, 120))])
def test_an_index_of_rows_of_before_is_refused(tmp_path, factory, gone):
    """As many images went as came, so that the number of vectors is right again."""
    vectors, after = compacted(tmp_path / "g", gone, len(gone))
    path = save(tmp_path / "old.faiss", vectors, factory)
    with pytest.raises(GalleryError, match=r"is older than .*after.*are not those of the images"):
        FaissFile(after, path)
    fresh = save(tmp_path / "new.faiss", np.asarray(after.global_vectors), factory)
    assert FaissFile(after, fresh).search(near(after), 5).rows.shape == (3, 5)


def test_the_last_image_alone_may_be_another(tmp_path):
    vectors, after = compacted(tmp_path / "g", [COUNT - 1], 1)
    with pytest.raises(GalleryError, match=f"the first of them number {COUNT - 1}, "):
        FaissFile(after, save(tmp_path / "old.faiss", vectors))


def test_vectors_of_images_that_were_replaced_are_warned_of(tmp_path, named, caplog):
    vectors = np.array(named.global_vectors)
    vectors[-3:] = vectors[:3]
    path = save(tmp_path / "old.faiss", vectors)
    FaissFile(named, path, ids=NAMES)
    assert "3 of 2" in caplog.text and "before they were replaced" in caplog.text
