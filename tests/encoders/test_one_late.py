"""On an accelerator results are fetched one batch late; here with the same code on the CPU."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from patchrerank.encoders import Preprocessing, load_dense_encoder, load_encoder
from patchrerank.encoders.backends.torch_eager import TorchEager
from patchrerank.encoders.network import Network
from patchrerank.errors import EncoderError
from patchrerank.gallery import BuildOptions, LocalOptions, build_gallery, build_local
from patchrerank.kernels import copies

ACCELERATORS = ["cuda"] * torch.cuda.is_available() + ["mps"] * torch.backends.mps.is_available()
CROPS = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
PARTS = [CROPS[:8], CROPS[8:16], CROPS[16:]]


def small(batch_size=8):
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(48, 16)
    )
    plain = Preprocessing((16, 16), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "area")
    how = {"device": "cpu", "batch_size": batch_size, "name": "small"}
    return load_encoder(module, preprocessing=plain, **how)


@pytest.fixture
def story(monkeypatch):
    """What happened, in order."""
    told, plain = [], copies.begin_fetch

    def begin(tensor):
        number = sum(word.startswith("launch") for word in told)
        told.append(f"launch {number}")
        fetch = plain(tensor)

        def late():
            told.append(f"fetch {number}")
            return fetch()

        return late

    monkeypatch.setattr(copies, "begin_fetch", begin)
    return told


def test_vectors_are_fetched_one_batch_late_and_are_the_same(story):
    encoder, here = small(), small().backend
    story.clear()
    expected = encoder.backend(PARTS)
    assert story == ["launch 0", "fetch 0", "launch 1", "fetch 1", "launch 2", "fetch 2"]
    story.clear()
    encoder.backend.device = "elsewhere"
    encoder.backend._launch = lambda crops: here._launch(crops)
    found = encoder.backend(iter(PARTS))
    np.testing.assert_array_equal(found, expected)
    assert story == ["launch 0", "launch 1", "fetch 0", "launch 2", "fetch 1", "fetch 2"]


def test_an_error_in_a_batch_is_not_lost():
    encoder = small()
    encoder.backend.device = "elsewhere"

    def fails(crops):
        raise EncoderError("too little memory")

    encoder.backend._launch = fails
    with pytest.raises(EncoderError, match="too little memory"):
        encoder.backend(iter(PARTS))


class Cells(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = torch.nn.Conv2d(3, 12, 4, 4)

    def forward(self, pixels):
        return self.mix(pixels)


def dense():
    plain = Preprocessing((16, 16), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "area")
    torch.manual_seed(0)
    how = {"image_size": 16, "stride": 4, "device": "cpu", "batch_size": 2, "name": "cells"}
    return load_dense_encoder(Cells(), preprocessing=plain, **how)


def test_maps_are_fetched_one_batch_late_and_are_the_same(story):
    encoder = dense()
    story.clear()
    prepared = [[crop] for crop in CROPS[:6]]
    expected = encoder.encode(prepared)
    assert story[:3] == ["launch 0", "fetch 0", "launch 1"]
    story.clear()
    encoder.device = "elsewhere"
    found = encoder.encode(prepared)
    assert story == ["launch 0", "launch 1", "fetch 0", "launch 2", "fetch 1", "fetch 2"]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.vectors, other.vectors)


def test_a_gallery_written_while_the_next_chunk_is_encoded_has_the_same_bytes(
    tmp_path, photo_folder
):
    quiet = BuildOptions(progress=False, backgrounds=0)
    plain, local = small(batch_size=2), dense()
    one = build_gallery(tmp_path / "one", photo_folder, plain, "grid:1", quiet)
    build_local(one, local, LocalOptions(progress=False))
    plain.device = local.device = "elsewhere"  # the back end itself stays on the CPU
    two = build_gallery(tmp_path / "two", photo_folder, plain, "grid:1", quiet)
    build_local(two, local, LocalOptions(progress=False))
    files = [path.relative_to(one.folder) for path in one.folder.rglob("*.bin")]
    assert files
    for file in files:
        assert (one.folder / file).read_bytes() == (two.folder / file).read_bytes(), file


@pytest.mark.parametrize("device", ACCELERATORS)
def test_vectors_there_are_those_of_the_cpu(device):
    here = small()
    network = Network("small", copy.deepcopy(here.backend._module), here.preprocessing, "")
    there = TorchEager(network, device=device)
    np.testing.assert_allclose(there(PARTS), here.backend(PARTS), atol=1e-4)


def test_what_is_sent_and_fetched_comes_back():
    for device in ["cpu", *ACCELERATORS]:
        for send in (copies.sent, copies.send_ahead):
            there = send(CROPS, torch.device(device))
            np.testing.assert_array_equal(copies.begin_fetch(there)(), CROPS)
            np.testing.assert_array_equal(copies.fetched(there.device, there, there)[1], CROPS)
