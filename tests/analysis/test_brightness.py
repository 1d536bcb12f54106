from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from skimage import color

from patchrerank.analysis import EvaluationSettings
from patchrerank.analysis.brightness import (
    ScaledEncoder,
    evaluate_brightness,
    mean_lightness,
    scale_lightness,
)
from patchrerank.analysis.cielab import lab_from_rgb, lightness, rgb_from_lab
from patchrerank.analysis.galleries import dataset_gallery, gallery_folder
from patchrerank.analysis.workbench import encode_dataset_queries
from patchrerank.datasets import DatasetImage, DatasetQuery, load_dataset, write_index
from patchrerank.errors import SettingError
from patchrerank.gallery import BuildOptions, build_gallery
from patchrerank.regions import GridPyramid

QUIET = BuildOptions(progress=False, backgrounds=4)


@pytest.fixture(scope="module")
def colours():
    """Every 15th value of each channel, and some that differ by one."""
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    dark = np.stack(np.meshgrid(*[np.arange(12, dtype=np.uint8)] * 3), axis=-1).reshape(-1, 3)
    return np.concatenate([cube, dark])[None]


def test_lab_is_that_of_skimage(colours):
    ours, theirs = lab_from_rgb(colours), color.rgb2lab(colours)
    assert ours.dtype == np.float32
    assert np.abs(ours - theirs).max() < 2e-4
    assert np.abs(lightness(colours) - theirs[..., 0]).max() < 1e-4
    assert np.array_equal(rgb_from_lab(ours), colours), "there and back"


@pytest.mark.parametrize("factor", [0.2, 0.6, 1.4, 1.8])
def test_scaled_colours_are_those_of_skimage(colours, factor):
    lab = color.rgb2lab(colours)
    lab[..., 0] = np.clip(lab[..., 0] * factor, 0, 100)
    expected = (255 * color.lab2rgb(lab)).round().astype(int)
    ours = np.asarray(scale_lightness(Image.fromarray(colours), factor)).astype(int)
    off = np.abs(ours - expected)
    # skimage clips a negative z before it goes back to RGB, and so differs out of gamut
    inside = ((expected > 0) & (expected < 255)).all(axis=-1)
    assert off[inside].max() <= 1
    assert (off[inside] == 0).mean() > 0.999


def test_factor_one_is_the_picture_itself(colours):
    picture = Image.fromarray(colours)
    assert scale_lightness(picture, 1.0) is picture


def test_strips_are_the_whole(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (37, 11, 3), dtype=np.uint8)
    whole = np.asarray(scale_lightness(Image.fromarray(pixels), 0.6))
    monkeypatch.setattr("patchrerank.analysis.brightness.STRIP", 30)
    assert np.array_equal(np.asarray(scale_lightness(Image.fromarray(pixels), 0.6)), whole)
    assert np.asarray(scale_lightness(Image.fromarray(pixels), 0.0)).shape == pixels.shape


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    images = []
    for number in range(5):
        coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        coarse.resize((48, 40)).save(root / f"{number}.png")
        box = np.array([[0, 0, 0.5, 0.5]], np.float32)
        images.append(DatasetImage(f"i{number}", root / f"{number}.png", number, box, 0.25))
    queries = [DatasetQuery(f"q{n}", images[n].file, n) for n in range(2)]
    write_index(root, queries, images, {})
    return load_dataset(root)


def test_the_gallery_is_that_of_changed_copies(tmp_path, dataset, tiny_encoder):
    copies = []
    for image in dataset.images:
        file = tmp_path / image.file.name
        scale_lightness(Image.open(image.file).convert("RGB"), 0.6).save(file)
        copies.append((image.id, file))
    expected = build_gallery(tmp_path / "g", copies, tiny_encoder, GridPyramid(1), QUIET)
    seen = ScaledEncoder(tiny_encoder, 0.6)
    made, _ = dataset_gallery(dataset, seen, GridPyramid(1), tmp_path / "cache", QUIET)
    assert np.array_equal(made.patches, expected.patches)
    assert np.array_equal(made.global_vectors, expected.global_vectors)
    assert made.manifest.regions == "grid:1 brightness:0.6"
    assert made.manifest.encoder["preprocessing"]["brightness"] == 0.6
    queries = encode_dataset_queries(dataset, seen, made, "none")
    made.check_queries(queries)
    assert np.allclose(queries.vectors, made.global_vectors[:2], atol=1e-6)


def test_what_is_changed(dataset, tiny_encoder, tmp_path):
    def vectors(encoder):
        made, _ = dataset_gallery(dataset, encoder, GridPyramid(0), tmp_path, QUIET)
        return made.global_vectors[0], encode_dataset_queries(
            dataset, encoder, made, "none"
        ).vectors[0]

    plain = vectors(tiny_encoder)
    both, gallery, queries = (
        vectors(ScaledEncoder(tiny_encoder, 0.2, which)) for which in ("both", "gallery", "queries")
    )
    assert np.array_equal(gallery[0], both[0])
    assert np.array_equal(gallery[1], plain[1])
    assert np.array_equal(queries[0], plain[0])
    assert np.array_equal(queries[1], both[1])
    assert not np.allclose(both[0], plain[0])


def test_versions_have_galleries_of_their_own(dataset, tiny_encoder, tmp_path):
    def folder(encoder):
        return gallery_folder(tmp_path, dataset, encoder, GridPyramid(1))

    folders = {folder(ScaledEncoder(tiny_encoder, factor)) for factor in (0.2, 0.6, 1.8)}
    assert len(folders | {folder(tiny_encoder)}) == 4
    assert folder(ScaledEncoder(tiny_encoder, 0.2, "queries")) == folder(tiny_encoder)


def test_all_versions(dataset, tiny_encoder, tmp_path):
    rows = evaluate_brightness(
        dataset,
        tiny_encoder,
        tmp_path,
        factors=(0.5, 1.0),
        regions=(GridPyramid(1), GridPyramid(0)),
        settings=EvaluationSettings(build=QUIET),
    )
    assert [(row.factor, row.regions) for row in rows] == [
        (0.5, "grid:1"), (0.5, "grid:0"), (1.0, "grid:1"), (1.0, "grid:0"),
    ]  # fmt: skip
    assert rows[0].mean_lightness == pytest.approx(rows[2].mean_lightness / 2, rel=0.1)
    assert rows[3].measured.metrics["mAP"] == 100
    again, cached = dataset_gallery(
        dataset, ScaledEncoder(tiny_encoder, 0.5), GridPyramid(0), tmp_path, QUIET
    )
    assert cached
    assert again.manifest.regions == "grid:0 brightness:0.5"


def test_mean_lightness(dataset):
    means = [color.rgb2lab(np.asarray(Image.open(one.file)))[..., 0] for one in dataset.images]
    assert mean_lightness(dataset) == pytest.approx(np.mean(means), abs=1e-3)
    ends = np.mean([means[0].mean(), means[-1].mean()])
    assert mean_lightness(dataset, sample=2) == pytest.approx(ends, abs=1e-3)


def test_impossible_settings(tiny_encoder):
    for factor in (-0.1, float("nan"), float("inf")):
        with pytest.raises(SettingError, match="at least 0"):
            ScaledEncoder(tiny_encoder, factor)
    with pytest.raises(SettingError, match="both, gallery, queries"):
        ScaledEncoder(tiny_encoder, 0.5, "all")
    with pytest.raises(SettingError, match="crops only"):
        ScaledEncoder(ScaledEncoder(tiny_encoder, 0.5), 0.5)
