from __future__ import annotations

import itertools
import json

import numpy as np
import open_clip
import open_clip.factory
import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from patchrerank.cells import Cells
from patchrerank.encoders import (
    Preprocessing,
    Selection,
    load_dense_encoder,
    load_encoder,
    restrict,
    salient_part,
)
from patchrerank.encoders.picking import otsu_threshold
from patchrerank.errors import EncoderError, QueryError, RegionError, SettingError
from patchrerank.types import LocalDescriptors

PLAIN = Preprocessing((8, 8), (0.0,) * 3, (1.0,) * 3, "area")


class Coordinates(torch.nn.Module):
    """A map whose cell (row, column) holds (row, column, 1) times a strength of its own."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        cells = torch.nn.functional.avg_pool2d(pixels, 4)
        height, width = cells.shape[2:]
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        strength = 1.0 + ((7 * rows + 3 * columns) % 5)
        stacked = torch.stack([rows, columns, torch.ones_like(rows)]).float() * strength
        return stacked.expand(len(pixels), -1, -1, -1)


class Pixels(torch.nn.Module):
    """The pixels of each 4 × 4 cell, averaged: a map that depends on the picture."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(pixels, 4)


def dense(module=None, **settings):
    chosen = {"preprocessing": PLAIN, "device": "cpu", "stride": 4, "image_size": (12, 16)}
    return load_dense_encoder(module or Coordinates(), **{**chosen, **settings})


def picture(seed: int = 0, width: int = 50, height: int = 40) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def cells_of(found: LocalDescriptors, grids) -> list[tuple[int, int]]:
    """Row and column of each descriptor, from its position."""
    sizes = np.array(grids)[found.scales]
    return [tuple(cell) for cell in np.floor(found.positions[:, ::-1] * sizes).astype(int).tolist()]


def same(first: LocalDescriptors, second: LocalDescriptors) -> bool:
    names = ("vectors", "positions", "scales", "weights")
    return all(np.array_equal(getattr(first, n), getattr(second, n)) for n in names)


