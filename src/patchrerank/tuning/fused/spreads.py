"""How widely scores spread within a list, and what ranges of λ and γ follow from that."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import expit

from patchrerank.errors import SettingError
from patchrerank.metrics.lists import Bools, Doubles
from patchrerank.types import Floats

LINEAR = 0.25
"""γ times the largest scores, where σ is a straight line within half a percent."""

STEP = 8.0
"""γ times the distance of the quartiles, where σ rises from 0.02 to 0.98 between them."""

SATURATED = 12.0
"""γ times the lower quartile, where σ is 1 for all but the worst, within 1e-5."""

LEAST_RATIO = 16.0
"""The range of γ spans at least that factor."""

WIDER = (0.25, 0.1, 0.05, 0.01, 0.0)
"""Lower quantiles whose distance from their mirror image is tried until one is not 0."""


@dataclass(frozen=True)
class Spread:
    """Where the scores of a list lie: each figure is the median over the lists.

    Attributes:
        low: lower quartile (a lower quantile where quartiles are equal).
        high: upper one, likewise.
        reach: the size of the largest scores, either way, of 99 in 100 candidates.
    """

    low: float
    high: float
    reach: float

    def __post_init__(self) -> None:
        if not -np.inf < self.low < self.high < np.inf or not 0 < self.reach < np.inf:
            raise SettingError(f"a spread needs low < high and reach > 0, got {self}")

    @property
    def width(self) -> float:
        """The distance of the quartiles."""
        return self.high - self.low

    @cached_property
    def gammas(self) -> tuple[float, float]:
        """The useful range of γ.

        From nearly linear (σ differs from a straight line by less than 1 % of its rise: a
        smaller γ is the same ranking with another λ) to nearly a step between the quartiles, or
        to where all but the worst are at 1 if scores are far above 0.
        """
        low = LINEAR / self.reach
        high = STEP / self.width
        if self.low > 0:
            high = min(high, SATURATED / self.low)
        return _rounded(low), _rounded(max(high, LEAST_RATIO * low))

    def sigmoid(self, gamma: float) -> float:
        """Return how far apart σ(γ·s) is for the quartiles; above 0."""
        rise = expit(-gamma * self.low) - expit(-gamma * self.high)
        return max(float(rise), np.finfo(np.float64).tiny)


def spread_of(scores: Floats, valid: Bools) -> Spread:
    """Return the spread of the finite scores ``(Q, K)`` of valid slots.

    Scores that are all the same spread by 1.
    """
    known = np.where(valid & np.isfinite(scores), scores, np.nan).astype(np.float64)
    known = known[~np.isnan(known).all(axis=1)]
    if not known.size:
        return Spread(0.0, 1.0, 1.0)
    reach = float(np.nanquantile(np.abs(known), 0.99)) or 1.0
    for lower in WIDER:
        low, high = _quantiles(known, lower)
        if high > low:
            return Spread(low, high, max(reach, high - low))
    return Spread(low, low + max(1.0, abs(low)), reach)


def lam_of(mix: float, global_width: float, local_width: float) -> float:
    """Return the λ with which the global score has the share ``mix`` of the fused spread.

    Args:
        mix: in [0, 1]; 0 and 1 are λ = 0 and λ = 1.
        global_width: the spread of the global scores.
        local_width: that of σ(γ·s_local).
    """
    weight = mix * local_width
    return weight / (weight + (1 - mix) * global_width)


def mix_of(lam: float, global_width: float, local_width: float) -> float:
    """Return the share of the global score in the fused spread; undoes :func:`lam_of`."""
    weight = lam * global_width
    return weight / (weight + (1 - lam) * local_width)


def _quantiles(known: Doubles, lower: float) -> tuple[float, float]:
    ends = np.nanquantile(known, [lower, 1 - lower], axis=1)
    if lower == 0:
        return float(ends[0].min()), float(ends[1].max())
    low, high = np.median(ends, axis=1)
    return float(low), float(high)


def _rounded(value: float) -> float:
    """Round to three digits, which is easier to read and no less right."""
    return float(f"{value:.3g}")
