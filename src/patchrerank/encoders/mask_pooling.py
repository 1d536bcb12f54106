"""Vectors of crops of which a part counts: the feature map is averaged under a mask."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from patchrerank.cells import CellAxis
from patchrerank.encoders.batching import batches
from patchrerank.encoders.normalise import normalise_rows
from patchrerank.encoders.one_pass import Head, MapRunner
from patchrerank.encoders.one_pass_loading import load_one_pass
from patchrerank.encoders.views import OnePass, View
from patchrerank.errors import EncoderError
from patchrerank.types import Floats

if TYPE_CHECKING:
    from patchrerank.encoders.base import Encoder
    from patchrerank.encoders.preprocessing import Crops


class MaskPooling:
    """Encodes crops by the mean of their feature map under a mask; see :func:`mask_pooling_of`.

    With a mask that is 1 everywhere a vector is the encoder's own, but for rounding.

    Args:
        runner: makes maps of crops.
        head: what stands between the mean of a map and the vector.
        encoder: whose vectors they are; its batches are as many crops.
    """

    def __init__(self, runner: MapRunner, head: Head, encoder: Encoder) -> None:
        self._runner, self._head = runner, head
        self._spec, self._most = encoder.spec, encoder.batch_size

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of crops."""
        return self._runner.preprocessing.image_size

    def encode(self, crops: Crops, masks: Floats) -> Floats:
        """Return float32 ``(B, dim)``, rows of L2 norm 1.

        Args:
            crops: uint8 ``(B, H, W, 3)``.
            masks: float32 ``(B, H, W)`` in [0, 1]; each is above 0 somewhere. A cell counts by its
                share that the mask covers.

        Raises:
            VectorError: the network returned NaN or zero vectors; its rows are crops.
        """
        runner = self._runner
        even = -(-len(crops) // -(-len(crops) // self._most))  # so that cores have equal shares
        flat = runner.backend(batches([crops], even))
        maps = flat.reshape(len(crops), *runner.cells.grid, -1)
        rows = _shares(runner.cells.rows, masks.shape[1])
        columns = _shares(runner.cells.columns, masks.shape[2])
        weights = rows @ masks @ columns.T
        weights /= weights.sum(axis=(1, 2), keepdims=True)
        means = np.einsum("bhw,bhwd->bd", weights, maps)
        return normalise_rows(self._head(np.ascontiguousarray(means)), f"encoder {self._spec}")


def _shares(axis: CellAxis, pixels: int) -> Floats:
    """Return what makes means a cell of pixels along an axis: float32 ``(cells, pixels)``."""
    points = axis.stretched((np.arange(pixels) + 0.5) / pixels) * axis.count
    owners = points.astype(np.int64).clip(0, axis.count - 1)
    belongs = (owners == np.arange(axis.count)[:, None]).astype(np.float32)
    return np.asarray(belongs / np.maximum(belongs.sum(axis=1, keepdims=True), 1))


_known: WeakKeyDictionary[Encoder, dict[float, MaskPooling | None]] = WeakKeyDictionary()
_lock = threading.Lock()


def mask_pooling_of(encoder: Encoder, share: float = 1.0) -> MaskPooling | None:
    """Return what encodes crops under masks in an encoder's space; loaded once an encoder.

    Its crops have ``share`` of the side of the encoder's own, rounded to what the network takes, or
    the encoder's own size where the network takes no other.

    None where the encoder's vectors are not made from the mean of its feature map (class tokens,
    attention pooling; see :func:`patchrerank.encoders.load_one_pass`).
    """
    with _lock:
        known = _known.setdefault(encoder, {})
        for side in (share, 1.0):
            if side not in known:
                known[side] = _loaded(encoder, side)
            if known[side] is not None:
                return known[side]
    return None


def _loaded(encoder: Encoder, share: float) -> MaskPooling | None:
    height, width = encoder.preprocessing.image_size
    side = max(1, round(share * (height * width) ** 0.5))
    try:
        made = load_one_pass(encoder, OnePass((View(side),)))
    except EncoderError:
        return None
    (runner,) = made.runners
    same = runner.preprocessing.image_size == encoder.preprocessing.image_size
    return MaskPooling(runner, made.head, encoder) if same or share < 1 else None
