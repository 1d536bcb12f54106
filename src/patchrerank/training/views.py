"""Which part of a gallery picture a batch shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchrerank.errors import SettingError
from patchrerank.types import Floats


@dataclass(frozen=True)
class Windows:
    """Gallery pictures are cut to square windows of their descriptors.

    A step costs less, and objects fill more of what is seen. For every batch one side is drawn,
    evenly from ``least`` to ``most``; a window with a known box holds as much of it as fits, any
    other lies anywhere.

    Attributes:
        least, most: sides of a window as a share of the picture's, in (0, 1]. Two ones: whole
            pictures.

    Raises:
        SettingError: shares out of range or out of order.
    """

    least: float = 1.0
    most: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.least <= self.most <= 1:
            raise SettingError(
                f"windows need 0 < least <= most <= 1, got {self.least} and {self.most}"
            )

    def draw(self, rng: np.random.Generator) -> float:
        """Return the side of a batch's windows."""
        return float(rng.uniform(self.least, self.most)) if self.least < 1 else 1.0


def window(side: float, box: Floats | None, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return a random square ``(4,)`` in the picture: ``x0, y0, x1, y1`` in [0, 1].

    Args:
        side: of the square, in (0, 1].
        box: ``(4,)``, what it must show as much of as fits; None: anything.
        rng: where it lies.
    """
    low, high = np.zeros(2), np.full(2, 1 - side)
    if box is not None:
        ends = np.sort([box[:2], box[2:] - side], axis=0)
        low, high = np.clip(ends[0], 0, 1 - side), np.clip(ends[1], 0, 1 - side)
    corner = rng.uniform(low, high)
    return np.concatenate([corner, corner + side])


def inside(positions: Floats, box: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return the numbers of the positions ``(n, 2)`` that lie in a box, ascending.

    Where none does: of the one that is nearest to the middle of the box.
    """
    x0, y0, x1, y1 = np.asarray(box, dtype=np.float64)
    x, y = positions[:, 0], positions[:, 1]
    found = np.flatnonzero((x >= x0) & (x <= x1) & (y >= y0) & (y <= y1))
    if len(found) or not len(positions):
        return found
    distance = np.abs(x - (x0 + x1) / 2) + np.abs(y - (y0 + y1) / 2)
    return np.array([int(np.argmin(distance))])