@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0, 2.0)])
def test_positions_weights_and_order_are_those_of_the_cells(scales):
    encoder = dense(scales=scales)
    found = encoder.encode_images([picture()])[0]
    assert encoder.grids == tuple((h // 4, w // 4) for h, w in encoder.sizes)
    expected = []
    for scale, (height, width) in enumerate(encoder.grids):
        for row in range(height):
            for column in range(width):
                strength = 1 + (7 * row + 3 * column) % 5
                vector = np.array([row, column, 1.0]) * strength
                centre = ((column + 0.5) / width, (row + 0.5) / height)
                expected.append((float(np.linalg.norm(vector)), scale, vector, centre))
    expected.sort(key=lambda entry: -np.float32(entry[0]))  # stable
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.weights, [e[0] for e in expected], rtol=1e-6)
    np.testing.assert_array_equal(found.scales, [e[1] for e in expected])
    units = [e[2] / np.linalg.norm(e[2]) for e in expected]
    np.testing.assert_allclose(found.vectors, units, atol=1e-6)
    np.testing.assert_allclose(found.positions, [e[3] for e in expected], atol=1e-6)
    assert found.vectors.dtype == found.positions.dtype == found.weights.dtype == np.float32
    assert found.scales.dtype == np.int16


def test_sizes_are_rounded_to_the_stride():
    encoder = dense(image_size=(13, 18), scales=(1.0, 0.1, 0.7))
    assert encoder.sizes == ((12, 20), (4, 4), (8, 12))


def test_a_count_keeps_the_strongest_over_all_scales():
    every = dense(scales=(1.0, 2.0)).encode_images([picture()])[0]
    few = dense(scales=(1.0, 2.0), selection=Selection(7)).encode_images([picture()])[0]
    assert len(few) == 7 and set(few.scales.tolist()) == {1}
    np.testing.assert_array_equal(few.vectors, every.vectors[:7])


def test_equal_strengths_keep_the_order_of_the_cells():
    class Flat(torch.nn.Module):
        def forward(self, pixels):
            return torch.ones(len(pixels), 2, 3, 4)

    found = dense(Flat()).encode_images([picture()])[0]
    np.testing.assert_array_equal(found.positions, Cells.equal(3, 4).centres())


def test_the_descriptors_are_those_of_the_squashed_picture():
    image = picture(1, 32, 24)
    encoder = dense(Pixels())
    found = encoder.encode_images([image])[0]
    squashed = np.asarray(image.resize((16, 12), Image.Resampling.BOX), dtype=np.float64) / 255
    means = squashed.reshape(3, 4, 4, 4, 3).mean(axis=(1, 3))
    for (row, column), vector in zip(cells_of(found, encoder.grids), found.vectors, strict=True):
        unit = means[row, column] / np.linalg.norm(means[row, column])
        np.testing.assert_allclose(vector, unit, atol=1e-6)


def test_a_cell_without_a_direction_is_left_out():
    black = Image.new("RGB", (16, 12))
    assert len(dense(Pixels()).encode_images([black])[0]) == 0
    half = Image.new("RGB", (16, 12))
    half.paste((200, 10, 10), (8, 0, 16, 12))
    found = dense(Pixels()).encode_images([half])[0]
    assert len(found) == 6 and found.positions[:, 0].min() > 0.5


def test_batches_do_not_change_what_is_found():
    images = [picture(seed) for seed in range(5)]
    together = dense(Pixels(), batch_size=5).encode_images(images)
    alone = dense(Pixels(), batch_size=2).encode_images(images)
    assert all(same(*pair) for pair in zip(together, alone, strict=True))
    assert dense().encode_images([]) == []


def test_nan_is_an_error():
    class Broken(torch.nn.Module):
        def forward(self, pixels):
            return pixels * (float("nan") if pixels.mean() < 0.1 else 1.0)

    encoder = dense(Broken())
    with pytest.raises(EncoderError, match="NaN"):
        encoder.encode_images([Image.new("RGB", (16, 12))])


@pytest.mark.parametrize("module", [torch.nn.Flatten(), torch.nn.Conv2d(5, 2, 1)])
def test_a_module_without_a_map_is_refused_when_loaded(module):
    with pytest.raises(EncoderError, match=r"one feature map a picture|cannot encode"):
        dense(module)


def test_nan_weights_are_refused_when_loaded():
    broken = torch.nn.Conv2d(3, 2, 4, 4)
    torch.nn.init.constant_(broken.weight, float("nan"))
    with pytest.raises(EncoderError, match="NaN"):
        dense(broken)


def test_a_map_without_cells_is_refused_when_loaded():
    class Nothing(torch.nn.Module):
        def forward(self, pixels):
            return pixels[:, :, :0, :0]

    with pytest.raises(EncoderError, match="no cells"):
        dense(Nothing())


@pytest.mark.parametrize("output", [lambda x: (x, x), lambda x: {"map": x}, lambda x: [x]])
def test_several_outputs_are_refused_when_loaded(output):
    class Several(torch.nn.Module):
        def forward(self, pixels):
            return output(pixels)

    with pytest.raises(EncoderError, match="one feature map a picture"):
        dense(Several())


@pytest.mark.parametrize("scales", [(), (0.0,), (float("nan"),), (-1.0, 1.0)])
def test_bad_scales(scales):
    with pytest.raises(EncoderError, match="scales"):
        dense(scales=scales)


def test_identity_leaves_out_sizes_and_the_fingerprint_does_not():
    first = dense()
    other = first.resized(24)
    assert other.sizes == ((24, 24),) and other.identity == first.identity
    few = first.resized(selection=Selection(3))
    prints = {first.fingerprint, other.fingerprint, few.fingerprint}
    assert len(prints) == 3 and few.identity == first.identity
    moved = Preprocessing((8, 8), (0.1,) * 3, (1.0,) * 3, "area")
    assert dense(preprocessing=moved).identity != first.identity
    assert dense(Pixels()).identity != first.identity
    assert json.loads(json.dumps(first.describe()))["identity"] == first.identity


# --- real kinds of networks -----------------------------------------------------------------


def given_crop(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)


def normalised(crop: np.ndarray, preprocessing: Preprocessing) -> torch.Tensor:
    values = (crop / 255.0 - preprocessing.mean) / preprocessing.std
    return torch.from_numpy(values).permute(2, 0, 1)[None].float()


def check_against(encoder, crop: np.ndarray, maps: torch.Tensor) -> None:
    """Compare with a feature map ``(1, D, h, w)`` computed another way."""
    found = encoder.encode([[crop]])[0]
    assert encoder.grids == (tuple(maps.shape[2:]),)
    assert len(found) == maps.shape[2] * maps.shape[3]
    table = maps[0].permute(1, 2, 0).numpy()
    rows, columns = np.array(cells_of(found, encoder.grids)).T
    expected = table[rows, columns]
    norms = np.linalg.norm(expected, axis=1)
    np.testing.assert_allclose(found.weights, norms, rtol=1e-4)
    np.testing.assert_allclose(found.vectors, expected / norms[:, None], atol=2e-4)


@pytest.mark.parametrize("size", [(160, 160), (96, 64)])
def test_timm_transformer(tmp_path, size):
    torch.manual_seed(5)
    model = timm.create_model("test_vit", num_classes=0).eval()
    torch.save(model.state_dict(), tmp_path / "w.pt")
    encoder = load_dense_encoder(
        f"timm:test_vit/{tmp_path / 'w.pt'}", image_size=size, device="cpu"
    )
    assert encoder.sizes == (size,)
    crop = given_crop(size)
    with torch.no_grad():
        model.set_input_size(img_size=size)
        tokens = model.forward_features(normalised(crop, encoder.preprocessing))[:, 1:]
    height, width = size[0] // 16, size[1] // 16
    check_against(encoder, crop, tokens.transpose(1, 2).reshape(1, -1, height, width))


def test_timm_transformers_share_an_identity_over_sizes_however_they_were_loaded():
    small, large = (
        load_dense_encoder("timm:test_vit", pretrained=False, image_size=size, device="cpu")
        for size in (64, 160)
    )
    assert small.identity == large.identity == small.resized(160).identity
    crop = given_crop((160, 160))
    assert same(large.encode([[crop]])[0], small.resized(160).encode([[crop]])[0])
    encoder = load_encoder("timm:test_vit", pretrained=False, image_size=64, device="cpu")
    again = load_dense_encoder(encoder, image_size=160)
    assert again.identity == large.identity


@pytest.mark.parametrize("model", ["test_resnet", "test_convnext"])
def test_timm_convolutional(model):
    encoder = load_dense_encoder(f"timm:{model}", pretrained=False, image_size=100, device="cpu")
    assert encoder.sizes == ((96, 96),) and encoder.grids == ((3, 3),)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        own = timm.create_model(model, num_classes=0).eval()
    crop = given_crop((96, 96))
    with torch.no_grad():
        check_against(encoder, crop, own.forward_features(normalised(crop, encoder.preprocessing)))


def test_efficientnet_lite0():
    encoder = load_encoder("efficientnet_lite0", device="cpu", backend="eager")
    maps = load_dense_encoder(encoder, image_size=224)
    assert maps.grids == ((7, 7),) and maps.dim == 1280
    crop = given_crop((224, 224))
    found = maps.encode([[crop]])[0]
    pooled = (found.vectors * found.weights[:, None]).mean(axis=0)
    vector = encoder.encode(crop[None])[0]
    assert vector @ pooled / np.linalg.norm(pooled) == pytest.approx(1.0, abs=1e-5)
    assert maps.resized(448).grids == ((14, 14),)


TEXT = {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
VISION = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16}
COCA = {**VISION, "attentional_pool": True, "output_tokens": True}
TIMM = {"timm_model_name": "test_vit", "timm_pool": "avg", "timm_proj": None, "image_size": 160}
RESNET = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}
TOWERS = {
    "dense-vit": {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT},
    "dense-timm": {"embed_dim": 64, "vision_cfg": TIMM, "text_cfg": TEXT, "custom_text": True},
    "dense-rn": {"embed_dim": 24, "vision_cfg": RESNET, "text_cfg": TEXT},
    "dense-coca": {
        "embed_dim": 24,
        "vision_cfg": COCA,
        "text_cfg": {**TEXT, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {**TEXT, "attn_pooler_heads": 2},
        "custom_text": True,
    },
}


@pytest.fixture
def towers(tmp_path, monkeypatch):
    for name, config in TOWERS.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(config))
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", dict(open_clip.factory._MODEL_CONFIGS))
    paths = list(open_clip.factory._MODEL_CONFIG_PATHS)
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIG_PATHS", paths)
    open_clip.add_model_config(tmp_path)


