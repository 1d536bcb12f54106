"""What the arrays that flow through the house are made of."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]
Rows: TypeAlias = npt.NDArray[np.int64]

EMPTY = -1
"""The row number that marks an empty slot of a shortlist."""
