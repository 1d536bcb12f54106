"""Weights of learned rerankers: from files, refused without running anything; codes on disk."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from learned_twins import DIM, SMALL_AMES, ames, elvis, setting, torch_threads
from patchrerank.encoders import Preprocessing, load_dense_encoder
from patchrerank.errors import EncoderError, GalleryError, PatchRerankError, QueryError
from patchrerank.gallery import (
    BuildOptions,
    Gallery,
    LocalOptions,
    LocalQueries,
    LocalStore,
    build_gallery,
    build_local,
    encode_local_queries,
    verify_local,
)
from patchrerank.regions import GridPyramid
from patchrerank.rerankers import (
    AMES,
    AmesConfig,
    AmesSettings,
    ELViS,
    ElvisConfig,
    compact_local,
    load_ames,
    load_elvis,
)
from patchrerank.rerankers import compact as compacting
from patchrerank.rerankers.networks.projection import coding_digest
from patchrerank.types import Queries, Shortlist

REFERENCE = Path(__file__).parents[1] / "reference"
LOADERS = {
    "ames": (load_ames, AMES, REFERENCE / "ames_model" / "fp" / "checkpoint.pt", "mtc_token"),
    "elvis": (load_elvis, ELViS, REFERENCE / "elvis_model" / "fp" / "checkpoint.pt", "f.3.bias"),
}


@pytest.fixture(autouse=True)
def one_thread():
    with torch_threads(1):
        yield


@pytest.fixture(params=LOADERS)
def method(request):
    return LOADERS[request.param]


def state_of(path):
    return torch.load(path, weights_only=True)["state"]


def same(network, state):
    found = network.state_dict()
    return set(found) == set(state) and all(torch.equal(found[key], state[key]) for key in state)


def test_files_of_any_wrapping_are_read(method, tmp_path):
    load, _, path, _ = method
    state = state_of(path)
    contents = {
        "bare": state,
        "trained": {"state": state, "optim": {"lr": 0.1, "steps": [1, 2]}, "epoch": 3},
        "parallel": {"state": {f"module.{key}": value for key, value in state.items()}},
        "wide": {"state": {key: value.double() for key, value in state.items()}},
    }
    for name, content in contents.items():
        torch.save(content, tmp_path / f"{name}.pt")
        network = load(tmp_path / f"{name}.pt")
        assert same(network, state), name
        assert not network.training
        assert not any(weight.requires_grad for weight in network.parameters())
        assert {weight.dtype for weight in network.parameters()} == {torch.float32}
    save_file(state, tmp_path / "x.safetensors")
    assert same(load(str(tmp_path / "x.safetensors")), state)


def test_safetensors_beside_the_recorded_checkpoint_agree():
    folder = REFERENCE / "ames_model" / "fp"
    assert same(load_ames(folder / "weights.safetensors"), state_of(folder / "checkpoint.pt"))


def test_loading_draws_no_random_numbers(method):
    before = torch.random.get_rng_state()
    method[0](method[2])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_other_keys(method, tmp_path):
    load, kind, path, key = method
    state = state_of(path)
    wrong = {
        "missing": {name: value for name, value in state.items() if name != key},
        "unexpected": {**state, "surplus.weight": torch.zeros(2)},
    }
    for word, content in wrong.items():
        file = tmp_path / f"{word}.pt"
        torch.save({"state": content}, file)
        with pytest.raises(EncoderError) as caught:
            kind(setting()[0], checkpoint=file)
        assert str(file) in str(caught.value)
        assert (key if word == "missing" else "surplus.weight") in str(caught.value)
    torch.save({"state": {"fc.weight": torch.zeros(3, 3)}}, tmp_path / "resnet.pt")
    with pytest.raises(EncoderError, match=r"resnet\.pt: no entry '\w+', so this is no checkpoint"):
        load(tmp_path / "resnet.pt")


def test_other_shapes(method, tmp_path):
    load, _, path, key = method
    state = state_of(path)
    file = tmp_path / "other.pt"
    torch.save({"state": {**state, key: torch.zeros(3, 7)}}, file)
    with pytest.raises(EncoderError) as caught:
        load(file)
    assert str(file) in str(caught.value) and key in str(caught.value)
    torch.save({"state": {**state, "remap_local.0.weight": torch.zeros(4)}}, file)
    with pytest.raises(EncoderError, match=r"other\.pt: entry 'remap_local.0.weight' has"):
        load(file)


def test_another_configuration_than_the_files(method):
    load, _, path, _ = method
    config = AmesConfig() if load is load_ames else ElvisConfig()
    with pytest.raises(EncoderError, match=r"checkpoint\.pt does not fit.*remap_local.0.weight"):
        load(path, config=config)


def test_one_method_with_the_others_file():
    with pytest.raises(EncoderError, match="no checkpoint of AMES; it looks like one of ELViS"):
        load_ames(LOADERS["elvis"][2])
    with pytest.raises(EncoderError, match="no checkpoint of ELViS; it looks like one of AMES"):
        load_elvis(LOADERS["ames"][2])


def test_values_that_are_not_finite(method, tmp_path):
    load, _, path, key = method
    state = state_of(path)
    state[key] = torch.full_like(state[key], torch.nan)
    torch.save({"state": state}, tmp_path / "nan.pt")
    with pytest.raises(EncoderError, match=f"nan.pt: entry '{key}' holds NaN"):
        load(tmp_path / "nan.pt")


def test_files_that_are_none(method, tmp_path):
    load, _, path, _ = method
    with pytest.raises(EncoderError, match="no such checkpoint file"):
        load(tmp_path / "absent.pt")
    for name, content in {
        "empty.pt": b"",
        "text.pt": b"hello",
        "x.safetensors": b"\x08" * 40,
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(EncoderError, match=name):
            load(tmp_path / name)
    whole = path.read_bytes()
    for share in (0.3, 0.9, 0.999):
        (tmp_path / "cut.pt").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(EncoderError, match=r"cut\.pt: not a checkpoint that can be"):
            load(tmp_path / "cut.pt")
    torch.save({"state": {"mtc_token": "text"}}, tmp_path / "odd.pt")
    with pytest.raises(EncoderError, match=r"odd\.pt: entry 'mtc_token' is a str"):
        load(tmp_path / "odd.pt")
    torch.save([1, 2, 3], tmp_path / "list.pt")
    with pytest.raises(EncoderError, match=r"list\.pt: holds no weights"):
        load(tmp_path / "list.pt")


class Evil:
    """Unpickling it writes a file."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def test_code_in_a_file_does_not_run(method, tmp_path):
    load, _, path, _ = method
    mark = tmp_path / "ran"
    content = {"state": state_of(path), "optim": Evil(mark)}
    torch.save(content, tmp_path / "evil.pt")
    torch.save(content, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Evil(mark)))
    hidden = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(hidden, "w") as target:
        for name in source.namelist():
            evil = pickle.dumps(Evil(mark), protocol=2)
            target.writestr(name, evil if name.endswith("data.pkl") else source.read(name))
    (tmp_path / "zip.pt").write_bytes(hidden.getvalue())
    for name in ("evil.pt", "old.pt", "plain.pkl", "zip.pt"):
        with pytest.raises(PatchRerankError, match=f"{name}: not a checkpoint that can be"):
            load(tmp_path / name)
        assert not mark.exists()
    pickle.loads((tmp_path / "plain.pkl").read_bytes())
    assert mark.exists(), "the same file would have run it"


