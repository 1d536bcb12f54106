"""Regions pooled from one pass over the picture."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from patchrerank.encoders import (
    OnePass,
    Preprocessing,
    View,
    load_dense_encoder,
    load_encoder,
    load_one_pass,
)
from patchrerank.encoders.views import Windows
from patchrerank.errors import EncoderError, GalleryError
from patchrerank.first_stage import GlobalSearch
from patchrerank.gallery import BuildOptions, Gallery, build_gallery, encode_queries, verify
from patchrerank.regions import FixedBoxes, GridPyramid, SlidingWindows
from patchrerank.rerankers import Patchify

PREPROCESSING = Preprocessing((32, 32), (0.5,) * 3, (0.25,) * 3, "bilinear")
QUIET = BuildOptions(progress=False)


class Maps(torch.nn.Module):
    """A network whose cells see 8 × 8 pixels and nothing beyond: pooling then has no context."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 12, 8, stride=8)

    def forward(self, pixels):
        return torch.relu(self.conv(pixels))


class Mean(torch.nn.Module):
    def __init__(self, maps):
        super().__init__()
        self.maps = maps

    def forward(self, pixels):
        return self.maps(pixels).mean((2, 3))


@pytest.fixture(scope="module")
def maps():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Maps().eval()


@pytest.fixture(scope="module")
def encoder(maps):
    return load_encoder(Mean(maps), preprocessing=PREPROCESSING, device="cpu", name="mean")


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(0)
    small = [rng.integers(0, 256, (9, 12, 3), dtype=np.uint8) for _ in range(6)]
    return [Image.fromarray(pixels).resize((200, 160)) for pixels in small]


def one_pass(encoder, maps, settings):
    return load_one_pass(encoder, settings, maps=maps, stride=8)


def slow_vectors(maps, picture, views, regions):
    """Each region from the view that is given, cell by cell."""
    found = []
    for region, (window, side) in zip(regions, views, strict=True):
        settings = Preprocessing((side, side), (0.5,) * 3, (0.25,) * 3, "bilinear")
        pixels = settings.prepare(picture, np.array([window], dtype=np.float32))[0] / 255.0
        normal = torch.from_numpy((pixels - 0.5) / 0.25).float().permute(2, 0, 1)[None]
        with torch.inference_mode():
            cells = maps(normal)[0].numpy()
        total = np.zeros(len(cells))
        count = cells.shape[1]
        span = window[2] - window[0]
        x0, y0, x1, y1 = [
            (value - start) / span * count
            for value, start in zip(region, window[:2] * 2, strict=True)
        ]
        for row in range(count):
            for column in range(count):
                wide = max(0, min(x1, column + 1) - max(x0, column))
                high = max(0, min(y1, row + 1) - max(y0, row))
                total += wide * high * cells[:, row, column]
        found.append(total / np.linalg.norm(total))
    return np.array(found)


WHOLE = (0.0, 0.0, 1.0, 1.0)


def test_regions_equal_a_slow_twin(encoder, maps, photos):
    regions = np.array([WHOLE, (0.5, 0, 1, 0.5), (0.1, 0.2, 0.55, 0.9)], dtype=np.float32)
    made = one_pass(encoder, maps, "64")
    vectors = made.encode_regions([made.prepare_regions(photo, regions) for photo in photos[:2]])
    assert vectors.shape == (6, 12)
    assert vectors.dtype == np.float32
    for number in range(2):
        expected = slow_vectors(maps, photos[number], [(WHOLE, 64)] * 3, regions)
        assert np.allclose(vectors[3 * number : 3 * number + 3], expected, atol=1e-5)


def test_each_region_comes_from_the_view_that_shows_it_best(encoder, maps, photos):
    """Whole picture at 32; quarter-sized regions from tiles, or from 64 where none holds them."""
    made = one_pass(encoder, maps, "32,64,64x2")
    left, right = (0, 0, 4 / 7, 4 / 7), (3 / 7, 3 / 7, 1, 1)
    regions = [WHOLE, (0.05, 0.1, 0.3, 0.3), (0.7, 0.75, 0.9, 0.95), (0.3, 0.3, 0.65, 0.65)]
    views = [(WHOLE, 32), (left, 64), (right, 64), (WHOLE, 64)]
    cut = np.array(regions, dtype=np.float32)
    (vectors,) = [made.encode_regions([made.prepare_regions(photos[0], cut)])]
    expected = slow_vectors(maps, photos[0], views, [tuple(map(float, box)) for box in cut])
    cosines = (vectors * expected).sum(axis=1)
    assert (cosines > 0.9999).all(), cosines


