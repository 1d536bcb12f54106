"""Checkpoints of training: the authors' layout, written whole or not at all. Imports torch."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from patchrerank.encoders.checkpoints import read_content
from patchrerank.errors import EncoderError, SettingError, short_reason
from patchrerank.files import Ours, check_target, write_whole
from patchrerank.rerankers.networks.projection import PairNetwork
from patchrerank.rerankers.trained import (
    CONFIG,
    DIGEST,
    MOST,
    RUN,
    TRAINING,
    check_digest,
    digest_of,
)


@dataclass(frozen=True)
class Progress:
    """Where a run stands, and what it has seen.

    Every random choice is a function of seed, epoch and step, so this is all that is needed to
    go on, beside weights and optimiser.

    Attributes:
        epoch: epochs that are finished.
        step: batches of the next epoch that are finished.
        losses: loss of every step.
        rates: learning rate of every step.
        validations: ``(epoch, name → percent)`` of every validation.
        best: the best value so far, percent; None before the first validation.
        best_epoch: after which epoch it was measured.
        finished: the run is over.
    """

    epoch: int = 0
    step: int = 0
    losses: tuple[float, ...] = ()
    rates: tuple[float, ...] = ()
    validations: tuple[tuple[int, Mapping[str, float]], ...] = field(default=())
    best: float | None = None
    best_epoch: int = 0
    finished: bool = False


def save_checkpoint(
    path: Path,
    network: PairNetwork,
    optimiser: torch.optim.Optimizer,
    progress: Progress,
    run: str,
    most: tuple[int, int],
) -> None:
    """Write ``state``, ``optim`` and ``epoch`` as the authors do, and what continues the run.

    Args:
        path: the file; it is replaced in one move.
        network, optimiser, progress: what is written.
        run: identity of the run; only the same may continue it.
        most: the largest numbers of descriptors of a query and of a gallery picture.

    Raises:
        SettingError: the file cannot be written, or something else is there.
    """
    record = {**asdict(progress), "validations": [list(one) for one in progress.validations]}
    record = {key: list(v) if isinstance(v, tuple) else v for key, v in record.items()}
    content: dict[str, Any] = {
        "state": {key: value.detach().cpu() for key, value in network.state_dict().items()},
        "optim": optimiser.state_dict(),
        "epoch": progress.epoch,
        TRAINING: {
            RUN: run,
            CONFIG: asdict(network.config),
            MOST: list(most),
            **record,
        },
    }
    content[TRAINING][DIGEST] = digest_of(content)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_whole(path, buffer.getvalue(), CHECKPOINT)


def check_checkpoint(path: Path) -> None:
    """Refuse to begin a run whose checkpoint would take the place of something else.

    Raises:
        SettingError: names the file.
    """
    check_target(path, CHECKPOINT, make_folder=True)


def _is_ours(path: Path) -> bool:
    """Tell a training's checkpoint: its pickle, read as bytes only, names what it holds."""
    try:
        with zipfile.ZipFile(path) as archive:
            inside = next((n for n in archive.namelist() if n.endswith("/data.pkl")), None)
            content = b"" if inside is None else archive.read(inside)
    except (zipfile.BadZipFile, OSError, RuntimeError, ValueError, zlib.error):
        return False
    return all(key.encode() in content for key in (TRAINING, MOST))


CHECKPOINT = Ours("a checkpoint", _is_ours)
"""How checkpoints are known that :func:`save_checkpoint` wrote."""


def resume(
    path: Path, network: PairNetwork, optimiser: torch.optim.Optimizer, run: str
) -> Progress:
    """Put a saved run into ``network`` and ``optimiser``; a fresh one if there is no file.

    Raises:
        EncoderError: the file is damaged, or no checkpoint of a training.
        SettingError: it is one of another run.
    """
    if not path.is_file():
        return Progress()
    content = _read(path)
    saved = content.get(TRAINING)
    if not isinstance(saved, Mapping) or not {"state", "optim"} <= content.keys():
        raise EncoderError(f"{path}: is no checkpoint of patchrerank train; choose another name")
    if saved.get(RUN) != run:
        raise SettingError(
            f"{path}: holds a training with other data or settings; use the same, or another "
            "name, or delete the file"
        )
    check_digest(content, os.fspath(path))
    try:
        network.load_state_dict(content["state"])
        optimiser.load_state_dict(content["optim"])
        given = {key: saved[key] for key in Progress.__dataclass_fields__}
        validations = tuple((int(epoch), dict(values)) for epoch, values in given["validations"])
        lists = {key: tuple(given[key]) for key in ("losses", "rates")}
        return Progress(**{**given, **lists, "validations": validations})
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise EncoderError(
            f"{path}: damaged ({short_reason(error)}); delete it, or choose another name"
        ) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_content(path)
    except EncoderError as error:
        raise EncoderError(f"{error}; or delete it, or choose another name") from error
    if not isinstance(content, dict):
        raise EncoderError(f"{path}: is no checkpoint of patchrerank train; choose another name")
    return content
