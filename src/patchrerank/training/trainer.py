"""The training loop: epochs of batches, validation, early stopping, and going on after a kill."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch
from tqdm import tqdm

from patchrerank.errors import EncoderError
from patchrerank.rerankers.networks.projection import PairNetwork
from patchrerank.training.checkpoints import Progress, resume, save_checkpoint
from patchrerank.training.config import TrainingConfig
from patchrerank.training.losses import Batch, Losses, Teacher, pair_losses
from patchrerank.training.schedules import learning_rate

logger = logging.getLogger(__name__)

Measure = Callable[[PairNetwork], Mapping[str, float]]
"""Validates a network; the first value decides, in percent, higher is better."""


class Batches(Protocol):
    """Batches of a run; the same for the same epoch whenever it is asked."""

    def __len__(self) -> int:
        """Return the number of batches of an epoch by which the schedule is planned."""
        ...

    def epoch(self, number: int) -> Sequence[Any]:
        """Return the plans of an epoch's batches."""
        ...

    def load(self, plan: Any) -> Batch:
        """Return the batch of a plan."""
        ...


class Trainer:
    """Trains a network; call :meth:`run`.

    Args:
        network: is trained in place.
        batches: what it is trained on.
        config: how.
        out: where the checkpoint of the best epoch (without validation: the last) is written.
        run: identity of the run: data, settings, first weights. A run with the same goes on
            where it was killed.
        teacher: for a binarised student.
        measure: validates; None: no validation.
        device: where the network runs.
        progress: show a progress bar.
    """

    def __init__(
        self,
        network: PairNetwork,
        batches: Batches,
        config: TrainingConfig,
        out: Path,
        run: str,
        *,
        teacher: Teacher | None = None,
        measure: Measure | None = None,
        device: str = "cpu",
        progress: bool = True,
    ) -> None:
        self.network = network.to(device)
        self.batches = batches
        self.config = config
        self.out = out
        self.resumable = out.with_name(f"{out.name}.resume")
        self.device = device
        self._identity, self._teacher, self._measure = run, teacher, measure
        self._shown = progress
        if teacher is not None:
            teacher.network.to(device).eval().requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self._steps = config.epochs * len(batches)

    def run(self) -> Progress:
        """Train to the end, or until validation does not get better; return what was seen.

        Raises:
            EncoderError: the loss is not finite, or a checkpoint is damaged.
            SettingError: the checkpoint is of another run.
        """
        state = resume(self.resumable, self.network, self.optimiser, self._identity)
        done = len(state.losses)
        with tqdm(
            total=self._steps, initial=done, desc="training", unit="batch", disable=not self._shown
        ) as bar:
            while not state.finished:
                state = self._epoch(state, bar)
                state = self._after_epoch(state)
                self._save(state, self.resumable)
        return state

    def _epoch(self, state: Progress, bar: tqdm[Any]) -> Progress:
        """Train on what is left of the next epoch."""
        self.network.train()
        losses, rates = list(state.losses), list(state.rates)
        saved = time.monotonic()
        plans = self.batches.epoch(state.epoch)
        for step in range(state.step, len(plans)):
            number = state.epoch * len(self.batches) + step
            rate = learning_rate(
                self.config.schedule, self.config.learning_rate, number, self._steps
            )
            found = self.step(self._load(plans[step]), rate)
            losses.append(float(found.total))
            rates.append(rate)
            bar.update()
            bar.set_postfix(loss=f"{sum(losses[-50:]) / len(losses[-50:]):.4f}")
            if time.monotonic() - saved > self.config.save_seconds:
                here = replace(state, step=step + 1, losses=tuple(losses), rates=tuple(rates))
                self._save(here, self.resumable)
                saved = time.monotonic()
        return replace(
            state, epoch=state.epoch + 1, step=0, losses=tuple(losses), rates=tuple(rates)
        )

    def _load(self, plan: Any) -> Batch:
        return self.batches.load(plan).each(lambda tensor: tensor.to(self.device))

    def step(self, batch: Batch, rate: float) -> Losses:
        """Take one step and return the losses before it.

        Raises:
            EncoderError: the loss is not finite.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad()
        size = self.config.triplets_at_once or len(batch)
        found: list[tuple[float, Losses]] = []
        for start in range(0, len(batch), size):
            part = batch.part(start, start + size)
            losses = pair_losses(self.network, part, self._teacher)
            share = len(part) / len(batch)
            torch.autograd.backward(losses.total * share)
            found.append((share, losses.detached()))
        mean = _mean(found)
        if not bool(mean.total.isfinite()):
            raise EncoderError(
                f"the loss became {float(mean.total)}; use a lower learning rate, or clip gradients"
            )
        if self.config.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)
        self.optimiser.step()
        return mean

    def _after_epoch(self, state: Progress) -> Progress:
        """Validate where it is due, keep the best weights, and decide whether to go on."""
        last = state.epoch >= self.config.epochs
        if self._measure is None:
            self._save(state, self.out)
            return replace(state, finished=last)
        if not last and state.epoch % self.config.validate_every:
            return state
        self.network.eval()
        found = dict(self._measure(self.network))
        value = next(iter(found.values()))
        logger.info("epoch %d: %s", state.epoch, found)
        state = replace(state, validations=(*state.validations, (state.epoch, found)))
        if state.best is None or value > state.best:
            state = replace(state, best=value, best_epoch=state.epoch)
            self._save(state, self.out)
        since = sum(epoch > state.best_epoch for epoch, _ in state.validations)
        patience = self.config.patience
        return replace(state, finished=last or (patience is not None and since >= patience))

    def _save(self, state: Progress, path: Path) -> None:
        most = self.config.counts.most
        save_checkpoint(path, self.network, self.optimiser, state, self._identity, most)


def _mean(found: Sequence[tuple[float, Losses]]) -> Losses:
    """Return the losses of a batch from those of its parts, with their shares."""
    if len(found) == 1:
        return found[0][1]
    total = torch.stack([share * losses.total for share, losses in found]).sum()
    bce = torch.stack([share * losses.bce for share, losses in found]).sum()
    parts = [share * losses.mse for share, losses in found if losses.mse is not None]
    return Losses(total, bce, torch.stack(parts).sum() if parts else None)