def test_importing_the_rerankers_imports_no_torch():
    code = "import sys, patchrerank.rerankers; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


class Cells(torch.nn.Module):
    """Sixteen colour mixtures of each 8 × 8 pixels."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.mix = torch.nn.Parameter(torch.randn(DIM, 3, 1, 1, generator=generator))

    def forward(self, pixels):
        return torch.nn.functional.conv2d(torch.nn.functional.avg_pool2d(pixels, 8), self.mix)


@pytest.fixture(scope="module")
def dense():
    plain = Preprocessing((32, 32), (0.5,) * 3, (0.25,) * 3, "area")
    return load_dense_encoder(
        Cells(), preprocessing=plain, image_size=32, stride=8, device="cpu", name="cells"
    )


@pytest.fixture(scope="module")
def local_gallery(tmp_path_factory, photo_folder, tiny_encoder, dense):
    folder = tmp_path_factory.mktemp("learned") / "g"
    quiet = BuildOptions(progress=False)
    gallery = build_gallery(folder, photo_folder, tiny_encoder, GridPyramid(0), quiet)
    build_local(gallery, dense, LocalOptions(store="float32", progress=False))
    return gallery


@pytest.fixture(scope="module")
def asked(local_gallery, dense):
    """Queries and shortlists of the gallery's own pictures."""
    local = encode_local_queries(dense, [local_gallery.pictures[row] for row in (3, 20)])
    rows = np.stack([np.arange(30), np.arange(39, 9, -1)])
    ranks = np.tile(np.linspace(1, 0, 30, dtype=np.float32), (2, 1))
    return Queries(local_gallery.global_vectors[[3, 20]], local=local), Shortlist(rows, ranks)


