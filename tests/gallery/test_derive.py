from __future__ import annotations

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from patchrerank.analysis.galleries import dataset_gallery, gallery_folder, supersets
from patchrerank.datasets import DatasetImage, DatasetQuery, load_dataset, write_index
from patchrerank.errors import GalleryError
from patchrerank.gallery import BuildOptions, Gallery, build_gallery, derive_gallery, verify
from patchrerank.gallery.derive import misfit
from patchrerank.gallery.manifest import BUILDING, MANIFEST
from patchrerank.gallery.writer import GalleryWriter
from patchrerank.regions import FixedBoxes, GridPyramid, SlidingWindows, parse_regions

QUIET = BuildOptions(progress=False, backgrounds=4)


class Batchless:
    """Encodes each crop by itself, so that its bits cannot depend on its neighbours."""

    def __init__(self, encoder):
        self._encoder = encoder

    def __getattr__(self, name):
        return getattr(self._encoder, name)

    def encode_regions(self, prepared):
        parts = [np.empty((0, self.dim), np.float32)]
        parts += [self._encoder.encode(crop[None]) for crops in prepared for crop in crops]
        return np.concatenate(parts)


@pytest.fixture(scope="module")
def encoder(tiny_encoder):
    return Batchless(tiny_encoder)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Under four times the encoder's input: decoded in full for all regions."""
    folder = tmp_path_factory.mktemp("small")
    for number in range(5):
        draw_photo(number, 40 + 3 * number, 61 - number).save(folder / f"{number}.jpg")
    return folder


def draw_photo(seed, width, height):
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def sources(tmp_path_factory, photos, encoder):
    folder = tmp_path_factory.mktemp("sources")
    wide = [SlidingWindows(2, 0.25), GridPyramid(3)]
    return {
        regions.spec: build_gallery(
            folder / regions.spec.replace(":", "-"), photos, encoder, regions, QUIET
        )
        for regions in wide
    }


@pytest.mark.parametrize(
    ("spec", "source"),
    [
        ("grid:0", "grid:3"),
        ("grid:2", "grid:3"),
        ("grid:2", "sliding:2:0.25"),
        ("sliding:2:0.5", "sliding:2:0.25"),
        ("sliding:1:0.25", "sliding:2:0.25"),
    ],
)
def test_copied_is_encoded_bit_for_bit(tmp_path, photos, encoder, sources, spec, source):
    regions = parse_regions(spec)
    made = build_gallery(tmp_path / "made", photos, encoder, regions, QUIET)
    copied = derive_gallery(sources[source], tmp_path / "copied", encoder, regions, progress=False)
    assert copied.manifest == made.manifest, "checksums of all arrays among it"
    for name, path in made.files().items():
        assert path.read_bytes() == copied.files()[name].read_bytes(), name
    assert verify(copied) == []


