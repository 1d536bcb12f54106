"""What a checkpoint of our own training says of itself, and what becomes of it."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch

from local_twins import FakeGallery
from patchrerank import rerankers
from patchrerank.errors import EncoderError
from patchrerank.rerankers import AmesSettings, ElvisSettings
from patchrerank.rerankers.ames import load_ames
from patchrerank.rerankers.elvis import load_elvis
from patchrerank.rerankers.networks.ames_network import AmesNetwork
from patchrerank.rerankers.networks.configs import AmesConfig, ElvisConfig
from patchrerank.rerankers.networks.elvis_network import ElvisNetwork
from patchrerank.rerankers.trained import limited

AMES = AmesConfig(12, 16, 4, 2, 16, activation="gelu")
ELVIS = ElvisConfig(12, 8, 8, iterations=3, temperature=4.0)


def save(path, network, **record):
    torch.manual_seed(0)
    content = {
        "state": network.state_dict(),
        "training": {"run": "r", "config": asdict(network.config)},
    }
    content["training"].update(record)
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("network", "load"), [(AmesNetwork(AMES), load_ames), (ElvisNetwork(ELVIS), load_elvis)]
)
def test_what_shapes_do_not_show_is_read_from_the_record(tmp_path, network, load):
    path = save(tmp_path / "own.pt", network)
    found = load(path)
    assert found.config == network.config
    one, other = torch.randn(3, 5, 12), torch.randn(3, 7, 12)
    with torch.no_grad():
        assert torch.equal(found(one, other), network.eval()(one, other))
    torch.save({"state": network.state_dict()}, tmp_path / "authors.pt")
    assert load(tmp_path / "authors.pt").config != network.config, "as published"


def test_no_more_descriptors_than_seen_in_training(tmp_path):
    path = save(tmp_path / "own.pt", ElvisNetwork(ELVIS), most_descriptors=[49, 149])
    assert limited(ElvisSettings(), path).slots == (49, 149)
    assert limited(AmesSettings(), path) == AmesSettings(49, 50)
    assert limited(AmesSettings(None, None), path) == AmesSettings(49, 149)
    assert limited(AmesSettings(), None) == AmesSettings()
    fewest = save(tmp_path / "fewest.pt", ElvisNetwork(ELVIS), most_descriptors=[1, 1])
    assert limited(AmesSettings(), fewest) == AmesSettings(1, 1)
    without = save(tmp_path / "older.pt", ElvisNetwork(ELVIS))
    assert limited(ElvisSettings(), without) == ElvisSettings()


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({"config": {**asdict(AMES), "heads": 3}}, "3 heads do not divide"),
        ({"config": {**asdict(AMES), "heads": 4.0}}, "damaged"),
        ({"config": {**asdict(AMES), "heads": True}}, "damaged"),
        ({"config": {**asdict(AMES), "activation": "tanh"}}, "activation is 'tanh'"),
        ({"config": {"activation": "gelu"}}, "damaged"),
        ({"config": [1]}, "damaged"),
        ({"most_descriptors": [1]}, "damaged"),
        ({"most_descriptors": [1, 2.5]}, "damaged"),
        ({"most_descriptors": [0, 2]}, "damaged"),
        ({"most_descriptors": "ab"}, "damaged"),
        ({"most_descriptors": 3}, "damaged"),
    ],
)
def test_a_damaged_record_is_refused(tmp_path, record, why):
    path = save(tmp_path / "own.pt", AmesNetwork(AMES), **record)
    with pytest.raises(EncoderError, match=rf"own\.pt.*{why}"):
        load_ames(path)


def test_sizes_are_those_of_the_weights_whatever_a_record_says(tmp_path):
    huge = {**asdict(AMES), "layers": 10**9, "feedforward_dim": 10**14, "model_dim": 16.0}
    assert load_ames(save(tmp_path / "own.pt", AmesNetwork(AMES), config=huge)).config == AMES


def test_other_peoples_records_are_left_alone(tmp_path):
    network = AmesNetwork(AmesConfig(12, 16, 2, 2, 16))
    for training in ({"config": {"lr": 0.1}}, {"config": [1]}, [1], {"run": "1", "lr": 2}):
        torch.save({"state": network.state_dict(), "training": training}, tmp_path / "a.pt")
        assert load_ames(tmp_path / "a.pt").config == network.config


def test_a_checkpoint_of_the_other_method_is_named(tmp_path):
    path = save(tmp_path / "own.pt", ElvisNetwork(ELVIS))
    with pytest.raises(EncoderError, match="looks like one of ELViS"):
        load_ames(path)


def test_rerankers_take_no_more_than_was_seen(tmp_path):
    gallery = FakeGallery(None)
    for made, network in (
        (rerankers.AMES, AmesNetwork(AMES)),
        (rerankers.ELViS, ElvisNetwork(ELVIS)),
    ):
        path = save(tmp_path / "own.pt", network, most_descriptors=[5, 7])
        chosen = made(gallery, checkpoint=path).settings
        assert (chosen.query_descriptors, chosen.gallery_descriptors) == (5, 7)
        asked = type(chosen)(90, 80)
        assert made(gallery, checkpoint=path, settings=asked).settings == asked
