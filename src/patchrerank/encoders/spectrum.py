"""The variances of descriptors along their principal directions: what a whitening is cut from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.encoders.whitening import Whitening
from patchrerank.errors import EncoderError
from patchrerank.types import Rows

Doubles = npt.NDArray[np.float64]
Array = npt.NDArray[Any]

FLOOR = 1e-10
"""Eigenvalues below this share of the largest one are raised to it."""
VARIANCE = 0.9
"""Share of the variance that is kept where nobody says how many dimensions."""
STEP = 64
"""What that number is rounded up to: parts of a product quantiser, and whole cache lines."""
BLOCK = 4096


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Mean, principal directions and variances of vectors ``(N, d)``.

    Attributes:
        mean: float64 ``(d,)``.
        values: float64 ``(d,)``, the variances, largest first, at least 0.
        directions: float64 ``(d, d)``, a column each.
        shrinkage: in [0, 1]: by how much a whitening pulls the variances towards their mean.
        vectors: N.
        groups: independent ones among them, such as the images of patches.
    """

    mean: Doubles
    values: Doubles
    directions: Doubles
    shrinkage: float
    vectors: int
    groups: int

    @property
    def rank(self) -> int:
        """How many directions the vectors span around their mean."""
        tiny = max(self.vectors, len(self.values)) * np.finfo(np.float64).eps
        return int((self.values > self.values[0] * tiny).sum())

    def held(self, dim: int) -> float:
        """Return the share of the variance, in [0, 1], along the ``dim`` strongest directions."""
        return float(self.values[:dim].sum() / max(self.values.sum(), np.finfo(np.float64).tiny))

    def holding(self, share: float) -> int:
        """Return the fewest directions along which lies this share, in [0, 1], of the variance."""
        sums = np.cumsum(self.values)
        return min(int(np.searchsorted(sums, share * sums[-1])) + 1, len(sums))

    def chosen_dim(self) -> int:
        """Return how many dimensions to keep: 90 % of the variance, rounded up to 64s.

        Never more than the vectors span. Measured: ``docs/whitening.md``.
        """
        steps = -(-self.holding(VARIANCE) // STEP)
        return max(1, min(steps * STEP, self.rank))

    def whitening(self, dim: int) -> Whitening:
        """Return the whitening to the ``dim`` strongest directions.

        Raises:
            EncoderError: ``dim`` out of range, or the vectors span fewer directions.
        """
        width, rank = len(self.mean), self.rank
        if not 1 <= dim <= width:
            raise EncoderError(f"dim must lie in 1…{width} (the vectors' dimension), got {dim}")
        if self.vectors < dim:
            raise EncoderError(
                f"{self.vectors} vectors are too few to whiten to {dim} dimensions; use at least "
                f"{dim + 1}, or ask for fewer dimensions"
            )
        if rank < dim:
            raise EncoderError(
                f"{self.vectors} vectors span only {rank} directions around their mean, fewer than "
                f"dim={dim}; learn on more (different) vectors or ask for fewer dimensions"
            )
        shrunk = (1.0 - self.shrinkage) * self.values + self.shrinkage * self.values.mean()
        scale = np.sqrt(np.maximum(shrunk[:dim], FLOOR * shrunk[0]))
        kept = self.directions[:, :dim] / scale
        return Whitening(self.mean.astype(np.float32), (kept * _signs(kept)).astype(np.float32))


def learn_spectrum(
    vectors: npt.ArrayLike, ends: Rows | None = None, *, shrinkage: float | None = None
) -> Spectrum:
    """Learn what a PCA-whitening needs.

    The covariance is summed and decomposed in float64. Source of the whitening: Jégou & Chum,
    "Negative evidences and co-occurences in image retrieval" (ECCV 2012).

    Args:
        vectors: float ``(N, d)``, such as a gallery's patch vectors.
        ends: int64 ``(I,)``: vectors of group (image) i end before ``ends[i]``; they are no
            independent samples of each other. None: each vector is by itself.
        shrinkage: in [0, 1]; 0 is full whitening, 1 a mere rotation and cut. None: as few groups
            ask for, after Ledoit & Wolf, "A well-conditioned estimator for large-dimensional
            covariance matrices" (JMVA 2004), Lemma 3.2–3.4, where groups are what was sampled.

    Raises:
        EncoderError: no vectors ``(N, d)``, NaN values, or shrinkage out of range.
    """
    array = np.asarray(vectors)
    _check(array, shrinkage)
    mean = array.mean(axis=0, dtype=np.float64)
    scatter = np.zeros((array.shape[1], array.shape[1]))
    for start in range(0, len(array), BLOCK):
        block = array[start : start + BLOCK] - mean
        scatter += block.T @ block
    values, directions = np.linalg.eigh(scatter / len(array))
    values, directions = values[::-1].clip(0.0), directions[:, ::-1]
    borders = np.arange(1, len(array) + 1) if ends is None else ends
    if shrinkage is None:
        shrinkage = _ledoit_wolf(array, mean, borders, values)
    return Spectrum(mean, values, directions, shrinkage, len(array), len(borders))


def _ledoit_wolf(array: Array, mean: Doubles, ends: Rows, values: Doubles) -> float:
    """Return β² / δ²: what the covariance owes to the choice of groups, of its distance to μI."""
    spread = sum(float(np.square(own @ own.T).sum()) for own in _groups(array, mean, ends))
    weights = np.diff(ends, prepend=0) / len(array)
    squares = float(np.square(values).sum())
    noise = spread / len(array) ** 2 - squares * float(np.square(weights).sum())
    distance = squares - float(values.sum()) ** 2 / len(values)
    return min(max(noise / distance, 0.0), 1.0) if distance > 0 else 0.0


def _groups(array: Array, mean: Doubles, ends: Rows) -> Iterator[Doubles]:
    start = 0
    for end in ends.tolist():
        yield array[start:end] - mean
        start = end


def _check(array: Array, shrinkage: float | None) -> None:
    if array.ndim != 2 or not array.size:
        raise EncoderError(f"whitening is learned on vectors (N, d), got the shape {array.shape}")
    if shrinkage is not None and not 0.0 <= shrinkage <= 1.0:
        raise EncoderError(f"shrinkage must lie in [0, 1], got {shrinkage}")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if bad.size:
        raise EncoderError(f"vector {bad[0]} holds NaN or infinite values; encode it again")


def _signs(matrix: Doubles) -> Doubles:
    """Return ±1 a column so that its largest entry is positive, whatever the solver chose."""
    largest = np.abs(matrix).argmax(axis=0)
    return np.where(matrix[largest, np.arange(matrix.shape[1])] < 0, -1.0, 1.0)
