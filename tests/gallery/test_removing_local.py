"""Local descriptors follow their gallery, or are refused; never of other images than it says."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from drawings import photo
from patchrerank.encoders import Preprocessing, load_dense_encoder
from patchrerank.errors import GalleryError, ShortlistError
from patchrerank.gallery import (
    BuildOptions,
    CompressOptions,
    Gallery,
    LocalOptions,
    build_gallery,
    build_local,
    compact,
    compress,
    remove,
    replace,
    verify,
)
from patchrerank.regions import GridPyramid

QUIET = LocalOptions(progress=False)
PLAIN = Preprocessing((16, 16), (0.5,) * 3, (0.25,) * 3, "area")
NAMES = [f"{number:02d}.png" for number in range(12)]
GONE = ["00.png", "05.png", "06.png", "11.png"]


@pytest.fixture(scope="module")
def dense():
    torch.manual_seed(0)
    module = torch.nn.Conv2d(3, 6, 4, stride=4)
    given = {"preprocessing": PLAIN, "image_size": 16, "stride": 4, "device": "cpu", "name": "c"}
    return load_dense_encoder(module, **given)


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    for number, name in enumerate(NAMES):
        photo(number, 30 + number, 20).save(tmp_path / "photos" / name)
    return tmp_path / "photos"


@pytest.fixture
def gallery(tmp_path, photos, tiny_encoder, quiet):
    return build_gallery(tmp_path / "g", photos, tiny_encoder, GridPyramid(0), quiet)


def descriptors(gallery):
    rows = gallery.live.tolist()
    return {gallery.ids[row]: gallery.local.descriptors_of(row).vectors.tobytes() for row in rows}


def test_they_stay_right_when_images_go_and_when_the_gallery_is_compacted(gallery, dense):
    build_local(gallery, dense, QUIET)
    whole = descriptors(gallery)
    left = {name: whole[name] for name in NAMES if name not in GONE}
    after = remove(gallery.folder, GONE)
    assert descriptors(after) == left and verify(after) == []
    size = sum(path.stat().st_size for path in (gallery.folder / "local").glob("*.bin"))
    compacted = compact(gallery.folder)
    assert descriptors(compacted) == left and verify(compacted) == []
    assert descriptors(after) == left  # opened before
    assert sum(p.stat().st_size for p in (gallery.folder / "local").glob("*.bin")) < size
    assert build_local(compacted, dense, QUIET).manifest.images == 8


def test_one_who_opens_them_late_is_told_to_open_the_gallery_again(gallery, dense):
    build_local(gallery, dense, QUIET)
    early = remove(gallery.folder, GONE)
    compact(gallery.folder)
    with pytest.raises(GalleryError, match="was compacted since it was opened"):
        _ = early.local


def test_images_that_come_need_them(tmp_path, photos, gallery, dense, tiny_encoder):
    build_local(gallery, dense, QUIET)
    whole = descriptors(gallery)
    remove(gallery.folder, GONE[:2])
    pairs = [("11.png", photos / "01.png"), ("03.png", photos / "02.png")]
    after = replace(
        gallery.folder, pairs, tiny_encoder, GridPyramid(0), BuildOptions(progress=False)
    )
    assert (len(after), after.live_count) == (14, 10)
    for again in (Gallery, compact):
        opened = again(gallery.folder)
        with pytest.raises(GalleryError, match=r"covers \d+ of the gallery's \d+ images"):
            _ = opened.local
    last = Gallery(gallery.folder)
    build_local(last, dense, QUIET, sources={row: dict(pairs)[last.ids[row]] for row in (8, 9)})
    expected = {name: whole[name] for name in NAMES if name not in GONE[:2]}
    expected |= {"11.png": whole["01.png"], "03.png": whole["02.png"]}
    assert descriptors(last) == expected and verify(last) == []


def test_the_last_image_replaced_and_compacted_is_not_taken_for_what_it_was(
    photos, gallery, dense, tiny_encoder, quiet
):
    """Ids and numbers are those of before, one picture is another."""
    build_local(gallery, dense, QUIET)
    shutil.copytree(gallery.folder / "local", gallery.folder / "kept")
    replace(gallery.folder, [("11.png", photos / "01.png")], tiny_encoder, "grid:0", quiet)
    after = compact(gallery.folder)
    assert list(after.ids) == NAMES
    with pytest.raises(GalleryError, match="covers 11 of the gallery's 12"):
        _ = after.local
    shutil.rmtree(gallery.folder / "local")
    (gallery.folder / "kept").rename(gallery.folder / "local")
    with pytest.raises(GalleryError, match="of other images than the gallery's"):
        _ = Gallery(gallery.folder).local
    with pytest.raises(GalleryError, match="of other images than the gallery's"):
        build_local(Gallery(gallery.folder), dense, QUIET)


def test_removed_rows_need_no_picture(photos, gallery, dense):
    after = remove(gallery.folder, GONE)
    for name in GONE:
        (photos / name).unlink()
    local = build_local(after, dense, QUIET)
    counts = np.diff(local.ends, prepend=0)
    assert not counts[[0, 5, 6, 11]].any() and counts[after.live].all()
    assert verify(Gallery(gallery.folder)) == []


def test_half_written_ones_stop_compacting(gallery, dense):
    build_local(gallery, dense, QUIET)
    local = gallery.folder / "local"
    (local / "manifest.json").rename(local / "building.json")
    remove(gallery.folder, GONE)
    with pytest.raises(GalleryError, match="storing local descriptors was interrupted"):
        compact(gallery.folder)


def test_a_compressed_copy_has_those_of_what_is_there(tmp_path, gallery, dense):
    build_local(gallery, dense, QUIET)
    after = remove(gallery.folder, GONE)
    compress(after, tmp_path / "small", CompressOptions("int8", progress=False))
    small = Gallery(tmp_path / "small")
    assert descriptors(small) == descriptors(after) and verify(small) == []


def test_what_is_replaced_is_what_a_fresh_gallery_would_hold(
    tmp_path, photos, gallery, tiny_encoder, quiet
):
    pairs = [("03.png", photos / "01.png"), ("04.png", photo(77, 40, 30))]
    with pytest.raises(ShortlistError, match="1 of 2 ids are not in the gallery"):
        replace(gallery.folder, [pairs[0], ("new", photos / "01.png")], tiny_encoder)
    with pytest.raises(GalleryError, match="comes twice"):
        replace(gallery.folder, [pairs[0], pairs[0]], tiny_encoder)
    with pytest.raises(ShortlistError, match="no images"):
        replace(gallery.folder, [], tiny_encoder)
    assert json.loads((gallery.folder / "manifest.json").read_text())["images"] == 12
    after = replace(gallery.folder, pairs, tiny_encoder, options=quiet)
    assert (len(after), after.live_count) == (14, 12) and verify(after) == []
    rows = after.rows_of(["03.png", "04.png", "01.png"])
    assert rows.tolist() == [12, 13, 1]
    assert np.allclose(after.global_vectors[12], after.global_vectors[1], atol=1e-6)
    more = BuildOptions(progress=False, append=True)
    added = replace(gallery.folder, [("new", photos / "01.png")], tiny_encoder, options=more)
    assert added.live_count == 13 and "new" in added.ids
