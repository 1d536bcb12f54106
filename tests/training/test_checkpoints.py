"""Changed bytes in a checkpoint of ours are noticed, wherever it is read."""

from __future__ import annotations

import zipfile

import pytest
import torch

from patchrerank.encoders.checkpoint_digests import content_digest
from patchrerank.encoders.checkpoints import read_content
from patchrerank.errors import EncoderError
from patchrerank.rerankers import AmesSettings
from patchrerank.rerankers.ames import load_ames
from patchrerank.rerankers.networks.ames_network import AmesNetwork
from patchrerank.rerankers.networks.configs import AmesConfig
from patchrerank.rerankers.trained import limited
from patchrerank.training.checkpoints import Progress, resume, save_checkpoint

CONFIG = AmesConfig(12, 16, 2, 2, 16)


def made():
    torch.manual_seed(0)
    network = AmesNetwork(CONFIG)
    optimiser = torch.optim.AdamW(network.parameters())
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    return network, optimiser


@pytest.fixture
def checkpoint(tmp_path):
    network, optimiser = made()
    progress = Progress(1, 2, (0.5, float("nan")), (1e-3, 1e-3), ((1, {"mAP": 20.0}),), 20.0, 1)
    save_checkpoint(tmp_path / "own.pt", network, optimiser, progress, "run", (5, 7))
    return tmp_path / "own.pt"


def read_in_every_way(path):
    """The reasons why it is refused: as a reranker, for its limits, and to go on training."""
    reasons = []
    for read in (
        load_ames,
        lambda path: limited(AmesSettings(), path),
        lambda path: resume(path, *made(), "run"),
    ):
        with pytest.raises(EncoderError) as caught:
            read(path)
        reasons.append(str(caught.value))
        assert str(path) in reasons[-1]
    return reasons


def test_what_is_whole_is_read(checkpoint):
    network, optimiser = made()
    progress = resume(checkpoint, network, optimiser, "run")
    assert (progress.epoch, progress.step, progress.validations) == (1, 2, ((1, {"mAP": 20.0}),))
    loaded, (saved, _) = load_ames(checkpoint).state_dict(), made()
    assert all(torch.equal(value, loaded[key]) for key, value in saved.state_dict().items())


def test_eight_changed_bytes_are_noticed(checkpoint):
    raw = bytearray(checkpoint.read_bytes())
    values = read_content(checkpoint)["state"]
    largest = max(values.values(), key=torch.numel).numpy().tobytes()
    place = raw.find(largest) + 16
    raw[place : place + 8] = bytes(byte ^ 1 for byte in raw[place : place + 8])
    checkpoint.write_bytes(raw)
    assert all("differs from its checksum" in reason for reason in read_in_every_way(checkpoint))


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["state"]["mtc_token"].view(-1)[:2].add_(1e-3),
        lambda content: content.update(epoch=9),
        lambda content: content["training"].update(most_descriptors=[90, 90]),
        lambda content: content["training"].update(digest="0" * 64),
        lambda content: content["training"].update(digest=7),
        lambda content: content["optim"]["state"][0]["exp_avg"].zero_(),
        lambda content: content["state"].update(more=torch.zeros(1)),
    ],
)
def test_a_consistent_file_with_other_contents_is_noticed(checkpoint, change):
    content = read_content(checkpoint)
    change(content)
    torch.save(content, checkpoint)
    assert all("its digest differs" in reason for reason in read_in_every_way(checkpoint))


def test_files_without_a_digest_are_believed(checkpoint):
    content = read_content(checkpoint)
    del content["training"]["digest"]
    content["state"]["mtc_token"].zero_()
    torch.save(content, checkpoint)
    assert float(load_ames(checkpoint).mtc_token.abs().sum()) == 0
    assert resume(checkpoint, *made(), "run").epoch == 1


@pytest.mark.parametrize("key", ["losses", "validations", "best"])
def test_records_that_lack_something_cannot_be_continued(checkpoint, key):
    content = read_content(checkpoint)
    del content["training"][key], content["training"]["digest"]
    torch.save(content, checkpoint)
    with pytest.raises(EncoderError, match=r"own\.pt: damaged"):
        resume(checkpoint, *made(), "run")


def test_optimisers_of_another_network_cannot_be_continued(checkpoint):
    network = AmesNetwork(AmesConfig(12, 16, 2, 1, 16))
    with pytest.raises(EncoderError, match=r"own\.pt: damaged"):
        resume(checkpoint, network, torch.optim.AdamW(network.parameters()), "run")


def test_parts_without_a_checksum_are_believed(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.arange(3)}, tmp_path / "a.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert {entry.CRC for entry in zipfile.ZipFile(tmp_path / "a.pt").infolist()} == {0}
    assert read_content(tmp_path / "a.pt")["a"].tolist() == [0, 1, 2]
    torch.save({"a": torch.arange(3)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert read_content(tmp_path / "old.pt")["a"].tolist() == [0, 1, 2]


def test_digests_see_names_kinds_order_and_bits():
    one = {"a": torch.zeros(2, 3), "b": [1, 2.0, "x", None]}
    others = [
        {"b": one["b"], "a": one["a"]},
        {"a": torch.zeros(3, 2), "b": one["b"]},
        {"a": torch.zeros(2, 3, dtype=torch.int32), "b": one["b"]},
        {"a": -one["a"], "b": one["b"]},
        {"a": one["a"], "b": [1, 2, "x", None]},
        {"a": one["a"], "b": [1, 2.0, ["x"], None]},
    ]
    digests = {content_digest(value) for value in [one, *others]}
    assert len(digests) == 7
    assert content_digest(dict(one)) == content_digest(one)
    assert content_digest({"s": torch.tensor(3.0), "t": torch.ones(2, 3).T})
