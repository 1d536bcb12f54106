"""What is asked over HTTP has the answers that the library gives."""

from __future__ import annotations

import io
import re
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from drawn_galleries import draw_gallery
from patchrerank.calibration import Calibration
from patchrerank.errors import SettingError
from patchrerank.first_stage import GlobalSearch
from patchrerank.gallery import CompressOptions, compress, remove
from patchrerank.images import PictureBytes
from patchrerank.pipeline import Recipe, load_reranker
from patchrerank.serving import Engine, ServiceSettings
from patchrerank.serving.documents import PictureVectors
from patchrerank.serving.refusals import RequestError
from patchrerank.serving.sent_pictures import digest_of
from patchrerank.testing.colours import BOXES, COLOURS, IDS, colour_encoder, colour_query
from patchrerank.testing.made_galleries import KINDS, made_gallery
from patchrerank.types import Text
from served import served, uri

CLOSE = 1e-5
NAMES = list(IDS)


@pytest.fixture(scope="module")
def reranker(colours, stages):
    return load_reranker(colours, stages, encoder=colour_encoder())


def results_of(client, body, path="/rerank"):
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def vector_of(name):
    found = np.array(COLOURS[name], dtype=np.float64)
    return (found / np.linalg.norm(found)).tolist()


QUERIES = {
    "picture": {"image": uri(colour_query("red"))},
    "bare data URI": uri(colour_query("red")),
    "bare base64": uri(colour_query("red").resize((300, 300)), "BMP").partition(",")[2],
    "content": {"content": [{"type": "image_url", "image_url": {"url": uri(colour_query("red"))}}]},
    "words": "red",
    "text": {"text": "red"},
    "vector": {"vector": vector_of("red")},
    "vector as text": '{"vector": [1, 0.04, 0.04]}',
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_a_query_of_any_kind_finds_the_patch(client, query):
    if isinstance(query, str) and query.startswith("{"):
        query = query.replace("[1, 0.04, 0.04]", str(vector_of("red")))
    best, *others = results_of(client, {"query": query, "documents": NAMES})
    assert (best["id"], best["index"]) == ("red.png", NAMES.index("red.png"))
    assert best["local_score"] == pytest.approx(1, abs=1e-3)
    assert best["box"] == pytest.approx(BOXES["red"])
    assert best["relevance_score"] == best["score"] > others[0]["score"]


def test_an_id_is_a_query_and_its_global_vector_counts(client, reranker):
    vector = reranker.gallery.global_vectors[reranker.gallery.rows_of(["grey1.png"])[0]]
    expected = reranker.rank(vector, NAMES)
    found = results_of(client, {"query": {"id": "grey1.png"}, "documents": NAMES})
    assert {hit["id"]: hit["local_score"] for hit in found} == pytest.approx(
        {hit.id: hit.local_score for hit in expected}, abs=CLOSE
    )


def test_scores_of_the_first_stage_are_those_that_are_sent(client, reranker):
    scores = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    expected = reranker.rank(colour_query("blue"), NAMES, scores)
    query = uri(colour_query("blue"))
    beside = results_of(client, {"query": query, "documents": NAMES, "scores": scores})
    within = [{"id": n, "score": s} for n, s in zip(NAMES, scores, strict=True)]
    inside = results_of(client, {"query": query, "documents": within})
    for found in (beside, inside):
        assert [hit["id"] for hit in found] == [hit.id for hit in expected]
        for hit, twin in zip(found, expected, strict=True):
            assert hit["score"] == pytest.approx(twin.score, abs=CLOSE)
            assert hit["global_score"] == pytest.approx(twin.global_score)
            assert set(asdict(twin)) <= set(hit)


def test_without_scores_cosines_of_global_vectors_count(client, colours):
    found = results_of(client, {"query": {"vector": vector_of("green")}, "documents": NAMES})
    rows = colours.rows_of([hit["id"] for hit in found])
    cosines = np.asarray(colours.global_vectors[rows]) @ np.float32(vector_of("green"))
    assert [hit["global_score"] for hit in found] == pytest.approx(cosines.tolist(), abs=CLOSE)


def test_distances_say_what_they_are(client):
    body = {"query": "red", "documents": NAMES, "scores": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]}
    answer = client.post("/rerank", json=body)
    assert answer.status_code == 422
    assert "only rise" in answer.json()["detail"] or "distances" in answer.json()["detail"]
    found = results_of(client, {**body, "metric": "cosine-distance"})
    found.sort(key=lambda hit: hit["index"])
    assert [hit["global_score"] for hit in found] == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])


