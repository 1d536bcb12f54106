"""Unit-length rows, and plain words where that is impossible."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from patchrerank.errors import VectorError
from patchrerank.types import Floats

NOT_FINITE = (
    "; the weights hold such values, or a half precision overflowed (fp32 and bf16 have a wider "
    "range)"
)
ALL_ZERO = (
    ", which has no direction to compare; check the weights and the preprocessing (mean, std)"
)


def normalise_rows(vectors: Floats, origin: str) -> Floats:
    """Return float32 ``(N, d)`` with rows of L2 norm 1, C-contiguous.

    Args:
        vectors: ``(N, d)``; ``N`` may be 0.
        origin: what made them, as the error names it.

    Raises:
        VectorError: a row holds NaN or infinite values, or is all zeros.
    """
    norms = check_directions(vectors, f"{origin} returned", NOT_FINITE, ALL_ZERO)
    return np.ascontiguousarray(vectors / norms[:, None], dtype=np.float32)


def check_directions(
    vectors: Floats, subject: str, not_finite: str = "", all_zero: str = ""
) -> npt.NDArray[np.float64]:
    """Return the L2 norm of each row, float64 ``(N,)``, all finite and above 0.

    Args:
        vectors: ``(N, d)``.
        subject: how the error begins, as in ``encoder … returned``.
        not_finite: how it ends where values are NaN or infinite.
        all_zero: likewise where all are 0.

    Raises:
        VectorError: names the rows without a direction.
    """
    norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    kinds = (
        (~np.isfinite(norms), "NaN or infinite values for", not_finite),
        (norms <= np.finfo(np.float32).tiny, "an all-zero vector for", all_zero),
    )
    for unusable, what, reason in kinds:
        rows = np.flatnonzero(unusable).tolist()
        if rows:
            more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
            whose = f"row {rows[0]}{more} of {len(norms)}"
            raise VectorError(f"{subject} {what}", whose, reason, rows)
    return np.asarray(norms, dtype=np.float64)
