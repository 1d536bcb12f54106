from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from patchrerank.cells import Cells as Cells_
from patchrerank.encoders import Preprocessing, Selection, load_dense_encoder
from patchrerank.errors import GalleryError, ImageError, QueryError, SettingError
from patchrerank.gallery import (
    BuildOptions,
    Gallery,
    LocalOptions,
    LocalStore,
    behind,
    build_gallery,
    build_local,
    encode_local_queries,
    verify,
    verify_local,
)
from patchrerank.gallery.local_rows import BinaryStore, pack_signs
from patchrerank.kernels import Float16Store, Float32Store, Int8Store, chamfer
from patchrerank.regions import GridPyramid
from prepared import python

QUIET = LocalOptions(progress=False)
PLAIN = Preprocessing((16, 16), (0.5,) * 3, (0.25,) * 3, "area")


class Cells(torch.nn.Module):
    """A map that depends on the picture, with cells that may be zero."""

    def __init__(self, dim: int = 12, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.mix = torch.nn.Parameter(torch.randn(dim, 3, 1, 1, generator=generator))

    def forward(self, pixels):
        pooled = torch.nn.functional.avg_pool2d(pixels, 4)
        return torch.nn.functional.conv2d(pooled, self.mix)


def make_dense(**settings):
    module = settings.pop("module", None) or Cells()
    given = {"preprocessing": PLAIN, "image_size": 16, "stride": 4, "device": "cpu", "name": "c"}
    return load_dense_encoder(module, **{**given, **settings})


@pytest.fixture(scope="module")
def dense():
    return make_dense()


@pytest.fixture
def gallery(tmp_path, tiny_gallery) -> Gallery:
    """A copy of the shared gallery, which may be changed."""
    return Gallery(shutil.copytree(tiny_gallery.folder, tmp_path / "g"))


@pytest.fixture
def pictures(gallery) -> list[Path]:
    return [gallery.pictures[row] for row in range(len(gallery))]


def error_bound(store: str, dim: int) -> float:
    """The largest error of one element of a unit vector."""
    return {"float32": 0.0, "float16": 2**-11, "int8": 0.5 / 127}[store]


@pytest.mark.parametrize("store", ["float32", "float16", "int8"])
def test_what_is_stored_is_what_the_encoder_makes(gallery, pictures, dense, store):
    local = build_local(gallery, dense, LocalOptions(store=store, progress=False))
    expected = dense.encode_images(pictures)
    assert len(local) == len(gallery) and local.dim == 12 and local.grids == ((4, 4),)
    kinds = {"float32": Float32Store, "float16": Float16Store, "int8": Int8Store}
    assert isinstance(local.store, kinds[store])
    np.testing.assert_array_equal(local.ends, np.cumsum([len(item) for item in expected]))
    for row, item in enumerate(expected):
        read = local.descriptors_of(row)
        np.testing.assert_array_equal(read.positions, item.positions)
        np.testing.assert_array_equal(read.weights, item.weights)
        np.testing.assert_array_equal(read.scales, item.scales)
        bound = error_bound(store, 12) * np.abs(item.vectors).max(initial=0) + 1e-6
        np.testing.assert_allclose(read.vectors, item.vectors, atol=bound)
    assert verify(gallery) == [] and verify_local(local) == []
    sizes = {p.stem: p.stat().st_size for p in local.folder.glob("*.bin")}
    assert local.nbytes() == sizes
    assert gallery.local.identity == dense.identity


def test_binary_keeps_the_signs(gallery, pictures, dense):
    local = build_local(gallery, dense, LocalOptions(store="binary", progress=False))
    assert isinstance(local.store, BinaryStore) and local.store.bytes_per_row == 2
    for row, item in enumerate(dense.encode_images(pictures[:6])):
        signs = np.where(item.vectors > 0, 1.0, -1.0) / np.sqrt(12)
        np.testing.assert_allclose(local.descriptors_of(row).vectors, signs, atol=1e-7)
    assert verify_local(local) == []


def test_bits_are_packed_most_significant_first_and_zero_is_not_positive():
    values = np.array([[1, 0, -1, 2, -0.0, 3, -4, 5, 6, -7]], dtype=np.float32)
    codes = pack_signs(values)
    assert codes.tolist() == [[0b10010101, 0b10000000]]
    decoded = BinaryStore(codes, 10).decode(np.array([0]))
    np.testing.assert_allclose(decoded[0], np.where(values[0] > 0, 1, -1) / np.sqrt(10), rtol=1e-6)
    assert decoded.dtype == np.float32


@pytest.mark.parametrize("dim", [1, 7, 8, 128])
def test_binary_cosine_error_of_random_vectors(dim):
    rng = np.random.default_rng(dim)
    vectors = rng.normal(size=(50, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    decoded = BinaryStore(pack_signs(vectors), dim).decode(np.arange(50))
    np.testing.assert_allclose(np.linalg.norm(decoded, axis=1), 1, rtol=1e-6)
    # the cosine of a vector and its signs is its L1 norm over √D, by definition at least 1/√D
    np.testing.assert_allclose(
        (decoded * vectors).sum(axis=1), np.abs(vectors).sum(axis=1) / np.sqrt(dim), rtol=1e-5
    )


def test_images_may_have_any_number_of_descriptors_and_none(tmp_path, tiny_encoder):
    dense = make_dense(
        module=torch.nn.AvgPool2d(4),
        preprocessing=Preprocessing((16, 16), (0.0,) * 3, (1.0,) * 3, "area"),
        selection=Selection(10),
    )
    images = []
    for number in range(20):
        image = Image.new("RGB", (16, 16))
        image.paste((90, 40, number + 1), (0, 0, 4 * (number % 5), 4 * (number % 3)))
        images.append((f"i{number}", image))
    quiet = BuildOptions(progress=False, backgrounds=4)
    gallery = build_gallery(tmp_path / "g", images, tiny_encoder, GridPyramid(0), quiet)
    local = build_local(gallery, dense, QUIET, sources=[image for _, image in images])
    counts = np.diff(local.ends, prepend=0).tolist()
    assert counts == [min(10, (n % 5) * (n % 3)) for n in range(20)]
    assert len(local.descriptors_of(0)) == 0 and local.descriptors_of(0).vectors.shape == (0, 3)
    assert verify(gallery) == []
    query = local.descriptors_of(8).vectors
    rows = np.arange(20)[None]
    scores = chamfer(query, [len(query)], local.store, local.ends, rows)[0]
    assert np.array_equal(np.isneginf(scores), np.array(counts) == 0)
    assert int(np.argmax(scores)) in np.flatnonzero(np.array(counts) > 0)


def test_an_absent_store_says_how_to_make_one(gallery):
    assert not gallery.has_local
    with pytest.raises(GalleryError, match="--local"):
        _ = gallery.local


def test_building_twice_changes_nothing(gallery, dense):
    first = build_local(gallery, dense, QUIET)
    before = {path.name: path.read_bytes() for path in first.folder.glob("*.bin")}
    again = build_local(gallery, dense, QUIET)
    assert before == {path.name: path.read_bytes() for path in again.folder.glob("*.bin")}
    assert first.manifest == again.manifest


def test_a_gallery_that_has_grown(tmp_path, photo_folder, tiny_encoder, dense, quiet):
    files = sorted(photo_folder.rglob("*.png"))
    gallery = build_gallery(tmp_path / "g", files[:23], tiny_encoder, GridPyramid(0), quiet)
    build_local(gallery, dense, QUIET)
    more = BuildOptions(progress=False, append=True)
    grown = build_gallery(tmp_path / "g", files, tiny_encoder, GridPyramid(0), more)
    with pytest.raises(GalleryError, match=r"covers 23 of the gallery's 40 images.*again"):
        _ = grown.local
    assert verify(grown) == [] and behind(grown)[0].startswith("17 images have no local desc")
    local = build_local(grown, dense, QUIET)
    assert len(local) == 40 and verify(grown) == behind(grown) == []
    for row, item in enumerate(dense.encode_images(files)):
        np.testing.assert_array_equal(local.descriptors_of(row).positions, item.positions)
    assert len(grown.local) == 40


def test_a_store_of_other_images_is_refused(tmp_path, gallery, dense, tiny_encoder, quiet):
    build_local(gallery, dense, QUIET)
    files = [gallery.pictures[row] for row in range(len(gallery))][::-1]
    other = build_gallery(tmp_path / "other", files, tiny_encoder, GridPyramid(0), quiet)
    shutil.copytree(gallery.folder / "local", other.folder / "local")
    with pytest.raises(GalleryError, match="other images"):
        _ = other.local
    with pytest.raises(GalleryError, match="other images"):
        build_local(other, dense, QUIET)


@pytest.mark.parametrize(
    "change",
    [
        {"image_size": 32},
        {"module": Cells(seed=1)},
        {"selection": Selection(3)},
        {"scales": (1, 2)},
    ],
)
def test_other_settings_are_refused(gallery, dense, change):
    build_local(gallery, dense, QUIET)
    with pytest.raises(GalleryError, match="fingerprint"):
        build_local(gallery, make_dense(**change), QUIET)
    with pytest.raises(GalleryError, match="store"):
        build_local(gallery, dense, LocalOptions(store="int8", progress=False))


class Shifted(Cells):
    """The same map from symmetric 3 × 3 windows at steps of two: cell i looks around pixel 4 i."""

    def forward(self, pixels):
        for _ in range(2):
            pixels = torch.nn.functional.avg_pool2d(pixels, 3, 2, 1)
        return torch.nn.functional.conv2d(pixels, self.mix)


def test_where_cells_lie_is_recorded_and_an_older_store_is_not_continued(gallery, dense):
    shifted = make_dense(module=Shifted(), image_size=32)
    assert build_local(gallery, dense, QUIET).cells == (Cells_.equal(4, 4),)
    shutil.rmtree(gallery.folder / "local")
    store = build_local(gallery, shifted, QUIET)
    assert store.cells == shifted.cells and not store.cells[0].even
    assert float(store.positions.min()) == pytest.approx(0.5 / 32)
    path = gallery.folder / "local" / "manifest.json"
    written = json.loads(path.read_text())
    plain = {"identity": shifted.identity, "sizes": [[32, 32]], "count": None, "by": "norm"}
    older = json.dumps({**plain, "detector": None}, sort_keys=True)
    del written["encoder"]["cells"]
    written["fingerprint"] = hashlib.sha256(older.encode()).hexdigest()
    path.write_text(json.dumps(written))
    assert LocalStore(gallery.folder / "local").cells == (Cells_.equal(8, 8),)
    with pytest.raises(GalleryError, match="half a cell off"):
        build_local(gallery, shifted, QUIET)
    written["encoder"]["cells"] = [[[0.1, 0.0], [0.1, 0.2]]]
    path.write_text(json.dumps(written))
    with pytest.raises(GalleryError, match=r"encoder\.cells"):
        LocalStore(gallery.folder / "local").cells  # noqa: B018


def test_broken_and_missing_images(tmp_path, tiny_encoder, dense, quiet):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(20):
        picture = np.full((20, 20, 3), 10 * number, dtype=np.uint8)
        Image.fromarray(picture).save(folder / f"{number:02d}.png")
    gallery = build_gallery(tmp_path / "g", folder, tiny_encoder, GridPyramid(0), quiet)
    (folder / "17.png").write_bytes(b"no picture")
    (folder / "18.png").unlink()
    with pytest.raises(ImageError, match=r"17\.png"):
        build_local(gallery, dense, QUIET)
    with pytest.raises(GalleryError, match="half-written"):
        _ = gallery.local
    skip = LocalOptions(on_error="skip", progress=False)
    local = build_local(gallery, dense, skip)
    assert [name for name, _ in local.manifest.skipped] == ["17.png", "18.png"]
    assert "no such file" in local.manifest.skipped[1][1]
    counts = np.diff(local.ends, prepend=0)
    assert (counts[17:19] == 0).all() and counts[19] == 16
    assert verify(gallery) == []


def test_sources(gallery, pictures, dense):
    rows = dict(enumerate(pictures))
    del rows[30]
    with pytest.raises(GalleryError, match="row 30"):
        build_local(gallery, dense, QUIET, sources=rows)
    local = build_local(gallery, dense, QUIET, sources=pictures)
    assert len(local) == len(gallery)


def test_a_missing_file_says_what_to_do(gallery, dense):
    gallery.manifest.__dict__["root"] = "/nowhere"
    with pytest.raises(ImageError, match="sources="):
        build_local(gallery, dense, QUIET)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0])
def test_a_build_killed_at_random_moments_writes_the_same_bits(tmp_path, tiny_encoder, quiet, seed):
    rng = np.random.default_rng(7)
    (tmp_path / "photos").mkdir()
    for number in range(100):
        pixels = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((150, 100)).save(tmp_path / f"photos/{number:03d}.jpg")
    build_gallery(tmp_path / "origin", tmp_path / "photos", tiny_encoder, GridPyramid(0), quiet)
    script = Path(__file__).parents[1] / "helpers" / "killing_local.py"
    done = python(script, str(tmp_path / "origin"), str(tmp_path), "5", str(seed))
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 2, "the builds must really have been killed"
    whole, pieces = (Gallery(tmp_path / name) for name in ("whole", "pieces"))
    assert verify(pieces) == []
    for name in whole.local.nbytes():
        first, second = (g.folder / "local" / f"{name}.bin" for g in (whole, pieces))
        assert first.read_bytes() == second.read_bytes(), name
    assert whole.local.manifest == pieces.local.manifest


# --- damage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["descriptors", "ends", "positions", "scales", "weights"])
def test_a_flipped_byte_is_found(gallery, dense, name):
    local = build_local(gallery, dense, QUIET)
    path = local.folder / f"{name}.bin"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)
    assert any(f"{name}.bin: checksum" in problem for problem in verify(Gallery(gallery.folder)))