@pytest.mark.parametrize("binarised", [False, True])
def test_ames_scores_codes_as_it_scores_descriptors(tmp_path, local_gallery, asked, binarised):
    network = ames(replace(SMALL_AMES, binarized=binarised))
    codes = compact_local(local_gallery, network, tmp_path / "codes", progress=False)
    assert codes.manifest.store == ("binary" if binarised else "float16")
    assert codes.store.bytes_per_row == (4 if binarised else 64), "of 32 dimensions"
    assert len(codes) == len(local_gallery) and codes.dim == 32
    assert verify_local(codes) == []
    raw, coded = (
        AMES(local_gallery, network=network, local=local).score(*asked).scores
        for local in (None, codes)
    )
    assert np.isfinite(raw).all() and raw.std() > 0.01
    np.testing.assert_allclose(coded, raw, rtol=0, atol=1e-6)


def test_codes_of_the_published_size(tmp_path, local_gallery, asked):
    for binarised, size in ((False, 256), (True, 16)):
        network = ames(AmesConfig(DIM, layers=1, binarized=binarised))
        codes = compact_local(local_gallery, network, tmp_path / str(size), count=5, progress=False)
        assert codes.store.bytes_per_row == size
        assert np.diff(codes.ends, prepend=0).tolist() == [5] * len(local_gallery)
        found = AMES(local_gallery, network=network, local=codes).score(*asked)
        limited = AMES(local_gallery, network=network, settings=AmesSettings(600, 5)).score(*asked)
        np.testing.assert_allclose(found.scores, limited.scores, rtol=0, atol=1e-6)


def test_elvis_scores_codes_nearly_as_descriptors(tmp_path, local_gallery, asked):
    for name, network in (("fp", elvis()), ("bits", elvis(ElvisConfig(DIM, 8, 8, binarized=True)))):
        codes = compact_local(local_gallery, network, tmp_path / name, progress=False)
        raw, coded = (
            ELViS(local_gallery, network=network, local=local).score(*asked)
            for local in (None, codes)
        )
        np.testing.assert_allclose(coded.scores, raw.scores, rtol=2e-3 if name == "fp" else 1e-5)
        np.testing.assert_allclose(coded.boxes, raw.boxes, atol=0.3)


def test_a_killed_run_is_continued(tmp_path, local_gallery, monkeypatch):
    monkeypatch.setattr(compacting, "CHUNK", 8)
    network = ames()
    whole = compact_local(local_gallery, network, tmp_path / "whole", progress=False)

    def die(self, row, known=LocalStore.descriptors_of):
        if row == 21:
            raise KeyboardInterrupt
        return known(self, row)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "descriptors_of", die)
        with pytest.raises(KeyboardInterrupt):
            compact_local(local_gallery, network, tmp_path / "cut", progress=False)
    with pytest.raises(GalleryError, match="half-written"):
        LocalStore(tmp_path / "cut")
    again = compact_local(local_gallery, network, tmp_path / "cut", progress=False)
    for name in ("descriptors", "ends", "positions", "scales", "weights"):
        assert np.array_equal(again.array(name), whole.array(name))
    with pytest.raises(GalleryError):
        compact_local(local_gallery, ames(seed=1), tmp_path / "cut", progress=False)


