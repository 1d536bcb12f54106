"""What all adapters share: ids of any kind, queries as strings, settings."""

from __future__ import annotations

import base64
import io
from uuid import UUID

import numpy as np
import pytest

from patchrerank import Text
from patchrerank.errors import QueryError, SettingError, ShortlistError
from patchrerank.gallery import Gallery, import_gallery
from patchrerank.integrations.frameworks.candidates import rows_of_any
from patchrerank.integrations.frameworks.reranking import Reranking
from patchrerank.rerankers import Patchify
from patchrerank.testing.colours import COLOURS, IDS, colour_encoder, colour_gallery, colour_query


@pytest.fixture(scope="module")
def reranking(tmp_path_factory):
    gallery = colour_gallery(tmp_path_factory.mktemp("colours"))
    return Reranking(Patchify(gallery, colour_encoder()))


UUIDS = [UUID(int=n + 1) for n in range(6)]


@pytest.fixture(scope="module")
def others(reranking, tmp_path_factory):
    """The same gallery with whole numbers and with UUIDs as ids."""
    made, root = reranking.ranker.gallery, tmp_path_factory.mktemp("others")
    order = np.argsort(IDS)  # rows are in the order of names
    for kind, ids in (("int", range(10, 16)), ("uuid", UUIDS)):
        named = dict(zip(IDS, ids, strict=True))
        import_gallery(
            root / kind,
            ids=[named[IDS[place]] for place in order],
            global_vectors=np.asarray(made.global_vectors),
            patches=np.asarray(made.patches),
            counts=np.full(6, 30),
            encoder="mean colours",
            regions="grid:3",
            progress=False,
        )
    return {kind: Gallery(root / kind) for kind in ("int", "uuid")}


@pytest.mark.parametrize("kind", ["int", "uuid"])
@pytest.mark.parametrize("as_text", [False, True])
def test_ids_of_any_kind(others, kind, as_text):
    ids = list(range(10, 16)) if kind == "int" else UUIDS
    given = [str(item) for item in ids] if as_text else ids
    vector = np.array(COLOURS["green"], dtype=np.float32)
    placed = Reranking(Patchify(others[kind])).place(vector / np.linalg.norm(vector), given)
    assert placed[0].index == IDS.index("green.png")
    assert placed[0].hit.id == ids[1]


@pytest.mark.parametrize(
    "strange", [None, "7", 7, 7.5, True, b"red.png", ("red.png",), UUID(int=9)]
)
def test_what_is_no_id_is_a_stranger(reranking, strange):
    placed = reranking.place("red", [strange, "grey0.png", "red.png"])
    assert [one.index for one in placed] == [0, 2, 1]
    assert placed[0].hit.status == "kept"


@pytest.mark.parametrize("strange", [True, "x", 7.0, None, 2**70])
def test_what_is_no_whole_number(others, strange):
    assert rows_of_any(others["int"], [strange, "12", np.int32(12)]).tolist()[0] == -1
    assert (rows_of_any(others["int"], ["12", np.int32(12), 12]) >= 0).all()


def test_several_candidates_without_an_id_stay_apart(reranking):
    placed = reranking.place("red", [None, "grey0.png", None, "red.png"])
    assert [one.index for one in placed] == [0, 3, 2, 1]


def test_parts_of_a_picture_stay_together(reranking):
    ids = ["grey0.png", "red.png", "grey1.png", "red.png", "x", "x"]
    placed = reranking.place("red", ids, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    assert [one.index for one in placed[:2]] == [1, 3]
    assert sorted(one.index for one in placed) == list(range(6))
    scores = [one.score for one in placed]
    assert all(np.diff(scores) < 0)


def test_missing_as_it_is_said(reranking):
    ids = ["new.png", "red.png"]
    drop = Reranking(reranking.ranker, missing="drop")
    assert [one.index for one in drop.place("red", ids)] == [1]
    with pytest.raises(ShortlistError, match=r"new.png"):
        Reranking(reranking.ranker, missing="error").place("red", ids)


def test_a_batch_is_its_queries_one_by_one(reranking):
    queries = ["red", colour_query("green"), Text("blue"), "nothing"]
    ids = [list(IDS), list(IDS)[::-1], list(IDS)[:3], []]
    together = reranking.place_batch(queries, ids)
    assert together == [reranking.place(q, names) for q, names in zip(queries, ids, strict=True)]
    assert together[3] == []


def test_a_vector_of_another_dimension(reranking):
    with pytest.raises(QueryError, match="dimensions"):
        reranking.place(np.ones(5, dtype=np.float32) / 5**0.5, list(IDS))


def data_uri(name):
    file = io.BytesIO()
    colour_query(name).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def test_strings_are_pictures_only_where_it_is_said(reranking):
    uri = data_uri("green")
    assert isinstance(reranking.query(uri), Text)
    for how in ("image", "auto"):
        placed = Reranking(reranking.ranker, how).place(uri, list(IDS))
        assert placed[0].hit.id == "green.png"
    auto = Reranking(reranking.ranker, "auto")
    assert isinstance(auto.query("red.png"), Text)  # no such file
    assert isinstance(auto.query("/etc/passwd"), Text)  # no picture's name
    assert isinstance(auto.query("a\0.png"), Text)


@pytest.mark.parametrize("uri", ["data:image/png,abc", "data:image/png;base64,!", "data:x"])
def test_a_broken_data_uri_is_named(reranking, uri):
    with pytest.raises(QueryError, match="no picture as a data URI"):
        Reranking(reranking.ranker, "image").place(uri, list(IDS))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ranker": "patchify"}, "ranker is"),
        ({"query_is": "sound"}, "use text, image or auto"),
        ({"missing": "ignore"}, "use 'error', 'keep' or 'drop'"),
        ({"templates": ["no place"]}, "once, where the words go"),
    ],
)
def test_settings_are_checked(reranking, settings, message):
    with pytest.raises(SettingError, match=message):
        Reranking(**{"ranker": reranking.ranker, **settings})


def test_a_cut_may_be_numpys(reranking):
    assert len(reranking.place("red", list(IDS), top_k=np.int64(2))) == 2


@pytest.mark.parametrize("cut", [-1, 1.5, "2", True])
def test_a_cut_is_a_count(reranking, cut):
    with pytest.raises(SettingError, match="top_k must be"):
        reranking.place("red", list(IDS), top_k=cut)
