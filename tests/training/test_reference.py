"""Training against the authors' programs; see ``tests/reference/train/README.md``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from patchrerank.rerankers.networks.ames_network import AmesNetwork
from patchrerank.rerankers.networks.configs import AmesConfig, ElvisConfig
from patchrerank.rerankers.networks.elvis_network import ElvisNetwork
from patchrerank.training.config import TrainingConfig
from patchrerank.training.losses import Batch, Side, Teacher
from patchrerank.training.sampling import Candidates, epoch_length, split_batches
from patchrerank.training.schedules import learning_rate
from patchrerank.training.trainer import Trainer

REFERENCE = Path(__file__).parents[1] / "reference" / "train"
CASES = ("ames", "ames_distill", "elvis")


class FixedBatches:
    """The same batches in every epoch."""

    def __init__(self, case):
        self.data = np.load(REFERENCE / case / "data.npz")
        self.settings = json.loads((REFERENCE / case / "config.json").read_text())
        self.step = 0

    def __len__(self):
        return self.settings["batches_per_epoch"]

    def epoch(self, number):
        return [(number, place) for place in range(len(self))]

    def load(self, plan):
        number, place = plan
        anchors, positives, negatives = (
            Side(*(torch.from_numpy(self.data[f"{k}_{part}"][place]) for part in ("local", "mask")))
            for k in ("anchor", "positive", "negative")
        )
        trims = self.data.get("trim_lengths")
        trim = None if trims is None else tuple(trims[number * len(self) + place].tolist())
        return Batch(anchors, positives, negatives, trim)


def network_of(settings):
    model = settings["model"]
    if settings["kind"] == "elvis":
        return ElvisNetwork(
            ElvisConfig(
                model["local_dim"],
                model["embed_dim"],
                model["proj_dim"],
                model["sh_iter"],
                model["sh_temp"],
                model["binarized"],
            )
        )
    return AmesNetwork(
        AmesConfig(
            model["local_dim"],
            model["model_dim"],
            model["nhead"],
            model["num_encoder_layers"],
            model["dim_feedforward"],
            model["activation"],
            model["normalize_before"],
            model["binarized"],
        )
    )


def loaded(case, name, settings):
    network = network_of(settings)
    saved = torch.load(REFERENCE / case / name, weights_only=True)
    network.load_state_dict(saved["state"])
    return network


class Recorder(Trainer):
    """Notes the losses and the rate of every step."""

    def step(self, batch, rate):
        found = super().step(batch, rate)
        self.__dict__.setdefault("seen", []).append((found, rate))
        return found


def trained(case, tmp_path, **settings):
    batches = FixedBatches(case)
    given = batches.settings
    config = TrainingConfig(
        epochs=given["epochs_for_schedule"],
        learning_rate=given["lr"],
        weight_decay=given["weight_decay"],
        schedule=given["scheduler"],
        **settings,
    )
    teacher = None
    if "beta" in given:
        teacher = Teacher(loaded(case, "teacher.pt", given), given["beta"])
    network = loaded(case, "initial.pt", given)
    made = Recorder(
        network, batches, config, tmp_path / "out.pt", case, teacher=teacher, progress=False
    )
    seen = given["epochs_run"]
    made._measure = lambda _: {"mAP": float(len(made.seen))}
    made._after_epoch = lambda state, after=made._after_epoch: type(state)(
        **{**after(state).__dict__, "finished": state.epoch >= seen}
    )
    made.run()
    return made, batches


@pytest.mark.parametrize("case", CASES)
def test_losses_rates_scores_and_weights_are_the_authors(case, tmp_path):
    made, batches = trained(case, tmp_path)
    data = batches.data
    bce = np.array([float(losses.bce) for losses, _ in made.seen])
    np.testing.assert_allclose(bce, data["bce"], rtol=2e-5)
    np.testing.assert_allclose(bce[:7], data["bce"][:7], rtol=1e-5)
    np.testing.assert_allclose([rate for _, rate in made.seen], data["lr"], rtol=0, atol=1e-12)
    if "mse" in data:
        mse = np.array([float(losses.mse) for losses, _ in made.seen])
        np.testing.assert_allclose(mse, data["mse"], rtol=2e-5)
        np.testing.assert_allclose(mse[:7], data["mse"][:7], rtol=1e-5)
    _compare_scores(case, made, batches)
    _compare_weights(case, made, batches)


def _compare_scores(case, made, batches):
    batch = batches.load((0, 0))
    made.network.eval()
    tolerance = {"rtol": 1e-5, "atol": 0} if case == "elvis" else {"rtol": 0, "atol": 1e-4}
    with torch.no_grad():
        for name, side in (("positive", batch.positives), ("negative", batch.negatives)):
            found = made.network(batch.anchors.vectors, side.vectors, batch.anchors.mask, side.mask)
            np.testing.assert_allclose(found.numpy(), batches.data[f"probe_{name}"], **tolerance)


def _compare_weights(case, made, batches):
    final = np.load(REFERENCE / case / "final.npz")
    noise = batches.settings["weight_deviation_float32_vs_float64"]
    state = made.network.state_dict()
    assert state.keys() == set(final.files)
    for name, tensor in state.items():
        found, wanted = tensor.numpy(), final[name]
        if name.endswith("in_proj_bias"):  # keys' biases have no gradient
            third = len(wanted) // 3
            kept = np.r_[:third, 2 * third : 3 * third]
            np.testing.assert_allclose(found[kept], wanted[kept], rtol=0, atol=5e-5, err_msg=name)
        else:
            allowed = max(5e-5, 2 * noise[name])
            np.testing.assert_allclose(found, wanted, rtol=0, atol=allowed, err_msg=name)


@pytest.mark.parametrize("case", ["ames", pytest.param("ames_distill", marks=pytest.mark.slow)])
def test_parts_of_a_batch_add_up_to_the_batch(case, tmp_path):
    whole, _ = trained(case, tmp_path / "whole" if (tmp_path / "whole").mkdir() is None else None)
    parts, _ = trained(
        case,
        tmp_path / "parts" if (tmp_path / "parts").mkdir() is None else None,
        triplets_at_once=2,
    )
    for (one, _), (other, _) in zip(whole.seen, parts.seen, strict=True):
        assert float(other.total) == pytest.approx(float(one.total), rel=1e-4)


def test_learning_rates_are_the_authors():
    found = np.load(REFERENCE / "lr_schedules.npz")
    assert len(found.files) == 4
    for name in found.files:
        _, data, schedule, epochs, _batches = name.split("_")
        rate = {"gldv2": 5e-4, "sop": 1e-3}[data]
        steps = len(found[name])
        assert steps % int(epochs.removeprefix("epochs")) == 0
        rates = [learning_rate(schedule, rate, step, steps) for step in range(steps)]
        np.testing.assert_allclose(rates, found[name], rtol=0, atol=1e-12)


@pytest.fixture(scope="module")
def sampler():
    data = np.load(REFERENCE / "sampler" / "input.npz")
    expected = json.loads((REFERENCE / "sampler" / "expected.json").read_text())
    count, labels = expected["num_candidates"], data["labels"]
    rows = np.asarray(data["nn_inds"][:, :count], dtype=np.int64)
    found = Candidates(rows, data["nn_sims"][:, :count], labels[rows] == labels[:, None])
    return found, expected


def test_anchors_and_batches_are_the_authors(sampler):
    found, expected = sampler
    assert found.anchors.tolist() == expected["valid_anchors"]
    size = expected["batch_size"]
    assert epoch_length(len(found.anchors), size) == expected["num_batches"]
    drawn = found.draw(np.random.default_rng(0))
    lengths = [3 * len(part) for part in split_batches(drawn, size)]
    assert lengths == expected["batch_lengths"]


def test_probabilities_are_the_authors(sampler):
    found, expected = sampler
    assert expected["probabilities"].keys() == {str(anchor) for anchor in found.anchors}
    for anchor, wanted in expected["probabilities"].items():
        for kind in ("positive", "negative"):
            shares = found.probabilities(positive=kind == "positive")[int(anchor)]
            rows = found.rows[int(anchor)]
            here = {int(rows[slot]): shares[slot] for slot in np.flatnonzero(shares)}
            assert here.keys() == {row for row, _ in wanted[kind]}
            for row, probability in wanted[kind]:
                assert here[row] == pytest.approx(probability, abs=1e-6)
