from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from patchrerank.encoders import (
    DenseEncoder,
    Preprocessing,
    cell_centres,
    load_dense_encoder,
    load_encoder,
    load_one_pass,
)
from patchrerank.encoders.cell_centres import centred_by_design, placement_of
from patchrerank.encoders.feature_maps import open_map_network
from patchrerank.encoders.loading import network_from_spec
from patchrerank.encoders.network import Request
from patchrerank.errors import RegionError
from patchrerank.regions.parsing import parse_regions

CELLS = 8
SPOTS = 16


def encoder_of(spec: str, size: int | None = None) -> DenseEncoder:
    """A dense encoder of a network with random weights, at 8 × 8 cells or so."""
    trained = spec == "efficientnet_lite0"
    return load_dense_encoder(
        spec, image_size=size or 32 * CELLS, device="cpu", pretrained=trained, batch_size=8
    )


def bright_cell(encoder: DenseEncoder) -> tuple[float, float]:
    """How far (across, down) recorded positions lie from a bright cell that they see, in cells.

    The mean over bright cells at many places near the middle, each on noise of its own; where
    a cell is seen is the mean of the recorded positions, weighed by how much it moves them.
    """
    rng = np.random.default_rng(17)
    (height, width), step = encoder.sizes[0], encoder.sizes[0][0] // encoder.grids[0][0]
    off = []
    for number in range(SPOTS):
        plain = rng.integers(60, 200, (height, width, 3), dtype=np.uint8)
        spot = plain.copy()
        y = height // 2 - step + (number * step) // SPOTS
        x = width // 2 - step + (number * 5 % SPOTS * step) // SPOTS
        patch = rng.integers(0, 256, (step, step, 3))
        spot[y : y + step, x : x + step] = patch if number % 2 else patch[:1, :1]
        before, after = (by_cell(found) for found in encoder.encode([[plain], [spot]]))
        weights = np.array([np.square(after[k] - before[k]).sum() for k in before])
        seen = weights @ np.array(list(before)) / weights.sum()
        off.append((seen * [width, height] - [x + step / 2, y + step / 2]) / step)
    across, down = np.mean(off, axis=0)
    return float(across), float(down)


def by_cell(found) -> dict[tuple[float, float], np.ndarray]:
    vectors = found.vectors.astype(np.float64) * found.weights[:, None]
    return {tuple(p): v for p, v in zip(found.positions.tolist(), vectors, strict=True)}


CORNER, MIDDLE, FAR = -0.484375, 0.0, 0.484375
"""Symmetric padding at stride 32, none, TensorFlow's: shifts in cells."""


@pytest.mark.parametrize(
    ("spec", "shift"),
    [
        pytest.param(*("timm:mobilenetv3_small_100", CORNER), marks=pytest.mark.slow),
        ("timm:regnetx_002", CORNER),
        ("timm:tf_mobilenetv3_small_075", FAR),
        pytest.param(*("timm:convnext_atto", MIDDLE), marks=pytest.mark.slow),
        ("timm:test_vit", MIDDLE),
        pytest.param(  # trained weights that make up for their padding
            *("efficientnet_lite0", MIDDLE), marks=pytest.mark.slow
        ),
    ],
)
def test_recorded_positions_are_where_the_network_looks(spec, shift):
    encoder = encoder_of(spec)
    across, down = bright_cell(encoder)
    assert abs(across) < 0.1 and abs(down) < 0.1
    cells = encoder.cells[0]
    for axis in (cells.rows, cells.columns):
        assert axis.first / axis.step - 0.5 == pytest.approx(shift, abs=0.13)
    assert cells.even == (shift == 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "size"),
    [
        *[
            ("timm:" + name, 256)
            for name in ("resnet18", "resnet50", "efficientnet_lite0", "vgg11")
        ],
        *[("timm:" + name, 256) for name in ("densenet121", "hrnet_w18_small", "resnetv2_18")],
        *[("timm:" + name, 256) for name in ("tf_efficientnet_lite0", "tf_efficientnetv2_b0")],
        *[("timm:" + name, 256) for name in ("swin_tiny_patch4_window7_224", "davit_tiny")],
        *[("timm:" + name, 256) for name in ("pvt_v2_b0", "caformer_s18", "inception_v3")],
        *[("timm:" + name, 224) for name in ("hiera_tiny_224", "mvitv2_tiny", "gcvit_xxtiny")],
        *[
            ("timm:" + name, 128)
            for name in ("vit_tiny_patch16_dinov3_qkvb", "deit_tiny_patch16_224")
        ],
        ("open_clip:RN50", 256),
        ("open_clip:ViT-B-32", 256),
    ],
)
def test_recorded_positions_of_more_families(spec, size):
    across, down = bright_cell(encoder_of(spec, size))
    assert abs(across) < 0.1 and abs(down) < 0.1