def test_codes_of_others_are_refused(tmp_path, local_gallery, asked, dense):
    network = ames()
    codes = compact_local(local_gallery, network, progress=False)
    assert codes.folder == local_gallery.folder / f"codes-{coding_digest(network)[:8]}"
    with pytest.raises(GalleryError, match="codes of other weights"):
        AMES(local_gallery, network=ames(seed=1), local=codes).score(*asked)
    with pytest.raises(GalleryError, match="16 dimensions, the network takes 768"):
        AMES(local_gallery, network=ames(AmesConfig(layers=1))).score(*asked)
    strange = Queries(asked[0].vectors, local=LocalQueries(asked[0].local, "somebody else's"))
    with pytest.raises(QueryError, match="were made by somebody"):
        AMES(local_gallery, network=network, local=codes).score(strange, asked[1])
    with pytest.raises(QueryError, match="were made by somebody"):
        AMES(local_gallery, network=network).score(strange, asked[1])
    for one in (strange.take([0]), replace(strange, local=list(strange.local)).take([0])):
        for scorer in (
            AMES(local_gallery, network=network, local=codes),
            AMES(local_gallery, network=network),
        ):
            with pytest.raises(QueryError, match="were made by somebody"):
                scorer.score(one, Shortlist(asked[1].rows[:1], asked[1].scores[:1]))
    narrow = [replace(item, vectors=item.vectors[:, :4]) for item in asked[0].local]
    with pytest.raises(QueryError, match="4 dimensions"):
        AMES(local_gallery, network=network, local=codes).score(
            Queries(asked[0].vectors, local=narrow), asked[1]
        )
    shutil.rmtree(codes.folder)


def test_codes_of_other_images_are_refused(
    tmp_path, local_gallery, asked, photo_folder, tiny_encoder
):
    network = ames()
    codes = compact_local(local_gallery, network, tmp_path / "codes", progress=False)
    few = sorted(photo_folder.glob("*.png"))[:9]
    for file in few:
        shutil.copy(file, tmp_path / file.name)
    quiet = BuildOptions(progress=False)
    other = build_gallery(tmp_path / "g", tmp_path, tiny_encoder, GridPyramid(0), quiet)
    with pytest.raises(GalleryError, match="of 40 other images than the gallery's"):
        AMES(other, network=network, local=codes).score(*asked)


def test_codes_alone_are_enough(tmp_path, local_gallery, asked):
    """The descriptors themselves may be thrown away."""
    network = ames()
    codes = compact_local(local_gallery, network, tmp_path / "codes", progress=False)
    expected = AMES(local_gallery, network=network).score(*asked).scores
    copy = tmp_path / "g"
    shutil.copytree(local_gallery.folder, copy, ignore=shutil.ignore_patterns("local"))
    gallery = Gallery(copy)
    assert not gallery.has_local
    with pytest.raises(GalleryError, match="has no local descriptors"):
        AMES(gallery, network=network).score(*asked)
    found = AMES(gallery, network=network, local=codes).score(*asked).scores
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    shutil.copytree(codes.folder, copy / "local")
    with pytest.raises(GalleryError, match="holds codes already"):
        compact_local(Gallery(copy), network, progress=False)
    found = AMES(Gallery(copy), network=network).score(*asked).scores
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", [AMES, ELViS])
def test_drop_in_call_with_a_checkpoint(tmp_path, local_gallery, tiny_encoder, dense, kind):
    network = ames() if kind is AMES else elvis()
    torch.save({"state": network.state_dict()}, tmp_path / "c.pt")
    reranker = kind(local_gallery, tiny_encoder, dense_encoder=dense, checkpoint=tmp_path / "c.pt")
    ids = list(local_gallery.ids[:12])
    file = local_gallery.pictures[7]
    hits = reranker.rank(file, ids, box=[0.1, 0.1, 0.9, 0.9])
    assert sorted(hit.id for hit in hits) == sorted(ids)
    scores = [hit.local_score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert all((hit.box is None) for hit in hits) or kind is ELViS
    assert reranker.rank(file, []) == []
    again = kind(local_gallery, tiny_encoder, dense_encoder=dense, network=network)
    assert [hit.id for hit in again.rank(file, ids, box=[0.1, 0.1, 0.9, 0.9])] == [
        hit.id for hit in hits
    ]
    with pytest.raises(QueryError, match="dense_encoder"):
        kind(local_gallery, tiny_encoder, network=network).rank(file, ids)
