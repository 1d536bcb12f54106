"""The loop: going on after a kill, validation, early stopping, what is written."""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from patchrerank.encoders.checkpoints import read_content
from patchrerank.errors import EncoderError, SettingError
from patchrerank.rerankers.ames import load_ames
from patchrerank.rerankers.elvis import load_elvis
from patchrerank.rerankers.networks.configs import AmesConfig, ElvisConfig
from patchrerank.rerankers.trained import trained_in
from patchrerank.training.batches import TripletBatches, padded
from patchrerank.training.checkpoints import Progress
from patchrerank.training.config import TrainingConfig
from patchrerank.training.curve import write_curve
from patchrerank.training.initial import new_network, start_from
from patchrerank.training.losses import Teacher, pair_losses
from patchrerank.training.neighbours import CandidateSettings, find_neighbours
from patchrerank.training.pool import Pool
from patchrerank.training.sampling import Counts
from patchrerank.training.trainer import Trainer
from patchrerank.training.validation import GAMMAS, Validation
from prepared import python

SMALL = AmesConfig(24, 16, 2, 2, 16)
BINARY = AmesConfig(24, 16, 2, 2, 16, binarized=True)
CONFIG = TrainingConfig(
    epochs=4, batch_size=9, learning_rate=2e-3, counts=Counts(3, 6, 20), seed=5, save_seconds=0
)


@pytest.fixture(scope="module")
def pool(part):
    return Pool([part])


@pytest.fixture(scope="module")
def batches(pool):
    found = find_neighbours(pool, pool.means(), CandidateSettings())
    return TripletBatches(pool, found, CONFIG.batch_size, CONFIG.counts, seed=CONFIG.seed)


def trainer(pool, batches, out, architecture=SMALL, config=CONFIG, **more):
    network = new_network(architecture, pool.sample(2000, 0), config.seed)
    return Trainer(network, batches, config, out, "run", progress=False, **more)


def weights(path):
    return torch.load(path, weights_only=True)["state"]


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


class DiesAt(Trainer):
    """Kills its process in front of a step."""

    last = 0

    def step(self, batch, rate):
        self.last -= 1
        if self.last < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(batch, rate)


def _die(part, out, steps):
    torch.set_num_threads(1)
    pool = Pool([part])
    found = find_neighbours(pool, pool.means(), CandidateSettings())
    batches = TripletBatches(pool, found, CONFIG.batch_size, CONFIG.counts, seed=CONFIG.seed)
    network = new_network(SMALL, pool.sample(2000, 0), CONFIG.seed)
    killed = DiesAt(network, batches, CONFIG, out, "run", progress=False)
    killed.last = steps
    killed.run()


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path, part, pool, batches):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        whole = trainer(pool, batches, tmp_path / "whole.pt").run()
        (tmp_path / "part").write_bytes(pickle.dumps(part))
        deaths = ["1", "4", "3"]  # inside an epoch, at its end, in the next ones
        done = python(__file__, tmp_path / "part", tmp_path / "killed.pt", *deaths)
        assert done.stdout.split() == [str(-signal.SIGKILL)] * 3, done.stderr
        (tmp_path / ".killed.pt.resume.part").write_bytes(b"half a checkpoint")
        torn = trainer(pool, batches, tmp_path / "killed.pt").run()
    finally:
        torch.set_num_threads(threads)
    assert same(weights(tmp_path / "whole.pt"), weights(tmp_path / "killed.pt"))
    assert torn.losses == whole.losses and torn.rates == whole.rates and torn.finished
    assert len(whole.losses) == 4 * len(batches) == 12
    again = trainer(pool, batches, tmp_path / "killed.pt").run()
    assert again == torn, "a finished run is left as it is"