def test_pictures_as_documents_have_the_scores_of_the_gallerys_own(client, colours):
    pictures = [uri(Image.open(colours.pictures[row])) for row in range(len(colours))]
    ids = list(colours.ids)
    for query in COLOURS:
        own = results_of(client, {"query": query, "documents": ids})
        for documents in (pictures, [{"image": picture} for picture in pictures]):
            sent = results_of(client, {"query": query, "documents": documents})
            assert [hit["index"] for hit in sent] == [hit["index"] for hit in own]
            for hit, twin in zip(sent, own, strict=True):
                assert hit["box"] == pytest.approx(twin["box"])
                for score in ("score", "global_score", "local_score"):
                    assert hit[score] == pytest.approx(twin[score], abs=CLOSE)


def test_pictures_are_encoded_once(running, client):
    pictures = [uri(Image.new("RGB", (20, 20), (n, 200, 5))) for n in range(3)]
    vectors = running.service._vectors
    results_of(client, {"query": "green", "documents": pictures})
    held = vectors.nbytes
    results_of(client, {"query": "blue", "documents": pictures[::-1]})
    assert vectors.nbytes == held


def test_what_is_kept_of_pictures_has_a_bound(colours):
    engine = Engine(colours.folder, encoder=colour_encoder())
    small = PictureVectors(2000, 10**6)
    for n in range(20):
        file = io.BytesIO()
        Image.new("RGB", (20, 20), (n + 1, 0, 0)).save(file, "PNG")
        content = PictureBytes(file.getvalue(), "a picture")
        small.cascade(engine.current, {digest_of(content): content}, float("inf"))
        assert small.nbytes <= 2000


def test_a_document_that_is_sent_twice_is_scored_once_and_answered_twice(client):
    documents = ["grey0.png", "red.png", "grey0.png"]
    found = results_of(client, {"query": "red", "documents": documents})
    assert [hit["index"] for hit in found] == [1, 0, 2]
    assert found[1]["score"] == found[2]["score"]
    assert len(results_of(client, {"query": "red", "documents": documents, "top_n": 2})) == 2


@pytest.mark.parametrize(("top", "count"), [(None, 6), (0, 6), (2, 2), (100, 6)])
def test_the_first_so_many(client, top, count):
    assert len(results_of(client, {"query": "red", "documents": NAMES, "top_n": top})) == count


def test_other_names_of_how_many_are_wanted_and_keys_that_mean_nothing(client):
    asked = {"query": "red", "candidates": 5, "model": "x", "truncate": True, "rank_fields": ["a"]}
    for path, key, body in (
        ("/rerank", "results", {**asked, "documents": NAMES, "limit": None}),
        ("/search", "hits", asked),
    ):
        for names in ({"top_n": 2}, {"top_k": 2}, {"top_k": 2, "top_n": 2}):
            found = client.post(path, json={**body, **names}).json()[key]
            assert [hit["id"] for hit in found][:1] == ["red.png"]
            assert len(found) == 2, names
    everything = client.post("/search", json={**asked, "top_n": 0}).json()["hits"]
    assert len(everything) == 5
    assert client.post("/search", json={**asked, "top_k": 0}).json()["hits"] == []


def test_no_documents_no_results(client):
    assert results_of(client, {"query": "red", "documents": []}) == []


@pytest.mark.parametrize(
    ("how", "ids"), [("keep", ["red.png", "grey0.png", "new"]), ("drop", ["red.png", "grey0.png"])]
)
def test_documents_that_the_gallery_does_not_hold(client, how, ids):
    body = {"query": "red", "documents": ["grey0.png", "new", "red.png"], "missing": how}
    assert [hit["id"] for hit in results_of(client, body)] == ids


