"""PCA whitening: decorrelate descriptors, give every kept direction the same say."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from patchrerank.encoders.normalise import normalise_rows
from patchrerank.errors import EncoderError
from patchrerank.files import written_beside
from patchrerank.numpy_files import read_npz
from patchrerank.types import Floats


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

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) over shapes and values: equal fingerprints whiten alike."""
        digest = hashlib.sha256(repr(self.matrix.shape).encode())
        for array in (self.mean, self.matrix):
            digest.update(array.astype("<f4").tobytes())
        return digest.hexdigest()

    def apply(self, vectors: npt.ArrayLike) -> Floats:
        """Whiten ``vectors`` ``(N, d)`` of L2 norm 1; returns float32 ``(N, m)``, likewise.

        Raises:
            EncoderError: another dimension, NaN, or a row that equals the mean (no direction).
        """
        array = np.asarray(vectors, dtype=np.float32)
        if array.shape == self.mean.shape:
            raise EncoderError(
                f"this whitening takes vectors (N, {len(self.mean)}), got one of {array.shape}; "
                "pass apply(vector[None])[0]"
            )
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
            stream.flush()
            os.fsync(stream.fileno())

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
