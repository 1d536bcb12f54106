"""Linear adaptation: one learned linear layer behind the global descriptors."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.encoders.checkpoints import read_checkpoint
from patchrerank.errors import EncoderError, near_matches
from patchrerank.numpy_files import read_npz
from patchrerank.types import Floats

KEYS = ("weight", "bias")
PREFIX = "layer."


@dataclass(frozen=True, eq=False)
class LinearAdaptation:
    """x ↦ (Wx + b)/‖Wx + b‖.

    Source: ILIAS (CVPR 2025), linear adaptation.

    Attributes:
        weight: W, float32 ``(d, D)``.
        bias: b, float32 ``(d,)``.

    Raises:
        EncoderError: shapes that do not fit, or values that are not finite.
    """

    weight: Floats
    bias: Floats

    def __post_init__(self) -> None:
        weight = np.ascontiguousarray(self.weight, dtype=np.float32)
        bias = np.ascontiguousarray(self.bias, dtype=np.float32)
        if weight.ndim != 2 or bias.shape != weight.shape[:1]:
            raise EncoderError(
                "a linear adaptation needs a weight (d, D) and a bias (d,), got "
                f"{weight.shape} and {bias.shape}"
            )
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise EncoderError("a linear adaptation must hold finite values only")
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "bias", bias)

    def apply(self, vectors: npt.ArrayLike) -> Floats:
        """Return the adapted vectors, float32 ``(N, d)`` of unit norm, for ``(N, D)``.

        Raises:
            EncoderError: another dimension, or a vector that is mapped to zero.
        """
        array = np.asarray(vectors, dtype=np.float32)
        if array.ndim != 2 or array.shape[1] != self.weight.shape[1]:
            raise EncoderError(
                f"this linear adaptation takes vectors (N, {self.weight.shape[1]}), got "
                f"{array.shape}; it was learned on another encoder's vectors"
            )
        mapped = array @ self.weight.T + self.bias
        norms = np.linalg.norm(mapped, axis=1, keepdims=True)
        bad = np.flatnonzero(~(norms > 0) | ~np.isfinite(norms))
        if bad.size:
            raise EncoderError(f"vector {bad[0]} has no direction after linear adaptation")
        return np.asarray(mapped / norms, dtype=np.float32)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> LinearAdaptation:
        """Read ``weight`` and ``bias`` from a ``.npz``, ``.safetensors`` or torch file.

        The names may start with ``layer.``. No code in the file is run.

        Raises:
            EncoderError: the file is missing, damaged, or lacks one of the two.
        """
        state = read_npz(path, EncoderError) if Path(path).suffix == ".npz" else _read_tensors(path)
        named = {key.removeprefix(PREFIX): value for key, value in state.items()}
        for key in KEYS:
            if key not in named:
                raise EncoderError(
                    f"{os.fspath(path)}: the key {key!r} of a linear adaptation is missing; it "
                    f"holds {', '.join(state) or 'nothing'}{near_matches(key, named)}"
                )
        try:
            return cls(named["weight"], named["bias"])
        except (TypeError, ValueError, EncoderError) as error:
            raise EncoderError(f"{os.fspath(path)}: {error}") from error


def _read_tensors(path: str | os.PathLike[str]) -> dict[str, Any]:
    return {key: value.float().numpy() for key, value in read_checkpoint(path).items()}