def test_what_is_dropped_is_counted_and_not_logged(client, reranker, caplog):
    def counted(how):
        found = re.search(rf'missing_total{{missing="{how}"}} (\S+)', client.get("/metrics").text)
        return float(found[1]) if found else 0.0

    documents, scores = ["grey0.png", "new", "red.png", "newer"], [0.9, 0.8, 0.7, 0.6]
    body = {"query": "red", "documents": documents, "top_n": 1}
    for how in ("drop", "keep"):
        before = counted(how)
        for extra in ({}, {"scores": scores}):
            assert results_of(client, {**body, "missing": how, **extra})[0]["id"] == "red.png"
        assert counted(how) == before + 4
    assert not caplog.records
    sent = results_of(client, {**body, "missing": "drop", "scores": scores, "top_n": 0})
    expected = reranker.rank(Text("red"), documents, scores, missing="drop")
    assert "2 of 4 candidates are not in the gallery and were dropped" in caplog.text
    assert [hit["id"] for hit in sent] == [hit.id for hit in expected]
    assert [hit["score"] for hit in sent] == pytest.approx([hit.score for hit in expected])


def test_search_is_first_stage_and_rerank(client, reranker):
    answer = client.post("/search", json={"query": "blue", "top_k": 3, "candidates": 6}).json()
    found = GlobalSearch(reranker.gallery).search(reranker.encode([Text("blue")]), 6)
    ids, scores = reranker.gallery.ids.at(found.rows[0]), found.scores[0].tolist()
    expected = reranker.rank(Text("blue"), ids, scores)
    assert answer["fallback"] is False
    for hit, twin in zip(answer["hits"], expected, strict=False):
        assert hit.pop("box") == pytest.approx(twin.box)
        same = {key: value for key, value in asdict(twin).items() if key != "box"}
        assert hit == {
            key: pytest.approx(value) if isinstance(value, float) else value
            for key, value in same.items()
        }
    assert answer["hits"][0]["id"] == "blue.png"
    assert len(answer["hits"]) == 3
    assert expected[0].box == pytest.approx(BOXES["blue"])
    fewer = client.post("/search", json={"query": "blue", "candidates": 2}).json()
    assert len(fewer["hits"]) == 2


def test_a_batch_is_its_single_requests(client):
    requests = [
        {"query": "red", "documents": NAMES},
        {"query": "green", "top_k": 2},
        {"query": "blue", "texts": NAMES},
        {"query": "red", "documents": ["nope"]},
        {"query": {"vector": [0, 0, 1]}, "documents": NAMES[:2]},
    ]
    first, second, third, fourth, fifth = client.post("/batch", json={"requests": requests}).json()[
        "answers"
    ]
    assert first["results"] == results_of(client, requests[0])
    assert second == client.post("/search", json=requests[1]).json()
    assert third == client.post("/rerank", json=requests[2]).json()
    assert fourth["status"] == 422
    assert "nope" in fourth["detail"]
    assert len(fifth["results"]) == 2


def test_thumbnails_of_its_own_pictures_only(client, colours):
    found = client.get("/images/red.png")
    assert found.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(found.content)).size == (64, 64)
    assert Image.open(io.BytesIO(client.get("/images/red.png?size=1").content)).size == (16, 16)
    assert client.get("/images/red.png?size=99999999").status_code == 200
    tag = found.headers["etag"]
    assert client.get("/images/red.png", headers={"If-None-Match": tag}).status_code == 304
    inside = colours.pictures[0].name
    for name in ("nope", f"../pictures/{inside}", f"..%2Fpictures%2F{inside}", "%00", "../"):
        answer = client.get(f"/images/{name}")
        assert answer.status_code == 404, name
        assert "detail" in answer.json()


def test_it_says_how_it_is(client):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready", "images": 6}
    results_of(client, {"query": "red", "documents": NAMES})
    text = client.get("/metrics").text
    for stage in ("read", "encode", "wait", "score", "answer"):
        assert float(re.search(rf'_count{{stage="{stage}"}} (\S+)', text)[1]) >= 1
    assert "patchrerank_queue 0.0" in text
    assert re.search(r'requests_total{route="/rerank",status="200"}', text)
    assert "patchrerank_fallbacks_total" in text


def test_it_describes_itself_without_loading_anything(running, client):
    made = client.get("/openapi.json").json()
    own = {route.path.replace(":path", "") for route in running.app.routes} - {"/docs"}
    assert set(made["paths"]) == own
    hit = made["paths"]["/rerank"]["post"]["responses"]["200"]["content"]["application/json"]
    keys = hit["schema"]["properties"]["results"]["items"]["properties"]
    result = results_of(client, {"query": "red", "documents": NAMES})[0]
    assert set(keys) == set(result)
    page = client.get("/docs")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert "POST /v2/rerank" in page.text