def test_checkpoints_have_the_authors_layout_and_load(tmp_path, pool, batches):
    made = trainer(pool, batches, tmp_path / "a.pt")
    made.run()
    content = torch.load(tmp_path / "a.pt", weights_only=True)
    assert list(content)[:3] == ["state", "optim", "epoch"] and content["epoch"] == 4
    assert set(content["optim"]) == {"state", "param_groups"}
    again = load_ames(tmp_path / "a.pt")
    assert again.config == SMALL and same(dict(again.state_dict()), content["state"])
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    "architecture",
    [
        AmesConfig(24, 16, 4, 1, 16, activation="gelu"),
        ElvisConfig(24, 8, 8, iterations=3, temperature=4.0),
    ],
)
def test_checkpoints_say_what_shapes_do_not_show(tmp_path, pool, batches, architecture):
    config = replace(CONFIG, epochs=1)
    trainer(pool, batches, tmp_path / "a.pt", architecture, config).run()
    load = load_ames if isinstance(architecture, AmesConfig) else load_elvis
    for name in ("a.pt", "a.pt.resume"):
        assert load(tmp_path / name).config == architecture
        assert trained_in(read_content(tmp_path / name), name).most == (5, 19), (
            "bounds are excluded"
        )
    hidden = {"heads": 2} if isinstance(architecture, AmesConfig) else {"iterations": 4}
    other = new_network(replace(architecture, **hidden), pool.sample(2000, 0))
    with pytest.raises(
        EncoderError, match=rf"a\.pt does not fit: trained with {next(iter(hidden))}"
    ):
        start_from(other, tmp_path / "a.pt", pool.sample(2000, 0))


def test_another_run_is_not_taken_over(tmp_path, pool, batches):
    trainer(pool, batches, tmp_path / "a.pt").run()
    other = trainer(pool, batches, tmp_path / "a.pt")
    other._identity = "another"
    with pytest.raises(SettingError, match="other data or settings"):
        other.run()
    (tmp_path / "a.pt.resume").write_bytes(b"no checkpoint")
    with pytest.raises(EncoderError, match="can be read safely"):
        trainer(pool, batches, tmp_path / "a.pt").run()
    torch.save({"state": {}}, tmp_path / "a.pt.resume")
    with pytest.raises(EncoderError, match="no checkpoint of patchrerank train"):
        trainer(pool, batches, tmp_path / "a.pt").run()


def test_the_best_epoch_is_kept_and_patience_ends_the_run(tmp_path, pool, batches):
    values = iter([10.0, 30.0, 20.0, 25.0, 90.0])
    seen = []

    def measure(network):
        assert not network.training
        seen.append({key: value.clone() for key, value in network.state_dict().items()})
        return {"mAP": next(values)}

    config = TrainingConfig(
        epochs=9, batch_size=9, learning_rate=2e-3, counts=CONFIG.counts, patience=2
    )
    state = trainer(pool, batches, tmp_path / "a.pt", config=config, measure=measure).run()
    assert (state.epoch, state.best, state.best_epoch, state.finished) == (4, 30.0, 2, True)
    assert same(weights(tmp_path / "a.pt"), seen[1])
    assert same(weights(tmp_path / "a.pt.resume"), seen[3])


def test_a_loss_that_is_not_finite_stops(tmp_path, pool, batches):
    made = trainer(pool, batches, tmp_path / "a.pt")
    with torch.no_grad():
        made.network.mtc_token.fill_(float("nan"))
    with pytest.raises(EncoderError, match="loss became nan"):
        made.run()


def test_ames_learns_a_batch_by_heart(tmp_path, pool):
    found = find_neighbours(pool, pool.means(), CandidateSettings())
    batches = TripletBatches(pool, found, 24, Counts(400))
    network = new_network(SMALL, pool.sample(2000, 0), 0, "matching")
    config = TrainingConfig(clip=1.0)
    made = Trainer(network, batches, config, tmp_path / "a.pt", "run", progress=False)
    batch = batches.load(batches.epoch(0)[0])
    losses = [float(made.step(batch, 1e-2).total) for _ in range(60)]
    assert losses[0] > 0.6 > 0.2 > losses[-1]