def test_without_context_pooled_grid_cells_equal_crops(encoder, maps, photos):
    """Cells that see nothing beyond themselves, at the crops' own scale: the same vectors."""
    made = one_pass(encoder, maps, "64")
    photo = photos[0].resize((64, 64))
    grid = GridPyramid(1).boxes("", 64, 64)[1:]
    pooled = made.encode_regions([made.prepare_regions(photo, grid)])
    crops = encoder.encode_images([photo] * 4, grid)
    assert np.allclose(pooled, crops, atol=1e-5)


def test_roi_align_and_ragged_regions(encoder, maps, photos):
    made = one_pass(encoder, maps, "64:roi_align")
    some, none = GridPyramid(1).boxes("", 9, 9), np.zeros((0, 4), dtype=np.float32)
    parts = [made.prepare_regions(photos[0], some), made.prepare_regions(photos[1], none)]
    vectors = made.encode_regions([*parts, made.prepare_regions(photos[2], some[:2])])
    assert vectors.shape == (7, 12)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    area = one_pass(encoder, maps, "64")
    other = area.encode_regions([area.prepare_regions(photos[0], some)])
    assert not np.allclose(other, vectors[:5], atol=1e-4)
    power = one_pass(encoder, maps, "64:p3")
    sharper = power.encode_regions([power.prepare_regions(photos[0], some)])
    assert not np.allclose(sharper, other, atol=1e-4)
    assert made.encode_regions([parts[1]]).shape == (0, 12)
    assert made.encode_regions([]).shape == (0, 12)


def test_a_gallery_for_the_crop_encoders_queries(tmp_path, encoder, maps, photos):
    made = one_pass(encoder, maps, "32,64")
    pairs = [(str(number), photo) for number, photo in enumerate(photos)]
    gallery = build_gallery(tmp_path / "g", pairs, made, GridPyramid(2), QUIET)
    assert verify(gallery) == []
    assert gallery.manifest.regions == "grid:2 one-pass:32,64"
    assert gallery.manifest.identity == encoder.fingerprint == made.fingerprint
    assert gallery.manifest.encoder["one_pass"] == "one-pass:32,64"
    assert gallery.patches.shape == (6 * 14, 12)
    queries = encode_queries(encoder, [photo.crop((100, 80, 200, 160)) for photo in photos])
    ranking = Patchify(gallery, encoder).rerank(queries, GlobalSearch(gallery).search(queries))
    assert np.array_equal(ranking.rows[:, 0], np.arange(6))
    assert np.allclose(ranking.boxes[:, 0], [0.5, 0.5, 1, 1])
    again = encode_queries(made, [photos[0]])
    assert np.array_equal(again.vectors, encode_queries(encoder, [photos[0]]).vectors)


def test_regions_that_a_detector_gave(tmp_path, encoder, maps, photos):
    boxes = FixedBoxes({"a": [[0.1, 0.1, 0.5, 0.5]], "b": []}, whole_image=False)
    pairs = [("a", photos[0]), ("b", photos[1])]
    made = one_pass(encoder, maps, "64")
    gallery = build_gallery(tmp_path / "g", pairs, made, boxes, QUIET)
    assert gallery.patch_ends.tolist() == [1, 1]
    whole = made.prepare_regions(photos[1], np.array([WHOLE], dtype=np.float32))
    assert np.allclose(gallery.global_vectors[1], made.encode_regions([whole])[0], atol=1e-6)


def test_a_gallery_goes_on_only_as_it_was_begun(tmp_path, encoder, maps, photos):
    pairs = [(str(number), photo) for number, photo in enumerate(photos)]
    append = BuildOptions(progress=False, append=True)
    pooled, crops = tmp_path / "pooled", tmp_path / "crops"
    build_gallery(pooled, pairs[:4], one_pass(encoder, maps, "64"), GridPyramid(1), QUIET)
    build_gallery(crops, pairs[:4], encoder, GridPyramid(1), QUIET)
    for folder, other in [
        (pooled, encoder),
        (pooled, one_pass(encoder, maps, "32")),
        (pooled, one_pass(encoder, maps, "64:roi_align")),
        (crops, one_pass(encoder, maps, "64")),
    ]:
        with pytest.raises(GalleryError, match="was begun with regions"):
            build_gallery(folder, pairs, other, GridPyramid(1), append)
    build_gallery(pooled, pairs, one_pass(encoder, maps, "64"), GridPyramid(1), append)
    assert len(Gallery(pooled)) == 6


def test_an_interrupted_build_goes_on_with_the_same_bits(tmp_path, encoder, maps, photos):
    many = [(f"{n}", photos[n % 6].rotate(n).resize((40, 30))) for n in range(40)]
    made = one_pass(encoder, maps, "16,16x2")

    def breaking():
        yield from many[:36]
        raise KeyboardInterrupt

    whole = build_gallery(tmp_path / "whole", many, made, SlidingWindows(1), QUIET)
    with pytest.raises(KeyboardInterrupt):
        build_gallery(tmp_path / "pieces", breaking(), made, SlidingWindows(1), QUIET)
    begun = json.loads((tmp_path / "pieces" / "building.json").read_text())
    assert 0 < begun["images"] < 40
    pieces = build_gallery(tmp_path / "pieces", many, made, SlidingWindows(1), QUIET)
    for name, path in whole.files().items():
        assert path.read_bytes() == (pieces.folder / path.name).read_bytes(), name


