"""Whole rankers carried to another process, with another working directory: the same answers."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
from dataclasses import replace
from operator import methodcaller

import numpy as np
import pytest
import torch

from learned_twins import SMALL_AMES, SMALL_ELVIS, ames, elvis
from loaded_once import encoders_loaded_once
from patchrerank import load_reranker
from patchrerank.calibration import Calibration
from patchrerank.encoders import load_dense_encoder, load_encoder
from patchrerank.errors import EncoderError, GalleryError
from patchrerank.fusion import Fusion
from patchrerank.gallery import (
    BuildOptions,
    Gallery,
    LocalOptions,
    build_gallery,
    build_local,
    encode_queries,
)
from patchrerank.pipeline import make_cascade
from patchrerank.regions import GridPyramid
from patchrerank.rerankers import AMES, RERANKERS
from patchrerank.types import Shortlist
from prepared import python

SPEC, SIDE, DIM = "timm:test_resnet", 64, 96
LOAD = """
import pickle, sys
with open(sys.argv[1], "rb") as file:
    carried, call = pickle.load(file)
with open(sys.argv[2], "wb") as file:
    pickle.dump(call(carried), file)
"""


def elsewhere(tmp_path, carried, call):
    """What a call makes of an object in a new process, in another working directory."""
    folder = tmp_path / "elsewhere"
    folder.mkdir(exist_ok=True)
    given, found = folder / "given.pkl", folder / "found.pkl"
    given.write_bytes(pickle.dumps((carried, call)))
    python("-c", LOAD, given, found, cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return pickle.loads(found.read_bytes())


@pytest.fixture(scope="module")
def made(tmp_path_factory, photo_folder):
    """A small encoder, a gallery with local descriptors, and a checkpoint for each network."""
    folder = tmp_path_factory.mktemp("carried")
    encoder = load_encoder(SPEC, image_size=SIDE, device="cpu", pretrained=False)
    quiet = BuildOptions(progress=False)
    build_gallery(folder / "g", photo_folder / "sub", encoder, GridPyramid(1), quiet)
    dense = load_dense_encoder(SPEC, image_size=128, device="cpu", pretrained=False)
    build_local(Gallery(folder / "g"), dense, LocalOptions(progress=False))
    for name, network in (
        ("ames", ames(replace(SMALL_AMES, local_dim=DIM))),
        ("elvis", elvis(replace(SMALL_ELVIS, local_dim=DIM))),
    ):
        torch.save(network.state_dict(), folder / f"{name}.pt")
    return folder, encoder, dense, photo_folder / "sub"


def ranking(photos, gallery):
    """A call of ``rank`` that another process can make too."""
    scores = np.linspace(1, 0.5, len(gallery)).tolist()
    return methodcaller("rank", photos / "00.png", list(gallery.ids), scores)


def assert_alike(found, hits):
    """The same hits, but for the last digits, which another process's libraries may round."""
    assert [(hit.id, hit.rank) for hit in found] == [(hit.id, hit.rank) for hit in hits]
    for one, other in zip(found, hits, strict=True):
        for name in ("score", "global_score", "local_score", "box", "probability"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-5), name


@pytest.mark.slow
def test_a_whole_cascade(tmp_path, monkeypatch, made):
    folder, encoder, dense, photos = made
    monkeypatch.chdir(folder)  # paths are relative here, and hold over there
    stages = "patchify:all:0.3:4,chamfer+refine:5,ames@ames.pt:4,elvis@elvis.pt:3:0.5:1,spatial:2"
    calibration = Calibration(1.0, 1.0, 0.0)
    cascade = make_cascade(stages, Gallery("g"), encoder, dense, calibration=calibration)
    rank = ranking(photos, cascade.gallery)
    hits = rank(cascade)
    assert hits[0].probability is not None
    assert_alike(elsewhere(tmp_path, cascade, rank), hits)
    again = pickle.loads(pickle.dumps(hits))
    assert again == hits
    assert rank(copy.deepcopy(cascade)) == rank(copy.copy(cascade)) == hits


def test_what_loads_its_encoder_when_a_picture_comes(made):
    folder, *_, photos = made
    ranker = load_reranker(folder / "g", "patchify:all:0.3:4,chamfer:5", query_size=64)
    rank = ranking(photos, ranker.gallery)
    fresh = pickle.loads(pickle.dumps(ranker))
    with encoders_loaded_once():
        hits = rank(ranker)
        assert rank(fresh) == rank(pickle.loads(pickle.dumps(ranker))) == hits
        assert rank(copy.deepcopy(ranker)) == hits