def test_bad_values_are_named(gallery, dense):
    local = build_local(gallery, dense, QUIET)
    for name, dtype, at, value, words in (
        ("descriptors", "<f2", 5 * 12, np.nan, "descriptors: NaN or infinite values in row 5"),
        ("descriptors", "<f2", 7 * 12, 3.0, "descriptors: row 7 has not unit norm"),
        ("positions", "<f4", 2 * 9, 1.5, "positions: row 9"),
        ("weights", "<f4", 3, 1e9, "weights: row 3"),
        ("ends", "<i8", 1, -1, "ends: not increasing at row 1"),
    ):
        path = local.folder / f"{name}.bin"
        kept = path.read_bytes()
        array = np.frombuffer(kept, dtype=dtype).copy()
        array[at] = value
        path.write_bytes(array.tobytes())
        problems = verify_local(LocalStore(local.folder))
        assert any(problem.startswith(words) for problem in problems), (words, problems)
        path.write_bytes(kept)
    assert verify_local(LocalStore(local.folder)) == []


def test_truncated_missing_and_unknown(gallery, dense):
    local = build_local(gallery, dense, QUIET)
    path = local.folder / "weights.bin"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(GalleryError, match=r"weights\.bin"):
        LocalStore(local.folder)
    assert verify(Gallery(gallery.folder))[0].startswith("local: ")
    manifest = local.folder / "manifest.json"
    content = json.loads(manifest.read_text())
    for key in ("dim", "arrays"):
        manifest.write_text(json.dumps({k: v for k, v in content.items() if k != key}))
        with pytest.raises(GalleryError, match="damaged manifest"):
            LocalStore(local.folder)
    manifest.write_text(json.dumps({**content, "surprise": 1}))
    with pytest.raises(GalleryError, match="unknown keys"):
        LocalStore(local.folder)
    with pytest.raises(GalleryError, match="no such file"):
        LocalStore(local.folder / "nowhere")


