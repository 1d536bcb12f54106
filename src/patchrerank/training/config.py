"""Settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from patchrerank.errors import SettingError
from patchrerank.training.sampling import Counts
from patchrerank.training.schedules import Schedule, learning_rate
from patchrerank.training.views import Windows

Kind = Literal["ames", "elvis"]


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained; the defaults are the published recipe for GLDv2.

    Attributes:
        epochs: how often each anchor is seen.
        batch_size: pictures in a batch: anchors, positives and negatives together.
        learning_rate: the highest, of AdamW.
        weight_decay: of AdamW, on all parameters.
        schedule: ``cos`` is published for AMES, ``warmcos`` for ELViS.
        counts: how many descriptors are seen.
        windows: which part of gallery pictures is seen.
        seed: of sampling and of the first weights; equal seeds, equal weights (on one machine
            with one number of threads).
        patience: stop after so many validations without a better one; None: never.
        validate_every: epochs from one validation to the next.
        triplets_at_once: a batch's gradient is summed up from parts of so many triplets, which
            saves memory and changes nothing else (but rounding); None: all at once.
        save_seconds: time between two savings within an epoch.
        clip: gradients are scaled down to this norm; None (published): never.

    Raises:
        SettingError: a value out of range.
    """

    epochs: int = 10
    batch_size: int = 600
    learning_rate: float = 5e-4
    weight_decay: float = 5e-4
    schedule: Schedule = "cos"
    counts: Counts = field(default_factory=Counts)
    windows: Windows = field(default_factory=Windows)
    seed: int = 0
    patience: int | None = None
    validate_every: int = 1
    triplets_at_once: int | None = None
    save_seconds: float = 60.0
    clip: float | None = None

    def __post_init__(self) -> None:
        learning_rate(self.schedule, self.learning_rate, 0, 1)
        whole = {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "validate_every": self.validate_every,
            "patience": 1 if self.patience is None else self.patience,
            "triplets_at_once": 1 if self.triplets_at_once is None else self.triplets_at_once,
        }
        for name, value in whole.items():
            if value < 1:
                raise SettingError(f"{name} must be at least 1, got {value}")
        if self.seed < 0:
            raise SettingError(f"seed must be at least 0, got {self.seed}")
        if not 0 < self.learning_rate < float("inf"):
            raise SettingError(f"learning_rate must be above 0, got {self.learning_rate}")
        if not 0 <= self.weight_decay < float("inf"):
            raise SettingError(f"weight_decay must be at least 0, got {self.weight_decay}")
        if self.clip is not None and not self.clip > 0:
            raise SettingError(f"clip must be above 0 or None, got {self.clip}")
