"""How long a search goes on, and how it goes about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from patchrerank.errors import SettingError, shown
from patchrerank.pipeline.stages import StageSpec
from patchrerank.tuning.trials.objective import Measure
from patchrerank.tuning.trials.sampler_names import check_sampler

if TYPE_CHECKING:
    from patchrerank.tuning.trials.studies import Storage

TRIALS = 400
MOST_TRIALS, MOST_WORKERS = 1_000_000, 1024
LARGEST_SEED = 1 << 32
"""What numpy's old generators, which Optuna draws with, take."""


@dataclass(frozen=True)
class Budget:
    """When a search ends: whichever comes first.

    Attributes:
        trials: of the study, those of earlier calls included.
        seconds: of this call; the trial under way is finished.
    """

    trials: int = TRIALS
    seconds: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.trials <= MOST_TRIALS:
            least = f"at least 1 and at most {MOST_TRIALS:,}"
            raise SettingError(f"trials must be {least}, got {shown(self.trials)}")
        if self.seconds is not None and not self.seconds > 0:
            raise SettingError(f"seconds must be above 0, got {self.seconds}")


@dataclass(frozen=True)
class TuneOptions:
    """How a search goes about it.

    Attributes:
        sampler: see :func:`patchrerank.tuning.trials.samplers.make_sampler`; see
            ``tuning/compare_samplers.py`` for how far they come.
        seed: of everything that is drawn: with one worker the same seed gives the same trials,
            also when the search was killed and went on. (With another Optuna, others.)
        constraints: what trials must not do; see
            :func:`patchrerank.tuning.trials.objective.constraints_of`.
        storage: a journal file, or an Optuna storage URL for many machines; None: in memory.
        study_name: in the storage.
        workers: processes, each with the whole table; more than one need a storage. A script
            that asks for several must guard its own start with ``if __name__ == "__main__"``.
        start: stages to try first, beside the first stage alone and the published settings.
        prune: stop a trial when its queries so far say that it is worse than the best
            (Wilcoxon's test); worth it only where scores are computed as trials ask for them.
        progress: show a progress bar.
        made_of: what the table is made of, kept with the study; see
            :func:`patchrerank.tuning.trials.studies.check_study`.
    """

    sampler: str = "refine"
    seed: int = 0
    constraints: Sequence[str | Measure] = ()
    storage: Storage = None
    study_name: str = "patchrerank"
    workers: int = 1
    start: Sequence[tuple[StageSpec, ...]] = ()
    prune: bool = False
    progress: bool = True
    made_of: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise SettingError(f"workers must be at least 1, got {self.workers}")
        if self.workers > 1 and self.storage is None:
            raise SettingError(f"{self.workers} workers need a storage; name a journal file")
        if self.workers > MOST_WORKERS:
            raise SettingError(f"workers must be at most {MOST_WORKERS}, got {self.workers}")
        check_sampler(self.sampler)
        if not 0 <= self.seed < LARGEST_SEED:
            raise SettingError(f"seed must lie in [0, 2^32), got {self.seed}")
