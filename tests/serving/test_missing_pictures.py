"""A picture that is not where the gallery has it is the service's fault, not the client's."""

from __future__ import annotations

import pytest
from tests.serving.explorer.conftest import explored

from patchrerank.serving import Engine
from patchrerank.testing.colours import BOXES, IDS, colour_encoder, colour_gallery
from served import served

NAMES = list(IDS)
ASKED = {"query": {"id": "red.png"}, "box": BOXES["red"]}


@pytest.fixture
def gallery(tmp_path):
    made = colour_gallery(tmp_path)
    made.pictures[int(made.rows_of(["red.png"])[0])].unlink()
    return made


@pytest.fixture
def client(gallery):
    with explored(Engine(gallery.folder, encoder=colour_encoder())) as own, own.client() as asking:
        yield asking


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/rerank", {**ASKED, "documents": NAMES}),
        ("/search", ASKED),
        ("/explorer/query", {"query": {"id": "red.png", "box": BOXES["red"], "crop": "box"}}),
    ],
)
def test_a_query_by_id_whose_picture_is_gone(client, gallery, path, body):
    answer = client.post(path, json=body)
    assert answer.status_code == 503, answer.text
    told = answer.json()["detail"]
    assert "red.png: no such file" in told and str(gallery.folder.parent) not in told
    assert "Retry-After" not in answer.headers


def test_it_answers_as_soon_as_the_picture_is_back(client, gallery):
    other, gone = (gallery.pictures.path(row) for row in gallery.rows_of(["blue.png", "red.png"]))
    gone.write_bytes(other.read_bytes()[:100])
    assert client.post("/search", json=ASKED).status_code == 503
    gone.write_bytes(other.read_bytes())
    assert client.post("/search", json=ASKED).status_code == 200


def test_in_a_batch_and_what_needs_no_picture(client):
    requests = [ASKED, {"query": {"id": "red.png"}}, {"query": {"id": "nope"}}]
    gone, plain, unknown = client.post("/batch", json={"requests": requests}).json()["answers"]
    assert (gone["status"], unknown["status"]) == (503, 422)
    assert plain["hits"][0]["id"] == "red.png"
    assert client.get("/images/red.png").status_code == 404


def test_a_candidate_whose_picture_a_stage_needs(gallery):
    body = {"query": {"id": "blue.png"}, "documents": NAMES}
    engine = Engine(gallery.folder, "spatial:3:0.5:0.1", encoder=colour_encoder())
    with served(engine) as own, own.client() as asking:
        answer = asking.post("/rerank", json={**body, "documents": ["red.png", "blue.png"]})
        assert answer.status_code == 503, answer.text
        kept = asking.post("/rerank", json={**body, "documents": ["green.png", "blue.png"]})
        assert kept.status_code == 200, kept.text
