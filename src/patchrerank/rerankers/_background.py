"""What local descriptors look like in general, so that a query's own can be told from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from patchrerank.types import Floats

if TYPE_CHECKING:
    from patchrerank.gallery import LocalStore

Doubles = npt.NDArray[np.float64]

SHRINKAGE = 20.0
"""What is added to all variances, as a multiple of their mean."""


@dataclass(frozen=True, eq=False)
class Background:
    """Mean μ and shrunk inverse covariance of the local descriptors of a gallery.

    Attributes:
        mean: float64 ``(D,)``.
        precision: float64 ``(D, D)``, (Σ + ``SHRINKAGE`` · tr Σ / D · I)⁻¹ but for a factor.
    """

    mean: Doubles
    precision: Doubles

    @classmethod
    def of(cls, local: LocalStore) -> Background:
        """Learn it from a sample of a store; always the same from the same store."""
        vectors = local.sample().astype(np.float64)
        mean: Doubles = vectors.sum(axis=0) / max(len(vectors), 1)
        centred = vectors - mean
        variance = float((centred**2).sum()) / local.dim
        if variance == 0.0:
            return cls(mean, np.eye(local.dim))
        ridge = SHRINKAGE * variance * np.eye(local.dim)
        inverse = np.linalg.inv((centred.T @ centred + ridge) / variance)
        return cls(mean, np.asarray(inverse, dtype=np.float64))

    def filter_of(self, vectors: Floats) -> Floats:
        """Return what tells descriptors ``(n, D)``, n ≥ 1, from the background.

        (Σ + …)⁻¹ (q − μ), q their mean: the linear discriminant of two Gaussians of one
        covariance (Hariharan, Malik, Ramanan: Discriminative Decorrelation for Clustering and
        Classification, ECCV 2012). Its inner product with a descriptor is high on the query's
        object, and low where anything of the gallery would match as well.

        Returns:
            float32 ``(D,)`` of unit norm; zeros where nothing tells them apart.
        """
        found = self.precision @ (vectors.astype(np.float64).mean(axis=0) - self.mean)
        norm = float(np.linalg.norm(found))
        return np.asarray(found / norm if norm > 0 else found, dtype=np.float32)