def test_even_shares_keep_their_fingerprint_and_measured_cells_have_their_own():
    measured, even = encoder_of("timm:regnetx_002"), encoder_of("timm:convnext_atto")
    assert "cells" in measured.describe() and "cells" not in even.describe()
    assert measured.describe()["cells"] == [cells.as_record() for cells in measured.cells]
    settings = {"sizes": [[256, 256]], "count": None, "by": "norm", "detector": None}
    for encoder, same in ((measured, False), (even, True)):
        record = json.dumps({"identity": encoder.identity, **settings}, sort_keys=True)
        before = hashlib.sha256(record.encode()).hexdigest()
        assert (encoder.fingerprint == before) is same


def test_cells_stay_where_they_are_in_pixels_at_other_sizes_and_scales():
    encoder = encoder_of("timm:regnetx_002").resized((320, 192), scales=(1.0, 0.5))
    assert encoder.sizes == ((320, 192), (160, 96))
    for (height, width), cells in zip(encoder.sizes, encoder.cells, strict=True):
        assert cells.rows.first * height == pytest.approx(0.5)
        assert cells.columns.first * width == pytest.approx(0.5)
        assert cells.rows.step * height == cells.columns.step * width == pytest.approx(32)


class Trunk(torch.nn.Module):
    """Three steps of two, each by a symmetric 3 × 3 window."""

    def __init__(self, padding: int = 1) -> None:
        super().__init__()
        windows = [torch.nn.Conv2d(3, 3, 3, 2, padding, groups=3, bias=False) for _ in range(3)]
        for window in windows:
            torch.nn.init.constant_(window.weight, 1 / 9)
        self.windows = torch.nn.Sequential(*windows)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.windows(pixels)


@pytest.mark.parametrize("stride", [8, 1])
def test_a_module_is_measured_too(stride):
    plain = Preprocessing((64, 64), (0.5,) * 3, (0.3,) * 3, "area")
    encoder = load_dense_encoder(
        Trunk(), preprocessing=plain, image_size=64, device="cpu", stride=stride
    )
    axis = encoder.cells[0].rows
    assert axis.first * 64 == pytest.approx(0.5) and axis.step * 64 == pytest.approx(8)


def test_one_pass_pools_the_cells_that_look_at_the_region():
    encoder = load_encoder("timm:regnetx_002", pretrained=False, device="cpu", backend="eager")
    seen = load_one_pass(encoder, "256")
    assert seen.recorded_regions("grid:1") == "grid:1 one-pass:256 cells:measured"
    with pytest.raises(RegionError, match=r"--one-pass one-pass:256$|--one-pass 256$"):
        parse_regions(seen.recorded_regions("grid:1"))
    rng = np.random.default_rng(0)
    plain = rng.integers(60, 200, (256, 256, 3), dtype=np.uint8)
    bright = plain.copy()
    bright[116:140, 116:140] = 255  # the middle, where a cell looks around pixel 128
    middle = np.array([[112, 112, 144, 144]], dtype=np.float32) / 256
    beside = middle + np.array([32, 32, 32, 32], dtype=np.float32) / 256
    boxes = np.concatenate([middle, beside, beside - 64 / 256])
    before, after = (
        seen.encode_regions([seen.prepare_regions(Image.fromarray(p), boxes)])
        for p in (plain, bright)
    )
    moved = 1 - (before * after).sum(axis=1)
    assert moved[0] > 5 * moved[1] and moved[0] > 5 * moved[2]


def test_one_pass_of_even_cells_is_recorded_as_before():
    encoder = load_encoder("efficientnet_lite0", device="cpu", backend="eager")
    assert load_one_pass(encoder, "224").recorded_regions("grid:1") == "grid:1 one-pass:224"


def test_symmetric_padding_keeps_the_centres_by_design():
    assert centred_by_design(torch.nn.Conv2d(3, 4, 3, padding=1))
    assert centred_by_design(torch.nn.Conv2d(3, 4, 5, padding=4, dilation=2))
    assert not centred_by_design(torch.nn.Conv2d(3, 4, 3, padding=2))
    assert not centred_by_design(torch.nn.Conv2d(3, 4, 3, padding=0))


def test_the_same_weights_are_measured_once(monkeypatch):
    network = network_from_spec("timm:test_resnet", Request(pretrained=False))
    native, measured = open_map_network(network, 1).eval(), []
    monkeypatch.setattr(cell_centres, "_placements", {})
    monkeypatch.setattr(
        cell_centres, "measure_placement", lambda *_, known: measured.append(known) or len(measured)
    )
    others = replace(network, weights="others"), replace(network, architecture="others")
    found = [placement_of(one, native) for one in (network, *others, network, *others)]
    assert found == [1, 2, 3] * 2
    module = replace(network, architecture="module:mine")
    assert [placement_of(module, native) for _ in range(2)] == [4, 5]
    assert measured == [True] * 3 + [False] * 2
