"""A gallery that is built on Ray holds the bits of one that is built in one process."""

from __future__ import annotations

import logging
import shutil
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from drawn_shards import draw_shards
from dying import cells_of, dead_on_arrival, dying
from later import later
from packed_pictures import encoded, write_parquet, write_shards
from patchrerank.distributed import (
    LocalWork,
    RayOptions,
    build_gallery_with_ray,
    compress_with_ray,
)
from patchrerank.errors import GalleryError, ImageError, MissingExtraError, SettingError
from patchrerank.gallery import (
    BuildOptions,
    CompressOptions,
    Gallery,
    LocalOptions,
    build_gallery,
    build_local,
    compress,
    merge,
    remove,
    verify,
)

later("ray")

QUIET = BuildOptions(progress=False)
ONE = RayOptions(workers=1, block=16, cpus_per_worker=0.5)
WHERE = {"places", "id_table"}
"""Arrays that say where things lie, which differs from folder to folder."""


pytestmark = pytest.mark.usefixtures("ray")


def same(found: Gallery, local: Gallery, folder: Path) -> None:
    """Compare a gallery of shards, and its copy into one folder, with one of one folder."""
    assert verify(found) == []
    one = merge(folder, [found], copy=True, progress=False)
    assert list(one.ids) == list(local.ids)
    assert one.manifest.skipped == local.manifest.skipped
    assert one.manifest.identity == local.manifest.identity
    assert one.manifest.whitening == local.manifest.whitening
    for name in local.manifest.arrays.keys() - WHERE:
        assert one.files()[name].read_bytes() == local.files()[name].read_bytes(), name


@pytest.mark.slow
def test_a_folder_and_again(tmp_path, photo_folder, tiny_encoder):
    local = build_gallery(tmp_path / "local", photo_folder, tiny_encoder, "grid:2", QUIET)
    build = partial(
        build_gallery_with_ray, tmp_path / "ray", photo_folder, tiny_encoder, "grid:2", QUIET, ONE
    )
    made = build()
    assert made.shards is not None and len(made.shards) == 3
    same(made, local, tmp_path / "copy")
    assert made.manifest.root == local.manifest.root
    assert made.pictures[39] == local.pictures[39]
    for name in ("jpegs", "ids"):
        assert getattr(made.backgrounds, name) == getattr(local.backgrounds, name)
    before = {path: path.stat().st_mtime_ns for path in made.folder.rglob("*.bin")}
    build()
    assert before == {path: path.stat().st_mtime_ns for path in made.folder.rglob("*.bin")}
    with pytest.raises(GalleryError, match="regions"):
        build_gallery_with_ray(tmp_path / "ray", photo_folder, tiny_encoder, "grid:1", QUIET, ONE)


@pytest.mark.slow
def test_what_is_there_is_kept(tmp_path, photo_folder, tiny_encoder):
    """One shard is lost, one only begun: the third is not written again."""
    build = partial(
        build_gallery_with_ray, tmp_path / "ray", photo_folder, tiny_encoder, "grid:2", QUIET
    )
    first = build(ONE)
    kept = [path.read_bytes() for path in sorted(first.folder.rglob("patches.bin"))]
    shards = first.folder / "shards"
    (first.folder / "manifest.json").unlink()
    shutil.rmtree(shards / "000001")
    (shards / "000002" / "manifest.json").rename(shards / "000002" / "building.json")
    stamp = (shards / "000000" / "patches.bin").stat().st_mtime_ns
    again = build(replace(ONE, block=None))
    assert [path.read_bytes() for path in sorted(again.folder.rglob("patches.bin"))] == kept
    assert (shards / "000000" / "patches.bin").stat().st_mtime_ns == stamp


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_files_of_pictures(tmp_path, tiny_encoder, kind):
    photos = tmp_path / "photos"
    if kind == "tar":
        write_shards(photos, [20, 3, 37])
    else:
        photos.mkdir()
        rows = [(f"{number:04d}", encoded(number)) for number in range(60)]
        write_parquet(photos / "a.parquet", rows[:25], group=10)
        write_parquet(photos / "b.parquet", rows[25:], group=10)
    local = build_gallery(tmp_path / "local", photos, tiny_encoder, "grid:2", QUIET)
    made = build_gallery_with_ray(tmp_path / "ray", photos, tiny_encoder, "grid:2", QUIET, ONE)
    assert [len(shard) for shard in made.shards] == [16, 16, 16, 12]
    assert verify(made) == []
    assert list(made.ids) == list(local.ids)
    for name in ("patches", "boxes", "global_vectors", "sizes"):
        assert np.array_equal(np.asarray(getattr(made, name)), getattr(local, name)), name
    contents = [bytes(one.pictures[row]) for row in range(60) for one in (made, local)]
    assert contents[::2] == contents[1::2]


