"""PCA whitening: decorrelate descriptors, give every kept direction the same say."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from patchrerank.encoders.normalise import normalise_rows
from patchrerank.errors import EncoderError
from patchrerank.files import written_beside
from patchrerank.numpy_files import read_npz
from patchrerank.types import Floats

FLOOR = 1e-10
"""Eigenvalues below this share of the largest one are raised to it."""


@dataclass(frozen=True, eq=False)
class Whitening:
    """v ↦ (v − mean) · matrix, then unit length.

    Attributes:
        mean: float32 ``(d,)``.
        matrix: float32 ``(d, m)``, strongest direction first.
    """

    mean: Floats
    matrix: Floats

    def __post_init__(self) -> None:
        mean = np.ascontiguousarray(self.mean, dtype=np.float32)
        matrix = np.ascontiguousarray(self.matrix, dtype=np.float32)
        if mean.ndim != 1 or matrix.ndim != 2 or len(matrix) != len(mean) or not matrix.size:
            raise EncoderError(
                f"a whitening needs a mean (d,) and a matrix (d, m), got {mean.shape} and "
                f"{matrix.shape}"
            )
        if not (np.isfinite(mean).all() and np.isfinite(matrix).all()):
            raise EncoderError("a whitening must hold finite values only; learn it again")
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "matrix", matrix)

    @property
    def dim(self) -> int:
        """The dimension m of the whitened vectors."""
        return int(self.matrix.shape[1])

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) over shapes and values: equal fingerprints whiten alike."""
        digest = hashlib.sha256(repr(self.matrix.shape).encode())
        for array in (self.mean, self.matrix):
            digest.update(array.astype("<f4").tobytes())
        return digest.hexdigest()

    def apply(self, vectors: npt.ArrayLike) -> Floats:
        """Whiten ``vectors`` ``(N, d)``; returns float32 ``(N, m)`` with rows of L2 norm 1.

        Raises:
            EncoderError: another dimension, NaN, or a row that equals the mean (no direction).
        """
        array = np.asarray(vectors, dtype=np.float32)
        if array.ndim != 2 or array.shape[1] != len(self.mean):
            raise EncoderError(
                f"this whitening takes vectors (N, {len(self.mean)}), got {array.shape}; it was "
                "learned on another encoder's vectors"
            )
        whitened = np.asarray((array - self.mean) @ self.matrix, dtype=np.float32)
        return normalise_rows(whitened, "whitening")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``mean`` and ``matrix`` to exactly ``path`` in numpy's npz format.

        Raises:
            SettingError: the disk is full, or refuses.
        """
        with written_beside(Path(path)) as scratch, scratch.open("wb") as stream:
            np.savez(stream, mean=self.mean, matrix=self.matrix)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Whitening:
        """Read what :meth:`save` wrote; never unpickles.

        Raises:
            EncoderError: the file is missing, damaged or of another kind.
        """
        where = os.fspath(path)
        try:
            arrays = read_npz(path, EncoderError)
            return cls(arrays["mean"], arrays["matrix"])
        except (EncoderError, KeyError, TypeError, ValueError) as error:
            said = str(error).removeprefix(f"{where}: ")
            raise EncoderError(
                f"{where}: not a whitening saved by Whitening.save ({said})"
            ) from error


def learn_whitening(vectors: npt.ArrayLike, dim: int, *, shrinkage: float = 0.0) -> Whitening:
    """Learn a PCA whitening.

    The covariance is decomposed in float64; eigenvalues are floored. Source: Jégou & Chum,
    "Negative evidences and co-occurences in image retrieval" (ECCV 2012).

    Args:
        vectors: float ``(N, d)``, such as a gallery's descriptors; N well above d is better.
        dim: how many directions to keep, at most d and at most N.
        shrinkage: in [0, 1]; pulls the eigenvalues towards their mean, which amplifies weak
            directions less. 0 is full whitening, 1 a mere rotation and cut.

    Raises:
        EncoderError: ``dim`` out of range, NaN values, or vectors that span fewer directions.
    """
    array = np.asarray(vectors, dtype=np.float64)
    _check_learning(array, dim, shrinkage)
    mean = array.mean(axis=0)
    centred = array - mean
    values, directions = np.linalg.eigh(centred.T @ centred / len(array))
    values, directions = values[::-1].clip(0.0), directions[:, ::-1]
    rank = int((values > values[0] * max(array.shape) * np.finfo(np.float64).eps).sum())
    if rank < dim:
        raise EncoderError(
            f"{len(array)} vectors span only {rank} directions around their mean, fewer than "
            f"dim={dim}; learn on more (different) vectors or ask for fewer dimensions"
        )
    shrunk = (1.0 - shrinkage) * values + shrinkage * values.mean()
    kept = directions[:, :dim] / np.sqrt(np.maximum(shrunk[:dim], FLOOR * shrunk[0]))
    return Whitening(mean.astype(np.float32), (kept * _signs(kept)).astype(np.float32))


def _check_learning(array: npt.NDArray[np.float64], dim: int, shrinkage: float) -> None:
    if array.ndim != 2:
        raise EncoderError(f"whitening is learned on vectors (N, d), got the shape {array.shape}")
    count, width = array.shape
    if not 1 <= dim <= width:
        raise EncoderError(f"dim must lie in 1…{width} (the vectors' dimension), got {dim}")
    if count < dim:
        raise EncoderError(
            f"{count} vectors are too few to whiten to {dim} dimensions; use at least {dim + 1}"
        )
    if not 0.0 <= shrinkage <= 1.0:
        raise EncoderError(f"shrinkage must lie in [0, 1], got {shrinkage}")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if bad.size:
        raise EncoderError(f"vector {bad[0]} holds NaN or infinite values; encode it again")


def _signs(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return ±1 a column so that its largest entry is positive, whatever the solver chose."""
    largest = np.abs(matrix).argmax(axis=0)
    return np.where(matrix[largest, np.arange(matrix.shape[1])] < 0, -1.0, 1.0)