@pytest.mark.parametrize("architecture", [SMALL, ElvisConfig(24, 8, 8)])
def test_weights_move_and_rates_fall(tmp_path, pool, architecture):
    found = find_neighbours(pool, pool.means(), CandidateSettings())
    config = TrainingConfig(epochs=6, batch_size=24, learning_rate=1e-2, counts=Counts(400))
    made = trainer(
        pool,
        TripletBatches(pool, found, 24, config.counts),
        tmp_path / "a.pt",
        architecture,
        config,
    )
    before = {key: value.clone() for key, value in made.network.state_dict().items()}
    state = made.run()
    assert state.rates[0] == 1e-2 > state.rates[3] > state.rates[-1] > 0
    assert not any(torch.equal(value, before[k]) for k, value in made.network.state_dict().items())
    load = load_ames if architecture is SMALL else load_elvis
    assert load(tmp_path / "a.pt").config == architecture


class Loud(torch.nn.Module):
    """A network whose scores saturate the published sigmoid, as ELViS' sums do."""

    def __init__(self, network, factor):
        super().__init__()
        self.network, self.factor = network, factor

    def forward(self, *inputs):
        return 20 + self.factor * self.network(*inputs)


@pytest.mark.parametrize("factor", [1, 60])
def test_validation_is_the_mean_average_precision_of_held_out_objects(parts, factor):
    pool = Pool(parts)
    everyone = find_neighbours(pool, pool.means(), CandidateSettings())
    held = np.array([1, 6, 9])
    made = Validation.of(pool, everyone, held, 12, (400, 400))
    assert pool.labels[made.queries].tolist() == [1, 6, 9]
    network = Loud(new_network(SMALL, pool.sample(2000, 0)), factor).eval()
    values = {"mAP fused": [], "mAP local": [], "mAP first stage": []}
    for place, item in enumerate(made.queries):
        rows = made.rows[place]
        src = torch.from_numpy(pool.vectors(int(item), 400))[None]
        with torch.no_grad():
            local = np.array(
                [
                    network(src, torch.from_numpy(pool.vectors(int(r), 400))[None]).item()
                    for r in rows
                ]
            )
        first = made.similarities[place].astype(np.float64)
        fused = [0.5 * first + 0.5 / (1 + np.exp(-gamma * local)) for gamma in GAMMAS]
        positives = set(np.flatnonzero(pool.labels == pool.labels[item]).tolist()) - {int(item)}

        def average_precision(scores, rows=rows, positives=positives):
            relevant = np.isin(rows[np.argsort(-scores, kind="stable")], list(positives))
            hits = np.flatnonzero(relevant)
            return sum((n + 1) / (h + 1) for n, h in enumerate(hits)) / len(positives)

        for name, lists in zip(values, (fused, [local], [first]), strict=True):
            values[name].append([average_precision(scores) for scores in lists])
    means = {name: 100 * np.mean(column, axis=0) for name, column in values.items()}
    assert made(network) == {name: pytest.approx(found.max()) for name, found in means.items()}
    assert (means["mAP fused"].argmax() == 0) == (factor == 1), "the published γ, and another"
    with pytest.raises(SettingError, match="nothing to validate"):
        Validation.of(pool, everyone, np.array([99]), 12, (400, 400))


def test_validation_of_elvis_pads_as_the_reranker_does(parts):
    pool = Pool(parts)
    everyone = find_neighbours(pool, pool.means(), CandidateSettings())
    network = new_network(ElvisConfig(24, 8, 8), pool.sample(2000, 0)).eval()
    ramp = torch.linspace(-1, 1, 8)
    with torch.no_grad():  # votes that tell weak matches apart
        network.f[0].bias.copy_(ramp)
        network.f[0].weight.copy_(-6 * ramp[:, None])
        network.f[3].weight.copy_(ramp[None])
    made = Validation.of(pool, everyone, np.array([1, 6]), 12, (30, 40), padded=True)
    asked = padded([pool.vectors(int(made.queries[0]), 30)], 30)
    own = asked.vectors[~asked.mask][None]
    alone, bare = [], []
    for row in made.rows[0]:
        shown = padded([pool.vectors(int(row), 40)], 40)
        with torch.no_grad():
            alone.append(network(asked.vectors, shown.vectors, asked.mask, shown.mask).item())
            bare.append(network(own, shown.vectors[~shown.mask][None]).item())
    assert np.abs(np.subtract(alone, bare)).max() > 0.01, "slots show"
    np.testing.assert_allclose(made._scores(network, 0), alone, atol=1e-4)