@pytest.mark.slow
def test_whitening_is_that_of_a_local_build(tmp_path, photo_folder, tiny_encoder):
    how = replace(QUIET, whiten=8, store="float16")
    local = build_gallery(tmp_path / "local", photo_folder, tiny_encoder, "grid:2", how)
    made = build_gallery_with_ray(tmp_path / "ray", photo_folder, tiny_encoder, "grid:2", how, ONE)
    same(made, local, tmp_path / "copy")
    assert sorted(path.name for path in (made.folder / "shards").iterdir()) == [
        *("000000", "000001", "000002"),
        "blocks.json",
    ]
    again = build_gallery_with_ray(tmp_path / "ray", photo_folder, tiny_encoder, "grid:2", how, ONE)
    assert again.manifest == made.manifest
    with pytest.raises(GalleryError, match="8 dimensions, now they are 4"):
        build_gallery_with_ray(
            tmp_path / "ray", photo_folder, tiny_encoder, "grid:2", replace(how, whiten=4), ONE
        )


def killed(folder, photos, encoder, notes, at, how):
    """Begin a build whose only worker ends itself at its ``at``-th chunk."""
    notes.mkdir()
    dies = partial(dying, encoder, notes, 1, at)
    with pytest.raises(GalleryError, match="ended its worker"):
        build_gallery_with_ray(folder, photos, dies, "grid:1", how, replace(ONE, attempts=1))


@pytest.mark.slow
def test_a_build_killed_in_its_sample_does_not_go_on_plain(tmp_path, photo_folder, tiny_encoder):
    white = replace(QUIET, whiten=8)
    killed(tmp_path / "g", photo_folder, tiny_encoder, tmp_path / "notes", 1, white)
    held = sorted(path.parent.name for path in tmp_path.glob("g/shards/*/*/manifest.json"))
    assert held == ["000000"], "of the sample's parts"
    build = partial(build_gallery_with_ray, tmp_path / "g", photo_folder, tiny_encoder, "grid:1")
    with pytest.raises(GalleryError, match="begun with whitening"):
        build(replace(QUIET, whiten="none"), ONE)
    local = build_gallery(tmp_path / "local", photo_folder, tiny_encoder, "grid:1", white)
    same(build(white, ONE), local, tmp_path / "copy")


@pytest.mark.slow
def test_a_build_killed_behind_its_sample_whitens_as_it_is_asked_now(
    tmp_path, photo_folder, tiny_encoder, other_encoder, monkeypatch
):
    """Its sample is kept; what is learned on it is what the run that goes on wants."""
    monkeypatch.setattr("patchrerank.gallery.whitening_sample.SAMPLE_IMAGES", 16)
    white, now = (replace(QUIET, whiten=dim) for dim in (8, 4))
    killed(tmp_path / "g", photo_folder, tiny_encoder, tmp_path / "notes", 1, white)
    assert Gallery(tmp_path / "g" / "shards" / "whitening").dim == 8
    build = partial(build_gallery_with_ray, tmp_path / "g", photo_folder)
    with pytest.raises(GalleryError, match="regions grid:1, now it is grid:2"):
        build(tiny_encoder, "grid:2", white, ONE)
    with pytest.raises(GalleryError, match=r"another (encoder|identity)"):
        build(other_encoder, "grid:1", white, ONE)
    local = build_gallery(tmp_path / "local", photo_folder, tiny_encoder, "grid:1", now)
    made = build(tiny_encoder, "grid:1", now, ONE)
    assert made.dim == 4
    same(made, local, tmp_path / "copy")


