"""Projections to signs: ITQ, and those that imitate a full-precision projection."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from patchrerank.errors import EncoderError
from patchrerank.rerankers.networks.ames_network import AmesNetwork
from patchrerank.rerankers.networks.configs import AmesConfig, ElvisConfig
from patchrerank.training.initial import new_network, start_from
from patchrerank.training.run import _teacher
from patchrerank.training.signs import itq

DIM = 200
AMES, ELVIS = AmesConfig(DIM, 128, 2, 1, 16), ElvisConfig(DIM, 8, 8)


def test_itq_keeps_neighbours_and_ignores_the_mean():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(40, 24)) + 3
    vectors = np.repeat(centres, 25, axis=0) + 0.3 * rng.normal(size=(1000, 24))
    projection = itq(vectors.astype(np.float32), 16)
    assert projection.shape == (24, 16) and projection.dtype == np.float32
    np.testing.assert_allclose(projection.T @ projection, np.eye(16), atol=1e-4)
    bits = np.sign(vectors @ projection)
    assert (np.abs(bits.mean(axis=0)) < 0.5).all(), "no bit is the same for nearly all"
    agree = bits @ bits.T / 16
    labels = np.repeat(np.arange(40), 25)
    same_label = labels[:, None] == labels
    assert agree[same_label].mean() > 0.6 > 0.2 > agree[~same_label].mean()
    with pytest.raises(EncoderError, match="ITQ"):
        itq(vectors.astype(np.float32), 24)


@pytest.fixture(scope="module")
def sample():
    """Descriptors whose directions matter unequally, away from the origin."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=(800, DIM)) * np.linspace(2, 0.2, DIM) + 0.5).astype(np.float32)


def full_precision(config, sample, path):
    """A network as training leaves it: no weight of its projection is what it was drawn as."""
    network = new_network(config, sample, 1).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in network.remap_local.parameters():
            value.add_(0.3 * torch.randn(value.shape, generator=generator))
        network.remap_local[1].weight[:64] = 0.01
    torch.save({"state": network.state_dict()}, path)
    return network


@pytest.mark.parametrize("config", [AMES, pytest.param(ELVIS, marks=pytest.mark.slow)])
def test_a_binarised_network_begins_near_a_full_precision_one(tmp_path, sample, config):
    full = full_precision(config, sample, tmp_path / "full.pt")
    near, again = (new_network(replace(config, binarized=True), sample, seed) for seed in (2, 3))
    start_from(near, tmp_path / "full.pt", sample)
    start_from(again, tmp_path / "full.pt", sample)
    own, other = near.state_dict(), again.state_dict()
    assert all(torch.equal(own[key], other[key]) for key in own), "nothing is left of the draw"
    layers = [key for key in own if not key.startswith("remap_local.")]
    assert layers and all(torch.equal(own[key], full.state_dict()[key]) for key in layers)
    assert torch.equal(own["remap_local.2.weight"], full.remap_local[1].weight)
    vectors = torch.nn.functional.normalize(torch.from_numpy(sample[:500]), dim=-1)
    near.eval()
    with torch.no_grad():
        wanted, found = full.query_side(vectors), near.query_side(vectors)
        apart = float(((found - wanted) ** 2).mean() / wanted.var())
        near.remap_local[0].W.copy_(torch.from_numpy(itq(sample, 128)))
        lost = float(((near.query_side(vectors) - wanted) ** 2).mean() / wanted.var())
    assert apart < 0.5 < lost


def test_signs_are_those_of_what_the_layer_norm_shows(tmp_path, sample):
    """Half of the dimensions hardly count: signs made without the norm keep less of the rest."""
    full = full_precision(AMES, sample, tmp_path / "full.pt")
    near = new_network(replace(AMES, binarized=True), sample)
    start_from(near, tmp_path / "full.pt", sample)
    weight = full.remap_local[0].weight.detach().double().numpy()
    blind = itq(sample, 128, 0, weight.T)
    vectors = sample[:400] / np.linalg.norm(sample[:400], axis=1, keepdims=True)
    with torch.no_grad():
        codes = full.codes(torch.from_numpy(vectors)).numpy()
    codes -= codes.mean(axis=0)
    wanted = np.corrcoef(codes)[np.triu_indices(len(codes), 1)]

    def agreement(projection):
        bits = np.sign(vectors @ projection)
        return np.corrcoef(wanted, (bits @ bits.T)[np.triu_indices(len(bits), 1)])[0, 1]

    own = near.remap_local[0].W.detach().numpy()
    assert agreement(own) > agreement(blind) + 0.05
    assert agreement(own) > agreement(itq(sample, 128)) + 0.05


def test_broken_weights_are_refused(tmp_path, sample):
    full = full_precision(AMES, sample, tmp_path / "full.pt")
    with torch.no_grad():
        full.remap_local[0].weight[3, 4] = torch.nan
    torch.save({"state": full.state_dict()}, tmp_path / "full.pt")
    for config in (AMES, replace(AMES, binarized=True)):
        with pytest.raises(
            EncoderError, match=r"full\.pt: entry 'remap_local\.0\.weight' holds NaN"
        ):
            start_from(new_network(config, sample), tmp_path / "full.pt", sample)


def test_a_teacher_keeps_its_own_heads_and_must_have_the_students_dimensions(tmp_path):
    torch.manual_seed(0)
    config = AmesConfig(12, 16, 4, 1, 16)
    content = {"state": AmesNetwork(config).state_dict()}
    record = {"run": "r", "config": {**vars(config)}}
    torch.save({**content, "training": record}, tmp_path / "own.pt")
    torch.save(content, tmp_path / "authors.pt")

    def teacher(name, **student):
        network = replace(config, heads=2, binarized=True, **student)
        return _teacher(SimpleNamespace(teacher=tmp_path / name, network=network, beta=2.0))

    assert teacher("own.pt").network.config == config
    assert teacher("authors.pt").network.config == replace(config, heads=2)
    assert teacher("own.pt").beta == 2.0
    with pytest.raises(EncoderError, match="dimensions differ"):
        teacher("own.pt", model_dim=8)
