"""Values of a grid of λ, γ and shortlist size, checked where they enter."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from patchrerank.errors import SettingError
from patchrerank.fusion import Fusion
from patchrerank.metrics.lists import Doubles
from patchrerank.types import Rows


def check_grid(
    lams: npt.ArrayLike, gammas: npt.ArrayLike, sizes: npt.ArrayLike, width: int
) -> tuple[Doubles, Doubles, Rows]:
    """Return λ ``(L,)``, γ ``(G,)`` and sizes ``(S,)``, these at most ``width``.

    Raises:
        SettingError: one is out of range, or no list of numbers.
    """
    checked = [np.atleast_1d(np.asarray(values)) for values in (lams, gammas, sizes)]
    for name, values in zip(("lams", "gammas", "sizes"), checked, strict=True):
        kinds = "iu" if name == "sizes" else "iuf"
        if values.ndim != 1 or (values.size and values.dtype.kind not in kinds):
            raise SettingError(f"{name} must be a list of numbers, got {values.dtype} array")
    for lam in checked[0]:
        Fusion(lam=float(lam))
    for gamma in checked[1]:
        Fusion(gamma=float(gamma))
    for size in checked[2]:
        Fusion(shortlist_size=int(size))
    heads = np.minimum(checked[2].astype(np.int64), width)
    return checked[0].astype(np.float64), checked[1].astype(np.float64), heads
