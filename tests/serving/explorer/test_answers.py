"""What the page is told over HTTP."""

from __future__ import annotations

import base64
from dataclasses import replace

import numpy as np
import pytest

from learned_twins import SMALL_ELVIS, elvis
from patchrerank.fusion import Fusion
from patchrerank.pipeline import Cascade, Stage
from patchrerank.rerankers import ELViS, RefineBoxes
from patchrerank.rerankers.correlation_map import correlation_map
from patchrerank.rerankers.votes import VoteMap
from patchrerank.serving import Engine, ServiceSettings
from patchrerank.serving.explorer.answers import Answers
from patchrerank.serving.explorer.asked import Kept
from patchrerank.serving.explorer.components import scores_alone
from patchrerank.serving.explorer.evidence import evidence, vote_raster
from patchrerank.testing.made_galleries import made_gallery

QUERY = {"id": "07.png", "box": [0.1, 0.2, 0.7, 0.9], "crop": "box"}


@pytest.fixture(scope="module")
def client(site):
    with site.client() as opened:
        yield opened


def floats(text, *shape):
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(*shape, -1).squeeze()


def detail(answer, status):
    assert answer.status_code == status, answer.text
    return answer.json()["detail"]


def test_about(client, photos):
    told = client.get("/explorer/about").json()
    assert told["images"] == 40 and told["text"] is False and told["why"] == "" and told["pictures"]
    assert [stage["name"] for stage in told["stages"]] == ["patchify", "dense_correlation"]
    assert told["stages"][1] | {"lam": 0.7, "gamma": 1.0, "size": 25} == told["stages"][1]
    assert set(told["sample"]) < {str(each) for each in photos.current.gallery.ids.living()}


def test_why_pictures_cannot_be_asked_names_no_path(tmp_path):
    engine = Engine(made_gallery(tmp_path / "made").folder)
    told = Answers(engine, ServiceSettings(), 10).about()
    assert "made: was imported" in told["why"] and str(tmp_path) not in told["why"]
    assert told["pictures"] is False


def test_a_stage_of_local_descriptors_takes_no_vector(client, photos):
    vector = np.asarray(photos.current.gallery.global_vectors[0]).tolist()
    answer = client.post("/search", json={"query": {"vector": vector}})
    assert "dense_correlation, which needs local" in detail(answer, 422)


def test_the_page_is_whole_and_loads_nothing_from_elsewhere(client):
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy
    for name in ("app.js", "style.css", "icon.svg", "fusion.js"):
        answer = client.get(f"/explorer/{name}")
        assert answer.status_code == 200 and answer.headers["content-security-policy"] == policy
    assert client.get("/explorer/../engine.py").status_code == 404
    assert "http" not in page.text.replace("https://www.w3.org", "")
    assert "style=" not in page.text and "onclick" not in page.text


def test_candidates_come_with_the_scores_of_every_stage(client, photos):
    found = client.post("/explorer/query", json={"query": QUERY}).json()
    now = photos.current
    queries = now.reranker.encode([now.gallery.pictures[now.row_of("07.png")]], [QUERY["box"]])
    shortlist = now.search(queries, 40)
    assert found["ids"] == [str(each) for each in now.gallery.ids.at(shortlist.rows[0])]
    np.testing.assert_allclose(floats(found["global"]), shortlist.scores[0], atol=1e-6)
    for told, stage in zip(found["stages"], now.reranker.stages, strict=True):
        local = stage.reranker.score(queries, shortlist)
        np.testing.assert_allclose(floats(told["scores"]), local.scores[0], atol=1e-6)
        np.testing.assert_allclose(floats(told["boxes"], 40), local.boxes[0], atol=1e-6)


def test_a_pair_has_all_patches_and_maps(client, photos):
    now, name = photos.current, "11.png"
    row = now.row_of(name)
    found = client.post("/explorer/pair", json={"query": QUERY, "id": name}).json()
    queries = now.reranker.encode([now.gallery.pictures[now.row_of("07.png")]], [QUERY["box"]])
    first, last = now.gallery.patch_ends[row - 1], now.gallery.patch_ends[row]
    own = now.gallery.patch_store.decode(np.arange(first, last)) @ queries.vectors[0]
    np.testing.assert_allclose(floats(found["scores"]), own, atol=1e-6)
    np.testing.assert_array_equal(
        floats(found["boxes"], last - first), now.gallery.boxes[first:last]
    )
    patches, correlation = found["maps"]
    assert (patches["name"], correlation["name"]) == ("patches", "correlation")
    made = floats(patches["values"])
    assert len(made) == 32 * 32 and own.min() - 1e-6 <= made.min() <= made.max() <= own.max() + 1e-6
    twin = correlation_map(queries.local[0].vectors, now.gallery.local, row)
    np.testing.assert_allclose(floats(correlation["values"], *twin.shape[:1]), twin, atol=1e-6)