@pytest.mark.parametrize(
    "settings", [{"store": "pq"}, {"store": "float61"}, {"on_error": "ignore"}, {"workers": 0}]
)
def test_impossible_options(settings):
    with pytest.raises(SettingError):
        LocalOptions(**settings)


def test_rows_outside(gallery, dense):
    local = build_local(gallery, dense, QUIET)
    for row in (-1, len(local)):
        with pytest.raises(GalleryError, match="no row"):
            local.descriptors_of(row)


# --- queries ----------------------------------------------------------------------------------


def test_queries_are_restricted_and_then_cut_to_the_strongest(pictures, dense):
    images = pictures[:3]
    boxes = [[0.0, 0.0, 0.5, 1.0], None, [0.4, 0.4, 0.45, 0.45]]
    found = encode_local_queries(dense, images, boxes, count=5)
    whole = dense.encode_images(images)
    left = whole[0].positions[:, 0] <= 0.5
    np.testing.assert_array_equal(found[0].positions, whole[0].positions[left][:5])
    np.testing.assert_array_equal(found[1].positions, whole[1].positions[:5])
    assert found[2].positions.tolist() == [[0.375, 0.375]]
    assert found.identity == dense.identity and found.sizes == ((16, 16),)


def test_open_files_are_local_queries(photo_folder, dense):
    path = photo_folder / "01.png"
    (expected,) = encode_local_queries(dense, [path], part="foreground")
    with path.open("rb") as file:
        (found,) = encode_local_queries(dense, [file], part="foreground")
        assert file.tell() == 0 and not file.closed
    np.testing.assert_array_equal(found.vectors, expected.vectors)
    with pytest.raises(QueryError, match="expected a sequence of query pictures"):
        encode_local_queries(dense, path)


