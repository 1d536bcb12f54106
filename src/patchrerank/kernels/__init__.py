"""The hot loops: plain functions on arrays, compiled when they are first called.

``patch_max`` finds the best patch of each shortlisted image, ``chamfer`` compares sets of
descriptors. Importing this package is cheap: numba and torch are imported by the calls that
need them.
"""

from __future__ import annotations

from patchrerank.kernels.chamfer import (
    Matches,
    chamfer,
    chamfer_matches,
    chamfer_rescored,
)
from patchrerank.kernels.code_stores import PQStore, RabitqStore
from patchrerank.kernels.patches import patch_max
from patchrerank.kernels.rabitq import quantise_rabitq
from patchrerank.kernels.stores import (
    Float16Store,
    Float32Store,
    Int8Store,
    RescoredStore,
    SingleStore,
    Store,
    quantise_int8,
)

__all__ = [
    "Float16Store",
    "Float32Store",
    "Int8Store",
    "Matches",
    "PQStore",
    "RabitqStore",
    "RescoredStore",
    "SingleStore",
    "Store",
    "chamfer",
    "chamfer_matches",
    "chamfer_rescored",
    "patch_max",
    "quantise_int8",
    "quantise_rabitq",
]
