"""What a training run is: on what, from where, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from patchrerank.errors import SettingError
from patchrerank.rerankers.networks.configs import AmesConfig, ElvisConfig
from patchrerank.training.descriptors import QueryView
from patchrerank.training.neighbours import CandidateSettings
from patchrerank.training.sampling import Counts
from patchrerank.training.schedules import Schedule, learning_rate
from patchrerank.training.views import Windows

if TYPE_CHECKING:
    from patchrerank.datasets import Dataset
    from patchrerank.encoders import DenseEncoder
    from patchrerank.training.initial import Start

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


@dataclass(frozen=True)
class FirstWeights:
    """Where training begins.

    Attributes:
        start: how weights are drawn; see :func:`patchrerank.training.initial.new_network`.
        checkpoint: weights to begin with instead, for a binarised network of a full-precision one
            too; None: none.
    """

    start: Start = "published"
    checkpoint: Path | None = None


@dataclass(frozen=True)
class HeldOut:
    """What the network is validated on.

    Attributes:
        share: of the objects of the training's data sets, in [0, 1); their queries are no
            anchors, their pictures no candidates. 0: none.
        dataset: another data set; no objects are held out then.
        size: the most similar pictures that are reranked.

    Raises:
        SettingError: a share out of range, or a size below 1.
    """

    share: float = 0.1
    dataset: Dataset | None = None
    size: int = 100

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1 or self.size < 1:
            raise SettingError(f"held out: share must lie in [0, 1) and size above 0, got {self}")


@dataclass(frozen=True)
class TrainingRun:
    """What is trained, on what, and how.

    Attributes:
        datasets: at least one.
        encoder: makes the local descriptors of the gallery pictures.
        network: the architecture; its ``local_dim`` must be the encoder's.
        config: see :class:`TrainingConfig`.
        candidates: who is an anchor, and which pictures it is compared with.
        view: how query pictures are seen.
        held_out: what validation is done on.
        first: where training begins.
        teacher: checkpoint of a full-precision AMES that a binarised one imitates.
        beta: weight of the imitation.
        device: ``auto``, ``cpu``, ``cuda``, ….
    """

    datasets: Sequence[Dataset]
    encoder: DenseEncoder
    network: AmesConfig | ElvisConfig
    config: TrainingConfig = field(default_factory=TrainingConfig)
    candidates: CandidateSettings = field(default_factory=CandidateSettings)
    view: QueryView = field(default_factory=QueryView)
    held_out: HeldOut = field(default_factory=HeldOut)
    first: FirstWeights = field(default_factory=FirstWeights)
    teacher: Path | None = None
    beta: float = 10.0
    device: str = "auto"

    def __post_init__(self) -> None:
        if not self.datasets:
            raise SettingError("training needs at least one data set")
        if self.teacher is not None and not isinstance(self.network, AmesConfig):
            raise SettingError(
                "only AMES can be distilled: ELViS has no output for each descriptor"
            )
        if self.network.local_dim != self.encoder.dim:
            raise SettingError(
                f"the network takes {self.network.local_dim}-d descriptors, the encoder makes "
                f"{self.encoder.dim}-d ones"
            )
