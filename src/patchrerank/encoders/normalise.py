"""Unit-length rows, and plain words where that is impossible."""

from __future__ import annotations

import numpy as np

from patchrerank.errors import EncoderError
from patchrerank.types import Floats


def normalise_rows(vectors: Floats, origin: str) -> Floats:
    """Return float32 ``(N, d)`` with rows of L2 norm 1, C-contiguous.

    Args:
        vectors: ``(N, d)``; ``N`` may be 0.
        origin: what made them, as the error names it.

    Raises:
        EncoderError: a row holds NaN or infinite values, or is all zeros.
    """
    norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    bad = np.flatnonzero(~np.isfinite(norms))
    if bad.size:
        raise EncoderError(
            f"{origin} returned NaN or infinite values for {_rows(bad, len(norms))}; the weights "
            "hold such values, or a half precision overflowed (fp32 and bf16 have a wider range)"
        )
    zero = np.flatnonzero(norms <= np.finfo(np.float32).tiny)
    if zero.size:
        raise EncoderError(
            f"{origin} returned an all-zero vector for {_rows(zero, len(norms))}, which has no "
            "direction to compare; check the weights and the preprocessing (mean, std)"
        )
    return np.ascontiguousarray(vectors / norms[:, None], dtype=np.float32)


def _rows(found: np.ndarray, total: int) -> str:
    more = f" and {found.size - 1} more" if found.size > 1 else ""
    return f"row {found[0]}{more} of {total}"