def saved_tower(folder, name: str):
    torch.manual_seed(11)
    model = open_clip.create_model(name, pretrained_text=False).eval()
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "w.safetensors")
    return model.visual, f"open_clip:{name}/{folder / 'w.safetensors'}"


@pytest.mark.parametrize("size", [(32, 32), (64, 48)])
def test_open_clip_transformer(towers, tmp_path, size):
    _, spec = saved_tower(tmp_path, "dense-vit")
    encoder = load_dense_encoder(spec, image_size=size, device="cpu")
    own = open_clip.create_model(
        "dense-vit",
        pretrained=str(tmp_path / "w.safetensors"),
        force_image_size=size,
        pretrained_text=False,
    ).visual.eval()
    crop = given_crop(size)
    with torch.no_grad():
        own.output_tokens = True
        _, tokens = own(normalised(crop, encoder.preprocessing))
    height, width = size[0] // 16, size[1] // 16
    check_against(encoder, crop, tokens.transpose(1, 2).reshape(1, -1, height, width))


def test_open_clip_resnet(towers, tmp_path):
    visual, spec = saved_tower(tmp_path, "dense-rn")
    encoder = load_dense_encoder(spec, image_size=96, device="cpu")
    crop = given_crop((96, 96))
    with torch.no_grad():
        x = visual.stem(normalised(crop, encoder.preprocessing))
        for name in ("layer1", "layer2", "layer3", "layer4"):
            x = getattr(visual, name)(x)
    check_against(encoder, crop, x)