def test_a_killed_copy_is_no_gallery_and_is_finished_later(tmp_path, encoder, sources, monkeypatch):
    monkeypatch.setattr("patchrerank.gallery.derive.BLOCK", 2)
    commit, calls = GalleryWriter.commit, []

    def dies(self, *args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        commit(self, *args)

    monkeypatch.setattr(GalleryWriter, "commit", dies)
    with pytest.raises(KeyboardInterrupt):
        derive_gallery(sources["grid:3"], tmp_path / "g", encoder, GridPyramid(1), progress=False)
    assert (tmp_path / "g" / BUILDING).exists()
    with pytest.raises(GalleryError, match="half-written"):
        Gallery(tmp_path / "g")
    monkeypatch.setattr(GalleryWriter, "commit", commit)
    args = (sources["grid:3"], tmp_path / "g", encoder, GridPyramid(1))
    finished = derive_gallery(*args, progress=False)
    whole = derive_gallery(args[0], tmp_path / "h", *args[2:], progress=False)
    assert finished.manifest == whole.manifest


def test_what_cannot_be_derived(tmp_path, photos, encoder, other_encoder, sources):
    grid = sources["grid:3"]
    with pytest.raises(GalleryError, match=r"no region at the pixels .* sliding:1:0.5 needs"):
        derive_gallery(grid, tmp_path / "a", encoder, SlidingWindows(1, 0.5), progress=False)
    assert not (tmp_path / "a" / MANIFEST).exists()
    with pytest.raises(GalleryError, match="another encoder"):
        derive_gallery(grid, tmp_path / "b", other_encoder, GridPyramid(0))
    assert "looking at the pictures" in misfit(grid, encoder, FixedBoxes({"x": [[0, 0, 1, 1]]}))
    half = build_gallery(
        tmp_path / "half", photos, encoder, GridPyramid(1), replace(QUIET, store="float16")
    )
    assert "float16" in misfit(half, encoder, GridPyramid(0))


def test_large_jpegs_are_decoded_smaller_for_coarse_regions(tmp_path, encoder):
    file = tmp_path / "large.jpg"
    Image.new("RGB", (300, 300), "teal").save(file)
    wide = build_gallery(tmp_path / "w", [file], encoder, GridPyramid(3), QUIET)
    assert "smaller size" in misfit(wide, encoder, GridPyramid(0))
    assert misfit(wide, encoder, GridPyramid(3)) is None


@pytest.fixture
def dataset(tmp_path):
    images = []
    for number in range(3):
        file = tmp_path / f"{number}.png"
        Image.new("RGB", (40 + number, 30), (90 * number, 50, 120)).save(file)
        images.append(DatasetImage(str(number), file, "x", np.zeros((0, 4), np.float32)))
    write_index(tmp_path, [DatasetQuery("q", images[0].file, "x")], images, {})
    return load_dataset(tmp_path)


def test_the_cache_copies_from_a_sibling(tmp_path, dataset, encoder, monkeypatch):
    cache = tmp_path / "cache"
    dataset_gallery(dataset, encoder, SlidingWindows(2, 0.25), cache, QUIET)
    monkeypatch.setattr(
        "patchrerank.analysis.galleries.build_gallery", lambda *a: pytest.fail("encoded again")
    )
    for spec in ("grid:2", "grid:0", "sliding:1:0.25", "sliding:2:0.5", "sliding:1:0.5"):
        made, cached = dataset_gallery(dataset, encoder, parse_regions(spec), cache, QUIET)
        assert not cached
        assert made.manifest.regions == spec
        assert made.folder == gallery_folder(cache, dataset, encoder, parse_regions(spec))
        assert dataset_gallery(dataset, encoder, parse_regions(spec), cache, QUIET)[1]


def test_the_cache_knows_a_data_set_by_its_pictures(tmp_path, dataset, encoder):
    """Wherever they lie and however old they are; other bytes of the same size and time miss."""
    cache, copy, grid = tmp_path / "cache", tmp_path / "copy", GridPyramid(1)
    made, _ = dataset_gallery(dataset, encoder, grid, cache, QUIET)
    shutil.copytree(
        dataset.root, copy, copy_function=shutil.copyfile, ignore=shutil.ignore_patterns("cache")
    )
    found, cached = dataset_gallery(load_dataset(copy), encoder, grid, cache, QUIET)
    assert cached and found.folder == made.folder
    changed, state = copy / "1.png", (copy / "1.png").stat()
    content = bytearray(changed.read_bytes())
    content[-1] ^= 1  # of the checksum of PNG's last chunk
    changed.write_bytes(content)
    os.utime(changed, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert (changed.stat().st_size, changed.stat().st_mtime_ns) == (
        state.st_size,
        state.st_mtime_ns,
    )
    assert gallery_folder(cache, load_dataset(copy), encoder, grid) != made.folder
    assert gallery_folder(cache, load_dataset(dataset.root), encoder, grid) == made.folder


def test_supersets():
    assert supersets(GridPyramid(3)) == [SlidingWindows(3, 0.5), SlidingWindows(3, 0.25)]
    assert supersets(SlidingWindows(3, 0.25)) == []
    assert supersets(SlidingWindows(2, 0.3)) == []
    for regions in (GridPyramid(0), GridPyramid(2), SlidingWindows(1, 0.5), SlidingWindows(2, 1.0)):
        for size in ((97, 41), (3, 2), (640, 480)):
            own = {tuple(box) for box in regions.boxes("", *size).tolist()}
            for wider in supersets(regions):
                assert own <= {tuple(box) for box in wider.boxes("", *size).tolist()}, wider
