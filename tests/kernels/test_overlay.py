"""A cut-out laid over a picture, beside what Pillow makes of it step by step."""

from __future__ import annotations

import numpy as np
from PIL import Image

from patchrerank.kernels.overlay import overlay


def test_it_is_a_transform_and_a_mix():
    rng = np.random.default_rng(0)
    straight = Image.fromarray(rng.integers(0, 256, (31, 23, 4), dtype=np.uint8))
    piece, ground = straight.convert("RGBa"), rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    back = np.array([[0.6, -0.2, 1.5], [0.25, 0.7, -4.0]])
    out, cover = np.empty_like(ground), np.empty((40, 50), np.float32)
    overlay(np.asarray(piece), back, ground, out, cover)
    how = Image.Transform.AFFINE, back.ravel().tolist(), Image.Resampling.BILINEAR
    layer = np.asarray(piece.transform((50, 40), *how), dtype=np.float32)
    assert np.abs(cover - layer[..., 3] / 255).max() < 1.01 / 255
    mixed = (layer[..., :3] + ground * (1 - layer[..., 3:] / 255)).clip(0, 255)
    assert np.abs(out - mixed).max() <= 3
    outside = layer.max(axis=2) == 0
    assert outside.any() and (out[outside] == ground[outside]).mean() > 0.95