@pytest.mark.parametrize(("name", "grid"), [("dense-timm", 10), ("dense-coca", 10)])
def test_other_open_clip_towers(towers, tmp_path, name, grid):
    _, spec = saved_tower(tmp_path, name)
    encoder = load_dense_encoder(spec, image_size=160, device="cpu")
    assert encoder.grids == ((grid, grid),)
    assert len(encoder.encode_images([picture()])[0]) == grid * grid


def test_bf16_is_near_and_has_another_identity():
    full, half = (
        load_dense_encoder(
            "timm:test_vit", pretrained=False, image_size=96, device="cpu", precision=precision
        )
        for precision in ("fp32", "bf16")
    )
    assert full.identity != half.identity
    first, second = (e.resized(96).encode_images([picture()])[0] for e in (full, half))
    order = [np.lexsort(found.positions.T) for found in (first, second)]
    cosines = (first.vectors[order[0]] * second.vectors[order[1]]).sum(axis=1)
    assert cosines.min() > 0.98


def test_an_encoder_of_a_module_cannot_be_used(tiny_encoder):
    with pytest.raises(EncoderError, match="feature map"):
        load_dense_encoder(tiny_encoder)


# --- selection by a detector ----------------------------------------------------------------


def detector_state(channels: int, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    return {
        "conv1.weight": draw(channels, channels, 1, 1),
        "conv1.bias": draw(channels),
        "bn.weight": draw(channels),
        "bn.bias": draw(channels),
        "bn.running_mean": draw(channels),
        "bn.running_var": draw(channels).abs() + 0.5,
        "conv2.weight": draw(1, channels, 1, 1),
        "conv2.bias": draw(1),
    }


@pytest.mark.parametrize("form", ["plain", "attention", "larger"])
@pytest.mark.parametrize("projected", [False, True])
def test_detector(tmp_path, form, projected):
    state = detector_state(3)
    path = tmp_path / "detector.safetensors"
    prefix = "" if form == "plain" else "attention."
    extra = {"trunk.conv1.weight": torch.zeros(2)} if form == "larger" else {}
    save_file({**extra, **{prefix + key: value for key, value in state.items()}}, path)
    chosen = Selection(5, "detector", path, projected=projected)
    encoder, plain = dense(Pixels(), selection=chosen), dense(Pixels())
    image = picture(4)
    cells = plain.encode_images([image])[0]
    raw = (cells.vectors * cells.weights[:, None]).astype(np.float64)
    numbers = {key: value.double().numpy() for key, value in state.items()}
    hidden = raw @ numbers["conv1.weight"][:, :, 0, 0].T + numbers["conv1.bias"]
    hidden = (hidden - numbers["bn.running_mean"]) / np.sqrt(numbers["bn.running_var"] + 1e-5)
    hidden = hidden * numbers["bn.weight"] + numbers["bn.bias"]
    logits = np.maximum(hidden, 0) @ numbers["conv2.weight"][0, :, 0, 0] + numbers["conv2.bias"]
    order = np.argsort(-logits)[:5]
    found = encoder.encode_images([image])[0]
    np.testing.assert_allclose(found.weights, np.log1p(np.exp(logits[order])), rtol=1e-4)
    np.testing.assert_allclose(found.positions, cells.positions[order])
    kept = (hidden if projected else raw)[order]
    unit = kept / np.linalg.norm(kept, axis=1, keepdims=True)
    np.testing.assert_allclose(found.vectors, unit, atol=1e-4)
    assert (encoder.identity == plain.identity) is not projected
    assert encoder.fingerprint != plain.fingerprint


def test_wrong_detector_files(tmp_path):
    state = detector_state(3)
    cases = {
        "none": {"conv9.weight": torch.zeros(1)},
        "missing": {k: v for k, v in state.items() if k != "bn.weight"},
        "shape": {**state, "conv2.weight": torch.zeros(2, 3, 1, 1)},
        "channels": detector_state(4),
    }
    for name, content in cases.items():
        save_file(content, tmp_path / f"{name}.safetensors")
        with pytest.raises(EncoderError):
            dense(selection=Selection(5, "detector", tmp_path / f"{name}.safetensors"))
    with pytest.raises(EncoderError, match="no such checkpoint"):
        dense(selection=Selection(5, "detector", tmp_path / "absent.pt"))


@pytest.mark.parametrize(
    "settings",
    [{"count": 0}, {"by": "size"}, {"by": "detector"}, {"detector": "x.pt"}, {"projected": True}],
)
def test_impossible_selections(settings):
    with pytest.raises(SettingError, match="selection"):
        Selection(**settings)


# --- the part of a query --------------------------------------------------------------------


@given(st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4))
def test_a_box_keeps_the_cells_whose_centre_it_holds(sides):
    x0, x1 = sorted(sides[:2])
    y0, y1 = sorted(sides[2:])
    everything = GRID
    if not (x0 < x1 and y0 < y1):
        with pytest.raises(RegionError):
            restrict(everything, [x0, y0, x1, y1])
        return
    kept = restrict(everything, [x0, y0, x1, y1])
    x, y = everything.positions.T
    inside = (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)
    if inside.any():
        np.testing.assert_array_equal(kept.positions, everything.positions[inside])
        np.testing.assert_array_equal(kept.weights, everything.weights[inside])
    else:
        middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
        distance = np.linalg.norm(everything.positions - middle, axis=1)
        assert len(kept) == 1
        best = np.linalg.norm(kept.positions[0] - middle)
        assert best == pytest.approx(distance.min(), abs=1e-6)