def test_queries_at_another_size_fit_the_store(gallery, pictures, dense):
    local = build_local(gallery, dense, QUIET)
    found = encode_local_queries(dense, pictures[:4], image_size=8)
    assert [len(item) for item in found] == [4] * 4 and found.sizes == ((8, 8),)
    local.check_queries(found)
    ends = np.cumsum([len(item) for item in found])
    rows = np.tile(np.arange(len(gallery)), (4, 1))
    vectors = np.concatenate([item.vectors for item in found])
    scores = chamfer(vectors, ends, local.store, local.ends, rows)
    assert scores.shape == (4, 40) and np.isfinite(scores).all()


def test_queries_of_another_encoder_are_refused(gallery, pictures, dense):
    local = build_local(gallery, dense, QUIET)
    other = encode_local_queries(make_dense(module=Cells(seed=1)), pictures[:1])
    with pytest.raises(QueryError, match="made by"):
        local.check_queries(other)
    wide = encode_local_queries(make_dense(module=Cells(dim=5)), pictures[:1])
    with pytest.raises(QueryError, match="5 dimensions"):
        local.check_queries(list(wide))
    local.check_queries(list(other))  # nobody knows who made a plain list


def test_masks_and_counts_that_do_not_fit(pictures, dense):
    mask = np.zeros((10, 10), dtype=bool)
    mask[:5] = True
    found = encode_local_queries(dense, pictures[:2], masks=[mask, None])
    assert (found[0].positions[:, 1] < 0.5).all() and len(found[1]) == 16
    with pytest.raises(QueryError, match="masks"):
        encode_local_queries(dense, pictures[:2], masks=[mask])
    with pytest.raises(QueryError, match="boxes"):
        encode_local_queries(dense, pictures[:2], boxes=[None])
    assert encode_local_queries(dense, []) == []
    few = make_dense(selection=Selection(4))
    assert [len(item) for item in encode_local_queries(few, pictures[:2], masks=[mask, None])] == [
        4,
        4,
    ]


