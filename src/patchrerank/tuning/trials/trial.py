"""One trial of a tuning run: settings that were tried, and what they were worth."""

from __future__ import annotations

import math
from dataclasses import dataclass

from patchrerank.errors import SettingError
from patchrerank.pipeline.stages import StageSpec


@dataclass(frozen=True)
class Trial:
    """Settings of a cascade and the metric they reached.

    Attributes:
        number: from 0, in the order in which trials were begun.
        stages: reranker and fusion of each stage.
        value: the metric, higher is better, in [0, 1] for mAP and LocScore; None if the trial
            failed, was pruned, or is still running.

    Raises:
        SettingError: a negative number, or a value that is not finite.
    """

    number: int
    stages: tuple[StageSpec, ...]
    value: float | None

    def __post_init__(self) -> None:
        if self.number < 0:
            raise SettingError(f"a trial's number must be at least 0, got {self.number}")
        if self.value is not None and not math.isfinite(self.value):
            raise SettingError(
                f"trial {self.number}: value must be finite, got {self.value}; use None for a "
                "trial that failed or was pruned"
            )