GRID = dense().encode_images([picture()])[0]


def test_a_mask_keeps_the_cells_at_whose_centre_it_is_true():
    mask = np.zeros((300, 400), dtype=bool)
    mask[100:200, 200:] = True
    kept = restrict(GRID, mask=mask)
    assert sorted(cells_of(kept, [(3, 4)])) == [(1, 2), (1, 3)]
    assert len(restrict(GRID, box=[0.5, 0, 0.7, 1], mask=mask)) == 1
    assert len(restrict(GRID, mask=np.zeros((5, 5), dtype=bool))) == 0
    speck = np.zeros((300, 400), dtype=bool)
    speck[2:4, 2:4] = True
    assert cells_of(restrict(GRID, mask=speck), [(3, 4)]) == [(0, 0)]
    for bad in (np.zeros((3, 4)), np.zeros(4, dtype=bool), np.zeros((0, 4), dtype=bool)):
        with pytest.raises(QueryError, match="mask"):
            restrict(GRID, mask=bad)


def test_nothing_known_keeps_everything_and_nothing_stays_nothing():
    assert restrict(GRID) is GRID
    assert restrict(GRID, box=np.full(4, np.nan)) is GRID
    empty = restrict(GRID, mask=np.zeros((5, 5), dtype=bool))
    for part in (
        restrict(empty, [0, 0, 1, 1]),
        restrict(empty, mask=np.ones((2, 2), dtype=bool)),
        restrict(empty, salient=True),
    ):
        assert len(part) == 0 and part.vectors.shape == (0, 3)


def test_the_salient_part_is_what_is_unlike_the_border():
    image = Image.new("RGB", (80, 80), (250, 240, 230))
    image.paste((20, 30, 200), (20, 30, 50, 60))
    encoder = dense(Pixels(), image_size=(32, 32), scales=(1.0, 0.5))
    kept = restrict(encoder.encode_images([image])[0], salient=True)
    assert set(kept.scales.tolist()) == {0, 1}
    assert len(kept)
    inside = (kept.positions >= [0.2, 0.3]) & (kept.positions <= [0.7, 0.8])
    assert inside.all()
    flat = encoder.encode_images([Image.new("RGB", (80, 80), (9, 9, 9))])[0]
    assert len(salient_part(flat)) == len(flat)


@given(st.lists(st.integers(0, 20), min_size=2, max_size=12))
def test_otsu_against_every_cut(values):
    ordered = sorted(float(value) for value in values)
    threshold = otsu_threshold(np.array(values, dtype=np.float64))
    if ordered[0] == ordered[-1]:
        assert threshold is None
        return

    def between(cut: float) -> float:
        low, high = [v for v in ordered if v < cut], [v for v in ordered if v >= cut]
        return len(low) * len(high) * (np.mean(low) - np.mean(high)) ** 2

    cuts = [b for a, b in itertools.pairwise(ordered) if a < b]
    assert between(threshold) == pytest.approx(max(between(cut) for cut in cuts))