def test_the_foreground_of_a_plain_picture_within_its_box_and_every_other_part():
    picture = Image.new("RGB", (40, 40), (240, 240, 240))
    picture.paste((10, 80, 10), (2, 10, 30, 30))
    dense = make_dense(module=Cells(seed=1))
    box = [0.0, 0.0, 1.0, 0.5]
    both = encode_local_queries(dense, [picture], [box], part="foreground")[0]
    boxed = encode_local_queries(dense, [picture], [box])[0]
    masked = encode_local_queries(dense, [picture], part="foreground")[0]
    assert 0 < len(both) < min(len(boxed), len(masked))
    assert (both.positions <= [0.75, 0.5]).all()
    every = encode_local_queries(dense, [picture], [box], part="all")[0]
    assert len(every) == len(encode_local_queries(dense, [picture])[0]) > len(boxed)


def test_the_part_may_come_with_the_encoder_and_is_no_part_of_its_identity(pictures):
    dense = make_dense()
    other = dense.resized(selection=Selection(query_part="all"))
    assert other.fingerprint == dense.fingerprint
    box = [[0.0, 0.0, 0.3, 0.3]]
    assert len(encode_local_queries(other, pictures[:1], box)[0]) > len(
        encode_local_queries(dense, pictures[:1], box)[0]
    )
    with pytest.raises(SettingError, match="query_part"):
        Selection(query_part="object")
