"""Encoders of which all that is compiled at first use is compiled; loaded by name in workers."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image


def warmed(settings: dict[str, Any]) -> Any:
    """Load an encoder and use it once, on a full batch and on less."""
    from patchrerank.encoders import load_encoder

    encoder = load_encoder(**settings)
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    for count in (encoder.batch_size, 1):
        boxes = np.array([[0, 0, 1, 1]] * count, np.float32)
        encoder.encode(encoder.preprocessing.prepare(Image.fromarray(noise), boxes))
    return encoder