@pytest.mark.slow
def test_a_shard_that_was_begun_with_another_whitening_says_so(
    tmp_path, photo_folder, tiny_encoder, monkeypatch
):
    monkeypatch.setattr("patchrerank.gallery.whitening_sample.SAMPLE_IMAGES", 4)
    monkeypatch.setattr(sys.modules[__name__], "ONE", replace(ONE, block=32))
    white = replace(QUIET, whiten=8)
    killed(tmp_path / "g", photo_folder, tiny_encoder, tmp_path / "notes", 2, white)
    build = partial(build_gallery_with_ray, tmp_path / "g", photo_folder, tiny_encoder, "grid:1")
    with pytest.raises(GalleryError, match=r"000000: was begun with another whitening"):
        build(replace(QUIET, whiten=4), ONE)
    assert build(white, ONE).dim == 8


def test_whitening_of_files_of_pictures(tmp_path, tiny_encoder):
    write_shards(tmp_path / "photos", [20, 15])
    how, photos = replace(QUIET, whiten="auto"), tmp_path / "photos"
    local = build_gallery(tmp_path / "local", photos, tiny_encoder, "grid:2", how)
    build = partial(
        build_gallery_with_ray, tmp_path / "ray", photos, tiny_encoder, "grid:2", how, ONE
    )
    made = build()
    assert made.manifest.whitening == local.manifest.whitening
    assert np.array_equal(np.asarray(made.patches), local.patches)
    before = {path: path.stat().st_mtime_ns for path in made.folder.rglob("*.bin")}
    assert build().manifest == made.manifest
    assert before == {path: path.stat().st_mtime_ns for path in made.folder.rglob("*.bin")}


@pytest.mark.slow
def test_broken_pictures(tmp_path, photo_folder, tiny_encoder, caplog):
    """Skipped ones are recorded, a whole block of them too; else the first one stops the build."""
    photos = tmp_path / "photos"
    shutil.copytree(photo_folder, photos)
    for number in (*range(17), 30):
        path = next(photos.rglob(f"{number:02d}.png"))
        path.write_bytes(b"broken")
    files = sorted(photos.rglob("*.png"), key=lambda path: (path.stat().st_size > 6, path))
    pairs = [(path.name, path) for path in files]
    with pytest.raises(ImageError, match=r"01\.png"):
        build_gallery_with_ray(tmp_path / "stop", pairs, tiny_encoder, "grid:2", QUIET, ONE)
    how = replace(QUIET, on_error="skip")
    local = build_gallery(tmp_path / "local", pairs, tiny_encoder, "grid:2", how)
    with caplog.at_level(logging.WARNING):
        made = build_gallery_with_ray(tmp_path / "ray", pairs, tiny_encoder, "grid:2", how, ONE)
    assert len(made) == 22 and len(made.manifest.skipped) == 18
    assert sum("skipped" in record.message for record in caplog.records) >= 18
    same(made, local, tmp_path / "copy")


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_what_it_had_in_hand(tmp_path, photo_folder, tiny_encoder):
    (tmp_path / "notes").mkdir()
    how = replace(ONE, block=32)
    local = build_gallery(tmp_path / "local", photo_folder, tiny_encoder, "grid:2", QUIET)
    encoder = partial(dying, tiny_encoder, tmp_path / "notes", 2, 1)
    made = build_gallery_with_ray(tmp_path / "ray", photo_folder, encoder, "grid:2", QUIET, how)
    assert len(list((tmp_path / "notes").iterdir())) == 2
    same(made, local, tmp_path / "copy")


