"""Proof that a back end computes what torch computes: the same crops, the same directions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from patchrerank.encoders.backends.base import Precision
from patchrerank.encoders.backends.torch_eager import TorchEager
from patchrerank.encoders.preprocessing import Crops
from patchrerank.errors import EncoderError
from patchrerank.types import Floats

if TYPE_CHECKING:
    from patchrerank.encoders.network import Network

CROPS = 5
LEAST_COSINE = {"fp32": 0.9999, "bf16": 0.999, "fp16": 0.999}
"""By precision; half precisions are compared with torch in the same precision, and both round."""


@dataclass(frozen=True, eq=False)
class Agreement:
    """Crops, and the vectors that eager torch makes of them.

    Attributes:
        crops: uint8 ``(5, height, width, 3)``.
        vectors: float32 ``(5, d)``, not normalised.
        least: the cosine that another back end's vectors must reach with each of these.
    """

    crops: Crops
    vectors: Floats
    least: float

    @classmethod
    def of(cls, network: Network, device: str, precision: Precision) -> Agreement:
        """Run the test crops through eager torch; the module keeps its memory layout.

        Raises:
            EncoderError: torch itself does not run the network, or not to one vector a crop.
        """
        crops = agreement_crops(network.preprocessing.image_size)
        plain = replace(network, channels_last=False)
        eager = TorchEager(plain, device=device, precision=precision)
        try:
            return cls(crops, eager([crops]), LEAST_COSINE[precision])
        except EncoderError:
            raise
        except Exception as error:
            raise EncoderError(
                f"torch cannot run {network.architecture} on crops of {crops.shape[1]} × "
                f"{crops.shape[2]} pixels: {type(error).__name__}: {error}"
            ) from error

    def check(self, name: str, run: Callable[[Crops], Floats], batch: int = CROPS) -> None:
        """Compare ``run`` on a batch of that size (the crops repeat, or are cut) with torch.

        Raises:
            EncoderError: another shape, or a cosine below ``least``.
        """
        rows = np.resize(np.arange(CROPS), batch)
        expected, found = self.vectors[rows], run(self.crops[rows])
        if found.shape != expected.shape:
            raise EncoderError(
                f"backend {name!r} returned {found.shape} where torch returns {expected.shape}; "
                "pass backend='eager'"
            )
        cosine = least_cosine(found, expected)
        if not cosine >= self.least:
            raise EncoderError(
                f"backend {name!r} disagrees with torch: cosine {cosine:.6f}, and {self.least} is "
                "needed before its vectors may stand beside others; pass backend='eager'"
            )


def agreement_crops(image_size: tuple[int, int]) -> Crops:
    """Return fixed pictures: fine and coarse noise, gradients, and mixtures of them.

    Returns:
        uint8 ``(5, height, width, 3)``, the same at every call.
    """
    height, width = image_size
    rng = np.random.default_rng(0)
    fine = rng.uniform(0, 255, (height, width, 3))
    coarse = rng.uniform(0, 255, (-(-height // 16), -(-width // 16), 3))
    coarse = coarse.repeat(16, axis=0).repeat(16, axis=1)[:height, :width]
    down, across = np.linspace(0, 1, height)[:, None, None], np.linspace(0, 1, width)[:, None]
    warm = down * np.array([255.0, 160.0, 40.0]) * np.ones_like(across)
    cool = across * np.array([30.0, 120.0, 255.0]) * np.ones_like(down)
    pictures = [fine, coarse, warm, (coarse + cool) / 2, (fine + 3 * (255 - warm)) / 4]
    return np.stack(pictures).round().astype(np.uint8)


def least_cosine(found: Floats, expected: Floats) -> float:
    """Return the smallest cosine of rows ``(B, d)``; NaN if one holds NaN or has no direction.

    Rows that are bitwise alike (NaN and zero included) count as 1.
    """
    same = ((found == expected) | (np.isnan(found) & np.isnan(expected))).all(axis=1)
    first, second = found.astype(np.float64), expected.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        products = (first * second).sum(axis=1)
        cosines = products / (np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1))
    return float(np.where(same, 1.0, cosines).min())