@pytest.mark.parametrize("spec", ["timm:test_resnet", "timm:test_convnext", "timm:test_vit4"])
def test_networks_with_a_head_behind_the_mean(spec, photos):
    """What stands behind the pooling is applied to each region."""
    encoder = load_encoder(spec, pretrained=False, image_size=64, backend="eager")
    same = load_one_pass(encoder, "64,96")
    grid = GridPyramid(1).boxes("", 200, 160)
    vectors = same.encode_regions([same.prepare_regions(photos[0], grid)])
    assert vectors.shape == (5, encoder.dim)
    assert np.allclose(vectors[:1], encoder.encode_images([photos[0]]), atol=1e-4)


def test_openvino_and_eager_pool_the_same(photos):
    grid = GridPyramid(2).boxes("", 200, 160)
    found = []
    for backend in ("eager", "openvino"):
        encoder = load_encoder("timm:test_resnet", pretrained=False, image_size=32, backend=backend)
        made = load_one_pass(encoder, "64")
        found.append(made.encode_regions([made.prepare_regions(p, grid) for p in photos]))
    assert (found[0] * found[1]).sum(axis=1).min() > 0.9999


@pytest.mark.parametrize(
    "spec",
    [
        "timm:test_vit",
        "timm:test_vit3",
        pytest.param("open_clip:ViT-S-32-alt", marks=pytest.mark.slow),
    ],
)
def test_networks_that_pool_otherwise_are_refused(spec):
    encoder = load_encoder(spec, pretrained=False, image_size=64, backend="eager")
    with pytest.raises(EncoderError, match=r"(class token|attention)"):
        load_one_pass(encoder, "64")


def test_refusals_say_why(encoder, maps):
    with pytest.raises(EncoderError, match="maps="):
        load_one_pass(encoder, "64")
    with pytest.raises(EncoderError, match="mean of its last feature map"):
        one_pass(encoder, Maps().eval(), "64")
    made = one_pass(encoder, maps, "64")
    with pytest.raises(EncoderError, match="torch module"):
        load_dense_encoder(made)
    for wrong, what in [
        ("", "malformed"),
        ("448;", "malformed"),
        ("0", "0 pixels"),
        ("64x2", "as a whole"),
        ("64:max", "pooling 'max'"),
        ("64:p0.5", "power must be"),
        ("64:p2:p3", "malformed"),
    ]:
        with pytest.raises(EncoderError, match=what):
            OnePass.parse(wrong)


def test_settings_as_text():
    assert OnePass.parse("448") == OnePass() == OnePass((View(448),))
    assert OnePass.parse("224, 320x2") == OnePass((View(224), View(320, 2)))
    for text in ("448", "224,672", "320,320x2:roi_align", "448:p2", "9:roi_align:p1.5"):
        assert OnePass.parse(text).spec == f"one-pass:{text}"


def test_views_are_rounded_to_what_the_map_takes(encoder, maps):
    made = one_pass(encoder, maps, "60,68x2")
    assert made.settings.spec == "one-pass:64,72x2"
    assert made.recorded_regions("grid:3") == "grid:3 one-pass:64,72x2"
    assert made.crops_of(30) == round((64**2 + 4 * 72**2) / 32**2)
    assert made.least_size(0.25) == (288, 288)
    assert "64,72x2" in repr(made)


def test_tiles_overlap_and_cover():
    for tiles in (1, 2, 3):
        windows = View(64, tiles).windows()
        assert len(windows) == tiles**2
        assert np.allclose(windows.min(axis=0)[:2], 0)
        assert np.allclose(windows.max(axis=0)[2:], 1)
        sides = windows[:, 2:] - windows[:, :2]
        assert np.allclose(sides, sides[0, 0])
        if tiles > 1:
            assert np.isclose(windows[0, 2] - windows[1, 0], 0.25 * sides[0, 0])


def test_every_region_has_a_window_that_holds_it():
    views = (View(224), View(320, 2), View(224, 3))
    windows = Windows.of(views, tuple((view.side, view.side) for view in views))
    regions = SlidingWindows(4, 0.25).boxes("", 640, 480)
    chosen = windows.boxes[windows.choose(regions, 224.0)]
    assert (chosen[:, :2] <= regions[:, :2] + 1e-5).all()
    assert (chosen[:, 2:] >= regions[:, 2:] - 1e-5).all()
