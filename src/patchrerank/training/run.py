"""A whole training run: data sets in, a checkpoint and its loss curve out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from patchrerank.errors import EncoderError
from patchrerank.files import writing
from patchrerank.rerankers.networks.configs import AmesConfig, ElvisConfig
from patchrerank.training.config import HeldOut, TrainingRun
from patchrerank.training.curve import check_curve_files, write_curve
from patchrerank.training.descriptors import DatasetDescriptors, encode_dataset
from patchrerank.training.neighbours import CandidateSettings, find_neighbours
from patchrerank.training.pool import NO_OBJECT, Pool
from patchrerank.types import Rows

if TYPE_CHECKING:
    from patchrerank.datasets import Dataset
    from patchrerank.rerankers.networks.projection import PairNetwork
    from patchrerank.training.checkpoints import Progress
    from patchrerank.training.losses import Teacher
    from patchrerank.training.validation import Validation

SAMPLE = 20_000
"""Descriptors from which projections are learned before training."""

HOLD_OUT_SEED = 3


def train(run: TrainingRun, out: Path, cache: Path, *, progress: bool = True) -> Progress:
    """Train a reranker; a run that was killed goes on, to the same weights.

    Written are ``out`` (the weights of the best validation, else of the last epoch, in the
    authors' layout), ``out.resume`` (the last state) and the curve (see ``write_curve``).

    Args:
        run: see :class:`~patchrerank.training.config.TrainingRun`.
        out: the checkpoint; its folder is made.
        cache: folder where descriptors are kept, and found again by the next run.
        progress: show progress bars.

    Raises:
        SettingError: settings that do not fit together or with ``out.resume``; no anchors; a
            file to write holds something else.
        EncoderError: a checkpoint does not fit, or the loss is not finite.
        PatchRerankError: whatever is wrong with pictures or the cache.
    """
    from patchrerank.encoders.backends.torch_eager import choose_device
    from patchrerank.training.batches import TripletBatches
    from patchrerank.training.checkpoints import check_checkpoint
    from patchrerank.training.initial import new_network, start_from
    from patchrerank.training.trainer import Trainer

    check_checkpoint(out)
    check_curve_files(out)
    parts = [_encode(run, dataset, cache, progress) for dataset in run.datasets]
    pool = Pool(parts)
    means = pool.means()
    held = _held_objects(pool, run.held_out, run.config.seed)
    batches = TripletBatches(
        pool,
        find_neighbours(pool, means, run.candidates, held),
        run.config.batch_size,
        run.config.counts,
        run.config.windows,
        run.config.seed,
        padded=isinstance(run.network, ElvisConfig),
        distilled=run.teacher is not None,
    )
    sample = pool.sample(SAMPLE, run.config.seed)
    network = new_network(run.network, sample, run.config.seed, run.first.start)
    if run.first.checkpoint is not None:
        start_from(network, run.first.checkpoint, sample, run.config.seed)
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(
        network,
        batches,
        run.config,
        out,
        _identity(run, parts, network),
        teacher=_teacher(run),
        measure=_validation(run, pool, means, held, cache, progress),
        device=choose_device(run.device),
        progress=progress,
    )
    found = trainer.run()
    write_curve(found, len(batches), out)
    return found


def _encode(run: TrainingRun, dataset: Dataset, cache: Path, progress: bool) -> DatasetDescriptors:
    return encode_dataset(dataset, run.encoder, run.view, cache, progress=progress)


def _held_objects(pool: Pool, held_out: HeldOut, seed: int) -> Rows:
    """Return the labels of the objects that are validated on."""
    objects = np.unique(pool.labels[pool.labels != NO_OBJECT])
    if held_out.dataset is not None or not held_out.share:
        return objects[:0]
    order = np.random.default_rng([seed, HOLD_OUT_SEED]).permutation(objects)
    return np.sort(order[: max(1, round(held_out.share * len(objects)))])


def _validation(
    run: TrainingRun, pool: Pool, means: np.ndarray, held: Rows, cache: Path, progress: bool
) -> Validation | None:
    from patchrerank.training.validation import Validation

    if run.held_out.dataset is not None:
        pool = Pool([_encode(run, run.held_out.dataset, cache, progress)])
        means = pool.means()
        held = np.unique(pool.labels[pool.labels != NO_OBJECT])
    if not len(held):
        return None
    settings = CandidateSettings("queries", max(run.held_out.size, 1))
    neighbours = find_neighbours(pool, means, settings)
    slotted = isinstance(run.network, ElvisConfig)
    most = run.config.counts.most
    return Validation.of(pool, neighbours, held, run.held_out.size, most, padded=slotted)


def _teacher(run: TrainingRun) -> Teacher | None:
    if run.teacher is None:
        return None
    from patchrerank.encoders.checkpoints import read_content, weights_in
    from patchrerank.rerankers.ames import load_ames
    from patchrerank.rerankers.trained import trained_in
    from patchrerank.training.losses import Teacher

    content, origin = read_content(run.teacher), str(run.teacher)
    student: Any = run.network
    shown = AmesConfig.of_state(weights_in(content, origin), origin)
    shown = replace(shown, heads=student.heads, activation=student.activation)
    known = trained_in(content, origin).complete(shown)
    if (known.local_dim, known.model_dim) != (student.local_dim, student.model_dim):
        raise EncoderError(
            f"{origin}: takes {known.local_dim}-d descriptors to {known.model_dim} dimensions, the "
            f"student {student.local_dim}-d ones to {student.model_dim}; the dimensions differ"
        )
    return Teacher(load_ames(run.teacher, None, known), run.beta)


def _identity(run: TrainingRun, parts: Sequence[DatasetDescriptors], network: PairNetwork) -> str:
    """Return a digest of everything that the weights depend on but the machine."""
    from patchrerank.rerankers.networks.projection import weights_digest
    from patchrerank.training.validation import GAMMAS, LAM

    config = asdict(run.config)
    del config["save_seconds"]
    made_of = {
        "stores": [
            store.manifest.fingerprint for part in parts for store in (part.images, part.queries)
        ],
        "weights": weights_digest(network.state_dict()),
        "network": asdict(run.network),
        "config": config,
        "candidates": asdict(run.candidates),
        "held_out": [
            run.held_out.share,
            run.held_out.size,
            run.held_out.dataset.fingerprint if run.held_out.dataset is not None else None,
        ],
        "teacher": None
        if run.teacher is None
        else hashlib.sha256(run.teacher.read_bytes()).hexdigest(),
        "beta": run.beta,
        "measure": [LAM, *GAMMAS],
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