def test_maps_of_local_descriptors_need_no_stage_that_uses_them(photo_gallery):
    plain = Answers(Engine(photo_gallery), ServiceSettings(), 100)
    found = plain.pair({"query": {"id": "07.png"}, "id": "11.png"})
    assert [each["name"] for each in found["maps"]] == ["patches", "correlation"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({}, "expected an object"),
        ({"query": {}}, "one of picture, id and text"),
        ({"query": {"id": "07.png", "text": "x"}}, "one of picture, id and text"),
        ({"query": {"id": 7}}, "one of picture, id and text"),
        ({"query": {"id": "none.png"}}, "none.png"),
        ({"query": {"text": "a cup"}}, "text tower"),
        ({"query": {**QUERY, "box": [0, 0, 1]}}, "x0, y0, x1, y1"),
        ({"query": {**QUERY, "box": [0.5, 0.5, 0.1, 0.9]}}, "box"),
        ({"query": {**QUERY, "crop": "all"}}, "none or box"),
        ({"query": QUERY, "settings": []}, "one a stage"),
        ({"query": QUERY, "settings": [{}, {}]}, "lam, gamma and size"),
        ({"query": QUERY, "settings": [{"lam": 2, "gamma": 1, "size": 5}] * 2}, "lam"),
        (
            {"query": QUERY, "settings": [{"lam": 0, "gamma": 1, "size": n} for n in (5, 9)]},
            "must not grow",
        ),
    ],
)
def test_bad_questions_are_answered_with_a_sentence(client, body, why):
    assert why in detail(client.post("/explorer/query", json=body), 422)


def test_pictures_are_held_by_their_content(client, photo_folder):
    content = (photo_folder / "01.png").read_bytes()
    told = client.post("/explorer/pictures", content=content).json()
    assert told == client.post("/explorer/pictures", content=content).json()
    shown = client.get(f"/explorer/pictures/{told['picture']}")
    assert shown.headers["content-type"] == "image/jpeg" and shown.content[:2] == b"\xff\xd8"
    assert "send it again" in detail(client.get("/explorer/pictures/0"), 410)
    lost = {"query": {"picture": "0" * 32}}
    assert "send it again" in detail(client.post("/explorer/query", json=lost), 410)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_refused(client, content):
    assert "the picture" in detail(client.post("/explorer/pictures", content=content), 422)


def test_the_newest_fit_and_one_always_does():
    kept = Kept(10, len)
    for name in ("a" * 4, "b" * 4, "c" * 4):
        kept.put(name, name)
    assert [kept.get(name * 4) for name in "abc"] == [None, "b" * 4, "c" * 4]
    kept.put("c" * 4, "d" * 30)
    assert kept.get("c" * 4) == "d" * 30 and kept.get("b" * 4) is None


def test_a_stage_of_elvis_shows_its_votes(photos):
    now = photos.current
    gallery = now.gallery
    network = elvis(replace(SMALL_ELVIS, local_dim=gallery.local.dim))
    queries = now.reranker.encode([gallery.pictures[3]])
    for stage in (ELViS(gallery, network=network), RefineBoxes(ELViS(gallery, network=network))):
        reranker = Cascade([Stage(stage, Fusion(0.5, 0.5, 10))])
        found = evidence(reranker, queries, 5)
        assert [each.name for each in found.maps] == ["patches", "correlation", "votes"]
        votes = ELViS(gallery, network=network).vote_map(queries.local[0], 5)
        assert found.maps[2].values.max() == votes.votes.max()
        assert not scores_alone(stage)


def test_votes_lie_in_their_cells():
    votes = VoteMap(
        1.0, *([np.empty(0)] * 3), np.float32([[0.25, 0.75], [0.25, 0.75], [1, 0]]),
        np.full((3, 2), 0.5, np.float32), np.float32([0.2, 0.9, 0.4]), *([np.empty(0)] * 3),
    )  # fmt: skip
    found = vote_raster(votes, 4)
    np.testing.assert_array_equal(found[2:, :2], np.float32(0.9))
    np.testing.assert_array_equal(found[0, 3:], np.float32(0.4))
    assert np.count_nonzero(found) == 5