def test_ids_that_are_numbers_may_be_sent_as_text(tmp_path):
    gallery = made_gallery(tmp_path / "g", "int")
    vector = np.asarray(gallery.global_vectors[0]).tolist()
    with served(Engine(gallery.folder)) as found, found.client() as asking:
        body = {"query": {"vector": vector}, "documents": ["7", -3, {"id": "12"}]}
        assert {hit["id"] for hit in results_of(asking, body)} == {7, -3, 12}
        answer = asking.post("/rerank", json={"query": {"id": "7"}, "documents": ["x"]})
        assert answer.status_code == 422
        assert "whole numbers" in answer.json()["detail"]


def test_ids_that_are_uuids(tmp_path):
    gallery = made_gallery(tmp_path / "g", "uuid")
    names = [str(item) for item in KINDS["uuid"]]
    with served(Engine(gallery.folder)) as found, found.client() as asking:
        body = {"query": {"id": names[0]}, "documents": names}
        assert sorted(hit["id"] for hit in results_of(asking, body)) == sorted(names)


def test_a_stage_of_local_descriptors_takes_no_pictures_as_documents():
    loaded = SimpleNamespace(local_stages=["chamfer"])
    with pytest.raises(RequestError, match="chamfer, which needs local descriptors"):
        PictureVectors(1000, 1000).cascade(loaded, {}, 0.0)


@pytest.mark.parametrize(
    "wrong", [{"max_body": 0}, {"timeout": 0}, {"missing": "no"}, {"token": "ä"}, {"collect": -1}]
)
def test_limits_that_cannot_be(wrong):
    with pytest.raises(SettingError):
        ServiceSettings(**wrong)


@pytest.mark.parametrize(("limit", "nothing"), [(0.01, False), (0.9999, True)])
def test_a_calibrated_service_says_when_nothing_was_found(colours, tmp_path, limit, nothing):
    file, calibration = tmp_path / "recipe.json", Calibration(1.0, 1.0, 0.0, nothing_below=limit)
    replace(Recipe.parse("patchify:all:0.2:4"), calibration=calibration).save(file)
    body = {"query": {"image": uri(colour_query("red"))}, "documents": NAMES}
    with (
        served(Engine(colours.folder, tuned=file, encoder=colour_encoder())) as running,
        running.client() as client,
    ):
        assert client.post("/rerank", json=body).json()["nothing_found"] is nothing
        found = client.post("/search", json={"query": body["query"], "top_k": 3}).json()
        assert found["nothing_found"] is nothing
        assert (
            client.post("/search", json={"query": body["query"], "top_k": 0}).json()["hits"] == []
        )
        several = client.post("/batch", json={"requests": [body]}).json()["answers"]
        assert several[0]["nothing_found"] is nothing


def test_a_service_that_is_not_calibrated_does_not_say_it(client):
    body = {"query": {"image": uri(colour_query("red"))}, "documents": NAMES}
    assert "nothing_found" not in client.post("/rerank", json=body).json()


@pytest.mark.parametrize(
    "memory", [None, *(pytest.param(n, marks=pytest.mark.slow) for n in (0, 1))]
)
def test_finer_rows_of_a_gallery_that_changes_score_on_a_device(tmp_path, memory):
    names = [f"{n}.jpg" for n in range(30)]
    whole = draw_gallery(tmp_path / "g", names, 3, 16, store="float32")
    compress(whole, tmp_path / "both", CompressOptions("rabitq2+int8", progress=False))
    compress(whole, tmp_path / "fine", CompressOptions("int8", progress=False))
    body = {"query": {"vector": np.asarray(whole.global_vectors[0]).tolist()}, "documents": names}
    there = {"on_device": "torch:cpu", "device_memory": memory, "rescore": 1}
    engines = Engine(tmp_path / "both", **there), Engine(tmp_path / "fine")
    for gone in ([], [names[len(names) - 1]]):
        left = [name for name in names if name not in gone]
        for engine in engines if gone else ():
            remove(engine.files[0], gone)
            assert engine.changed
            assert engine.reload().gallery.live_count == len(left)
        found, expected = [], []
        for engine, hits in zip(engines, (found, expected), strict=True):
            with served(engine) as running, running.client() as asking:
                hits += results_of(asking, {**body, "documents": left})
        assert [hit["id"] for hit in found] == [hit["id"] for hit in expected]
        assert [hit["box"] for hit in found] == [hit["box"] for hit in expected]