def test_a_student_learns_from_its_teacher(tmp_path, pool):
    found = find_neighbours(pool, pool.means(), CandidateSettings())
    counts = Counts(3, 6, 20)
    batches = TripletBatches(pool, found, 24, counts, distilled=True)
    teacher_network = new_network(SMALL, pool.sample(2000, 0), 1)
    torch.save({"state": teacher_network.state_dict()}, tmp_path / "teacher.pt")
    student = new_network(BINARY, pool.sample(2000, 0), 1)
    config = TrainingConfig(epochs=30, batch_size=24, learning_rate=2e-3, counts=counts)
    teacher = Teacher(load_ames(tmp_path / "teacher.pt"))
    made = Trainer(
        student, batches, config, tmp_path / "s.pt", "run", teacher=teacher, progress=False
    )
    batch = batches.load(batches.epoch(0)[0])
    before = pair_losses(student, batch, teacher).mse
    made.run()
    after = pair_losses(student, batch, teacher).mse
    assert after < 0.7 * before
    assert load_ames(tmp_path / "s.pt").config == BINARY
    with pytest.raises(SettingError, match="ELViS has no output"):
        pair_losses(new_network(ElvisConfig(24, 8, 8), pool.sample(2000, 0)), batch, teacher)
    with pytest.raises(SettingError, match="full-precision"):
        Teacher(student)
    smaller = new_network(replace(BINARY, model_dim=8), pool.sample(2000, 0))
    with pytest.raises(EncoderError, match=r"teacher\.pt does not fit"):
        start_from(smaller, tmp_path / "teacher.pt", pool.sample(2000, 0))


@pytest.mark.parametrize("architecture", [SMALL, BINARY, ElvisConfig(24, 8, 8)])
@pytest.mark.parametrize("start", ["published", "matching"])
def test_first_weights_follow_the_seed(pool, architecture, start):
    sample = pool.sample(2000, 0)
    torch.manual_seed(3)
    drawn = torch.get_rng_state()
    one, other = (dict(new_network(architecture, sample, 7, start).state_dict()) for _ in "ab")
    assert same(one, other) and (torch.get_rng_state() == drawn).all()
    assert not same(one, dict(new_network(architecture, sample, 8, start).state_dict()))
    with pytest.raises(SettingError, match="start"):
        new_network(architecture, sample, 0, "elsewhere")


def test_the_curve_tells_everything(tmp_path):
    state = Progress(
        2, 0, (0.7, 0.6, 0.5, 0.4), (1e-3, 1e-3, 5e-4, 0.0),
        ((1, {"mAP": 40.0}), (2, {"mAP": 55.5})), 55.5, 2, True,
    )  # fmt: skip
    data, picture = write_curve(state, 2, tmp_path / "a.pt")
    record = json.loads(data.read_text())
    assert record["loss"] == [0.7, 0.6, 0.5, 0.4] and record["best_epoch"] == 2
    assert record["validation"][1] == {"epoch": 2, "mAP": 55.5}
    root = ET.fromstring(picture.read_text())
    assert root.tag.endswith("svg") and len(root.findall("{*}polyline")) == 2
    assert "55.5" in picture.read_text()
    empty, _ = write_curve(Progress(), 2, tmp_path / "b.pt")
    assert json.loads(empty.read_text())["best_epoch"] is None


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"schedule": "linear"},
     {"patience": 0}, {"triplets_at_once": 0}, {"clip": 0.0}, {"seed": -1}, {"weight_decay": -1.0}],
)  # fmt: skip
def test_settings_out_of_range(wrong):
    with pytest.raises(SettingError):
        TrainingConfig(**wrong)


def test_where_things_are(tmp_path, pool, batches):
    made = trainer(pool, batches, tmp_path / "deep.pt")
    assert made.resumable == Path(tmp_path / "deep.pt.resume")


def _die_in_a_child(part, out, steps):
    child = os.fork()
    if child == 0:
        _die(part, out, steps)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":  # forks those that a test kills, before torch starts any thread
    held = pickle.loads(Path(sys.argv[1]).read_bytes())
    print(*(_die_in_a_child(held, Path(sys.argv[2]), int(steps)) for steps in sys.argv[3:]))