@pytest.mark.parametrize(
    "name", [name for name in RERANKERS if name not in ("ames", "elvis", "pairs")]
)
def test_every_reranker_and_its_copies(made, name):
    folder, _, dense, photos = made
    gallery = Gallery(folder / "g")
    cascade = make_cascade(name, gallery, None, dense)
    queries = replace(cascade.complete(encode_queries(made[1], [photos / "00.png"])), crop="none")
    given = Shortlist.from_ids(gallery, [list(gallery.ids)], None)
    expected = cascade.stages[0].reranker.score(queries, given).scores
    for carry in (lambda it: pickle.loads(pickle.dumps(it)), copy.copy, copy.deepcopy):
        found = carry(cascade.stages[0].reranker).score(carry(queries), carry(given)).scores
        np.testing.assert_array_equal(found, expected)


def test_a_learned_reranker_by_its_network_or_by_its_file_and_digest(tmp_path, made):
    gallery = Gallery(made[0] / "g")
    network = ames(replace(SMALL_AMES, local_dim=DIM))
    own = pickle.loads(pickle.dumps(AMES(gallery, network=network)))
    assert own.fingerprint == AMES(gallery, network=network).fingerprint
    path = tmp_path / "weights.pt"
    torch.save(network.state_dict(), path)
    carried = pickle.dumps(AMES(gallery, checkpoint=path))
    assert len(carried) < 20_000
    assert pickle.loads(carried).settings == AMES(gallery, checkpoint=path).settings
    torch.save(ames(replace(SMALL_AMES, local_dim=DIM), seed=1).state_dict(), path)
    with pytest.raises(EncoderError, match=r"weights\.pt: holds other weights than when .*ames"):
        pickle.loads(carried)


def test_galleries_are_opened_again_by_path(tmp_path, monkeypatch, made):
    monkeypatch.chdir(made[0])
    gallery = Gallery("g")
    carried = [pickle.dumps(part) for part in (gallery, gallery.local)]
    monkeypatch.chdir(tmp_path)
    again, local = map(pickle.loads, carried)
    assert list(again.ids) == list(gallery.ids)
    assert local.identity == gallery.local.identity
    np.testing.assert_array_equal(local.descriptors_of(2).vectors,
                                  gallery.local.descriptors_of(2).vectors)  # fmt: skip


def test_a_gallery_that_was_encoded_anew_meanwhile(tmp_path, photo_folder, tiny_encoder, made):
    quiet = BuildOptions(progress=False)
    carried = pickle.dumps(
        build_gallery(tmp_path / "g", photo_folder / "sub", tiny_encoder, GridPyramid(0), quiet)
    )
    shutil.rmtree(tmp_path / "g")
    with pytest.raises(GalleryError, match="g"):
        pickle.loads(carried)
    build_gallery(tmp_path / "g", photo_folder / "sub", made[1], GridPyramid(0), quiet)
    with pytest.raises(GalleryError, match="was encoded otherwise"):
        pickle.loads(carried)


def test_plain_values():
    shortlist = Shortlist(np.array([[3, 1]]), np.array([[0.5, 0.25]], dtype=np.float32))
    for value in (Fusion(0.3, 4, 10), Calibration(1.0, 2.0, 0.5)):
        assert pickle.loads(pickle.dumps(value)) == value
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(shortlist)).rows, shortlist.rows)


def test_a_change_of_the_working_directory_loses_no_gallery(tmp_path, monkeypatch, made):
    folder, _, _, photos = made
    monkeypatch.chdir(folder)
    opened = Gallery("g", root=os.path.relpath(photos))
    assert str(opened.folder) == "g"
    monkeypatch.chdir(tmp_path)
    assert opened.has_local
    assert len(opened.local) == len(opened)
    assert opened.pictures[0].is_file()
    assert pickle.loads(pickle.dumps(opened)).ids == opened.ids
    cascade = load_reranker(opened)
    found = pickle.loads(pickle.dumps(cascade)).rank(photos / "00.png", list(opened.ids))
    assert found[0].id == "00.png"