@pytest.mark.slow
def test_a_block_that_ends_its_workers_is_named(tmp_path, photo_folder, tiny_encoder):
    (tmp_path / "notes").mkdir()
    how = replace(ONE, attempts=2)
    encoder = partial(dying, tiny_encoder, tmp_path / "notes", 2, 0)
    with pytest.raises(GalleryError, match=r"(?s)000000.*16 images.*ended its worker 2 times"):
        build_gallery_with_ray(tmp_path / "ray", photo_folder, encoder, "grid:2", QUIET, how)
    made = build_gallery_with_ray(tmp_path / "ray", photo_folder, encoder, "grid:2", QUIET, how)
    assert len(made) == 40


@pytest.mark.slow
def test_workers_that_end_while_they_load(tmp_path, photo_folder):
    how = replace(ONE, attempts=2)
    with pytest.raises(GalleryError, match="2 times one after the other"):
        build_gallery_with_ray(tmp_path / "a", photo_folder, dead_on_arrival, "grid:2", QUIET, how)
    assert not (tmp_path / "a").exists()


@pytest.mark.slow
def test_local_descriptors_of_a_gallery_that_is_there(tmp_path, photo_folder, tiny_encoder):
    how = LocalOptions(progress=False)
    local = build_gallery(tmp_path / "local", photo_folder, tiny_encoder, "grid:2", QUIET)
    build_local(local, cells_of(tiny_encoder), how)
    build = partial(
        build_gallery_with_ray, tmp_path / "ray", photo_folder, tiny_encoder, "grid:2", QUIET, ONE
    )
    assert not build().has_local
    made = build(LocalWork(cells_of, how))
    assert made.has_local
    one = merge(tmp_path / "copy", [made], copy=True, progress=False)
    for name in local.local.manifest.arrays:
        mine, theirs = (held.local.files()[name].read_bytes() for held in (one, local))
        assert mine == theirs, name


def test_compressed_side_by_side(tmp_path):
    joined = merge(tmp_path / "set", draw_shards(tmp_path / "parts", "float32", None))
    remove(joined.folder, [joined.ids[3]])
    joined = Gallery(joined.folder)
    how = CompressOptions("pq+int8", m=4, nbits=4, progress=False)
    compress(joined, tmp_path / "here", how)
    compress_with_ray(joined, tmp_path / "ray", how, ONE)
    here, made = Gallery(tmp_path / "here"), Gallery(tmp_path / "ray")
    assert verify(made) == [] and made.manifest == here.manifest
    assert joined.ids[3] not in list(made.ids) and len(made) == len(joined) - 1
    files = [path.relative_to(here.folder) for path in here.folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    for name in files:
        assert (here.folder / name).read_bytes() == (made.folder / name).read_bytes(), name


def test_nothing_but_what_is_meant(tmp_path, photo_folder, tiny_encoder):
    build = partial(build_gallery_with_ray, images=photo_folder, encoder=tiny_encoder, ray=ONE)
    with pytest.raises(SettingError, match="append"):
        build(tmp_path / "a", options=replace(QUIET, append=True))
    with pytest.raises(SettingError, match="stream"):
        build(tmp_path / "a", images=iter([("a", b"")]))
    with pytest.raises(SettingError, match="address"):
        build(tmp_path / "a", ray=replace(ONE, address="auto"))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.txt").write_text("mine")
    with pytest.raises(GalleryError, match=r"mine\.txt"):
        build(tmp_path / "b")
    build_gallery(tmp_path / "c", photo_folder, tiny_encoder, "grid:1", QUIET)
    with pytest.raises(GalleryError, match="not built on Ray"):
        build(tmp_path / "c")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    "wrong", [{"workers": 0}, {"block": 0}, {"cpus_per_worker": 0}, {"gpus_per_worker": -1}]
)
def test_impossible_options(wrong):
    with pytest.raises(SettingError, match=next(iter(wrong))):
        RayOptions(**wrong)


def test_without_ray(tmp_path, photo_folder, tiny_encoder, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"patchrerank\[ray\]"):
        build_gallery_with_ray(tmp_path / "a", photo_folder, tiny_encoder)
