"""What a checkpoint of our own training says of itself, and what becomes of it."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch

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
    content = {"state": network.state_dict(), "training": {"config": asdict(network.config)}}
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
    without = save(tmp_path / "older.pt", ElvisNetwork(ELVIS))
    assert limited(ElvisSettings(), without) == ElvisSettings()


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({"config": asdict(ELVIS)}, "another network than AmesConfig"),
        ({"config": {**asdict(AMES), "heads": 3}}, "another network than AmesConfig"),
        ({"config": [1]}, "damaged"),
        ({"config": {"heads": [1]}}, "damaged"),
        ({"most_descriptors": [1]}, "damaged"),
        ({"most_descriptors": [1, 2.5]}, "damaged"),
        ({"most_descriptors": "ab"}, "damaged"),
        ({"most_descriptors": 3}, "damaged"),
    ],
)
def test_a_damaged_record_is_refused(tmp_path, record, why):
    path = save(tmp_path / "own.pt", AmesNetwork(AMES), **record)
    with pytest.raises(EncoderError, match=rf"own\.pt.*{why}"):
        load_ames(path)
