"""A gallery follows its folder: what it holds is what a fresh build of the folder would."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest

from drawings import photo as draw_photo
from patchrerank.errors import EncoderError, GalleryError, ImageError, SettingError
from patchrerank.gallery import (
    BuildOptions,
    Gallery,
    SyncOptions,
    build_gallery,
    compact,
    import_gallery,
    sync,
    sync_pictures,
    verify,
)
from patchrerank.gallery.stamps import stamps_in
from patchrerank.gallery.sync_guard import most_removed
from patchrerank.images import find_images, listing
from patchrerank.regions import GridPyramid

QUIET = BuildOptions(progress=False, backgrounds=4)
AGAIN = 1_000_000_000


def told(**options):
    return SyncOptions(progress=False, **options)


@pytest.fixture(autouse=True)
def one_by_one(tiny_encoder, monkeypatch):
    """Vectors of this network depend on how many are made at once, in the last bit."""
    monkeypatch.setattr(tiny_encoder, "batch_size", 1)


@pytest.fixture
def photos(tmp_path):
    for number in range(40):
        path = tmp_path / f"photos/{'sub/' * (number % 3 == 0)}{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_photo(number, 60 + number, 50).save(path)
    return tmp_path / "photos"


@pytest.fixture
def gallery(tmp_path, photos, tiny_encoder):
    return build_gallery(tmp_path / "g", photos, tiny_encoder, GridPyramid(1), QUIET)


def change(photos):
    """Add three pictures, change three, take two away and move one."""
    for number in (100, 101, 102):
        draw_photo(number, 70, 50).save(photos / f"{number}.png")
    for number in (1, 2, 4):
        draw_photo(number + 500, 60 + number, 50).save(photos / f"{number:02d}.png")
        later(photos / f"{number:02d}.png")
    (photos / "05.png").unlink()
    (photos / "sub/06.png").unlink()
    (photos / "07.png").rename(photos / "sub/moved.png")


def later(path):
    """A file written within one tick of the clock has the time of before."""
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + AGAIN))


def content(gallery):
    """All that a gallery says of each id that is there."""
    ends = np.asarray(gallery.patch_ends)
    begins = np.concatenate([[0], ends[:-1]])
    return {
        gallery.ids[row]: (
            gallery.global_vectors[row].tobytes(),
            gallery.patches[begins[row] : ends[row]].tobytes(),
            gallery.boxes[begins[row] : ends[row]].tobytes(),
            gallery.sizes[row].tolist(),
            gallery.array("stamps")[row].tolist(),
        )
        for row in gallery.live.tolist()
    }


def fresh(tmp_path, photos, encoder):
    shutil.rmtree(tmp_path / "fresh", ignore_errors=True)
    return content(build_gallery(tmp_path / "fresh", photos, encoder, GridPyramid(1), QUIET))


def test_it_holds_what_a_fresh_build_holds_also_compacted(tmp_path, photos, gallery, tiny_encoder):
    change(photos)
    plan = sync(photos, gallery.folder, told(dry_run=True), encoder=tiny_encoder)
    assert content(Gallery(gallery.folder)) == content(gallery)
    done = sync(photos, gallery.folder, told(), encoder=tiny_encoder)
    assert done == plan
    assert set(done.added) == {"100.png", "101.png", "102.png", "sub/moved.png"}
    assert set(done.changed) == {"01.png", "02.png", "04.png"}
    assert set(done.removed) == {"05.png", "sub/06.png", "07.png"}
    assert (done.unchanged, done.skipped, done.kept) == (34, (), ())
    after = Gallery(gallery.folder)
    assert content(after) == fresh(tmp_path, photos, tiny_encoder) and verify(after) == []
    assert len(after) == 47 and after.live_count == 41 and len(gallery) == 40
    again = compact(gallery.folder)
    assert content(again) == content(after) and len(again) == 41 and verify(again) == []
    nothing = sync(photos, gallery.folder, told(), encoder=tiny_encoder)
    assert nothing.unchanged == 41 and not (nothing.added or nothing.changed or nothing.removed)
    assert Gallery(gallery.folder).manifest == again.manifest


def test_times_alone_count_unless_contents_are_compared(photos, gallery, tiny_encoder):
    path = photos / "01.png"
    later(path)
    assert sync(photos, gallery.folder, told(dry_run=True)).changed == ("01.png",)
    same = sync(photos, gallery.folder, told(checksum=True), encoder=tiny_encoder)
    assert not same.changed and same.unchanged == 40
    assert sync(photos, gallery.folder, told(dry_run=True)).unchanged == 40  # recorded anew
    state, data = path.stat(), path.read_bytes()
    path.write_bytes(data[:-1] + b"x")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert sync(photos, gallery.folder, told(dry_run=True)).unchanged == 40
    hidden = sync(photos, gallery.folder, told(dry_run=True, checksum=True))
    assert hidden.changed == ("01.png",)


@pytest.mark.parametrize("on_error", ["raise", "skip", "drop"])
def test_a_picture_that_breaks(tmp_path, photos, gallery, tiny_encoder, on_error):
    (photos / "01.png").write_bytes(b"no picture")
    (photos / "new.png").write_bytes(b"nor this")
    draw_photo(3, 60, 50).save(photos / "zz.png")
    before = content(gallery)
    if on_error == "raise":
        with pytest.raises(ImageError, match=r"(01|new)\.png"):
            sync(photos, gallery.folder, told(), encoder=tiny_encoder)
        assert content(Gallery(gallery.folder)) == before
        return
    done = sync(photos, gallery.folder, told(on_error=on_error), encoder=tiny_encoder)
    after = Gallery(gallery.folder)
    assert dict(done.skipped).keys() == {"01.png", "new.png"} and done.added == ("zz.png",)
    assert dict(after.manifest.skipped).keys() == {"01.png", "new.png"}
    kept = on_error == "skip"
    assert done.kept == (("01.png",) if kept else ())
    assert done.removed == (() if kept else ("01.png",)) and done.changed == ()
    assert ("01.png" in after.ids) is kept and verify(after) == []
    if kept:
        assert content(after)["01.png"] == before["01.png"]
    draw_photo(77, 60, 50).save(photos / "01.png")
    (photos / "new.png").unlink()
    sync(photos, gallery.folder, told(on_error=on_error), encoder=tiny_encoder)
    assert Gallery(gallery.folder).manifest.skipped == ()
    assert content(Gallery(gallery.folder)) == fresh(tmp_path, photos, tiny_encoder)


@pytest.mark.parametrize("on_error", ["raise", "skip", "drop"])
def test_what_is_in_a_folder_that_cannot_be_read_is_not_gone(
    photos, gallery, tiny_encoder, monkeypatch, on_error
):
    scan, before = os.scandir, content(gallery)

    def refuse(path):
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(listing.os, "scandir", refuse)
    (photos / "05.png").unlink()
    inside = {name for name in before if name.startswith("sub/")}
    done = sync(photos, gallery.folder, told(), encoder=tiny_encoder)
    assert (done.removed, done.unchanged) == (("05.png",), 39)
    (photos / "sub").rename(photos / "hidden")
    (photos / "sub").symlink_to("sub")  # nothing below it can be read, by root neither
    monkeypatch.setattr(listing.os, "scandir", scan)
    found = find_images(photos)
    monkeypatch.setattr(
        sync_pictures, "find_images", lambda root: replace(found, unread=(root / "sub",))
    )
    if on_error == "raise":
        with pytest.raises(ImageError, match=r"sub/\d+\.png"):
            sync(photos, gallery.folder, told(), encoder=tiny_encoder)
        return
    if on_error == "drop":
        with pytest.raises(GalleryError, match=r"folder 'sub', of which the gallery holds 14"):
            sync(photos, gallery.folder, told(on_error=on_error), encoder=tiny_encoder)
        assert Gallery(gallery.folder).live_count == 39
    options = told(on_error=on_error, max_removed=14)
    done = sync(photos, gallery.folder, options, encoder=tiny_encoder)
    dropped = inside if on_error == "drop" else set()
    assert set(done.removed) == dropped
    assert dict(done.skipped).keys() == inside


@pytest.mark.parametrize("how", ["emptied", "absent", "half"])
def test_what_may_be_a_disc_that_is_not_mounted_is_not_taken_out_unasked(
    photos, gallery, tiny_encoder, how
):
    inside = sorted(path.name for path in (photos / "sub").iterdir())
    outside = sorted(path for path in photos.iterdir() if path.is_file())
    if how == "half":
        for path in outside[:21]:
            path.unlink()
        count, sentence = 21, r"21 of the gallery's 40 images, .*at most 20.*max_removed=21 "
    else:
        shutil.rmtree(photos / "sub")
        _ = (photos / "sub").mkdir() if how == "emptied" else None
        outside[0].unlink()
        count, sentence = 15, r"folder 'sub', of which the gallery holds 14.*max_removed=15 "
    kept = (gallery.folder / "manifest.json").read_bytes()
    planned = sync(photos, gallery.folder, told(dry_run=True), encoder=tiny_encoder)
    assert len(planned.removed) == count and planned.refused
    for most in (None, count - 1, "1%"):
        match = sentence if most is None else rf"{count} of the gallery's 40 images"
        with pytest.raises(GalleryError, match=match):
            sync(photos, gallery.folder, told(max_removed=most), encoder=tiny_encoder)
        assert (gallery.folder / "manifest.json").read_bytes() == kept
    done = sync(photos, gallery.folder, told(max_removed=count), encoder=tiny_encoder)
    assert len(done.removed) == count and done.refused is None
    assert len(inside) == 14 and Gallery(gallery.folder).live_count == 40 - count


def test_few_may_always_go_and_a_folder_that_was_filled_anew(tmp_path, photos, tiny_encoder):
    small = tmp_path / "small/a"
    shutil.copytree(photos / "sub", small)
    for path in sorted(small.iterdir())[9:]:
        path.unlink()
    photo = shutil.copy(photos / "01.png", small.parent / "b.png")
    gallery = build_gallery(tmp_path / "h", small.parent, tiny_encoder, GridPyramid(0), QUIET)
    shutil.rmtree(small)
    done = sync(small.parent, gallery.folder, told(), encoder=tiny_encoder)
    assert len(done.removed) == 9 and Gallery(gallery.folder).live_count == 1
    shutil.copytree(photos / "sub", small)
    shutil.copytree(photos, small.parent / "rest")
    sync(small.parent, gallery.folder, told(), encoder=tiny_encoder)
    shutil.rmtree(small)
    small.mkdir()
    shutil.copy(photo, small)
    done = sync(small.parent, gallery.folder, told(), encoder=tiny_encoder)
    assert len(done.removed) == 14 and done.added == ("a/b.png",)


def test_how_many_may_go_is_a_number_or_a_share():
    for most, of_200 in (("50%", 100), (7, 7), ("7", 7), ("0%", 0), ("12.5%", 25), ("100%", 200)):
        assert most_removed(most, 200) == of_200
    for wrong in ("x", "", "-1", -1, "101%", "nan%", "0.5", 0.5, True, "%", "1e999%"):
        with pytest.raises(SettingError, match="max_removed"):
            told(max_removed=wrong)


def test_pictures_that_need_an_extra_are_not_gone_without_it(
    photos, gallery, tiny_encoder, monkeypatch
):
    (photos / "01.png").rename(photos / "01.heic")
    (photos / "02.png").rename(photos / "02.heic")
    monkeypatch.setattr(listing, "can_read_heic", lambda: True)  # Pillow reads them: they are PNG
    sync(photos, gallery.folder, told(), encoder=tiny_encoder)
    monkeypatch.setattr(listing, "can_read_heic", lambda: False)
    (photos / "02.heic").unlink()
    done = sync(photos, gallery.folder, told(), encoder=tiny_encoder)
    assert done.removed == ("02.heic",) and done.unchanged == 39
    assert "01.heic" in Gallery(gallery.folder).ids


def unrecorded(folder):
    """Make a gallery one of before files were recorded."""
    made = json.loads((folder / "manifest.json").read_text())
    del made["arrays"]["stamps"], made["numbering"]
    (folder / "manifest.json").write_text(json.dumps(made))
    (folder / "stamps.bin").unlink()


@pytest.mark.parametrize("how", ["encode", "keep"])
def test_a_gallery_of_before_files_were_recorded(tmp_path, photos, gallery, tiny_encoder, how):
    unrecorded(gallery.folder)
    assert verify(Gallery(gallery.folder)) == []
    change(photos)
    done = sync(photos, gallery.folder, told(unrecorded=how), encoder=tiny_encoder)
    assert done.unrecorded == (37 if how == "encode" else 0)
    assert (len(done.changed), done.unchanged) == ((37, 0) if how == "encode" else (0, 37))
    after = Gallery(gallery.folder)
    assert verify(after) == []
    assert (content(after) == fresh(tmp_path, photos, tiny_encoder)) is (how == "encode")
    assert sync(photos, gallery.folder, told()).unchanged == 41


def test_an_append_of_before_files_were_recorded_records_its_own(
    tmp_path, photos, gallery, tiny_encoder
):
    unrecorded(gallery.folder)
    draw_photo(900, 60, 50).save(photos / "900.png")
    more = BuildOptions(progress=False, append=True)
    after = build_gallery(gallery.folder, photos, tiny_encoder, GridPyramid(1), more)
    stamps = stamps_in(after.folder, after.manifest)
    assert stamps[40].all() and not stamps[:40].any() and verify(after) == []


class BrokenError(Exception):
    pass


def breaking(encoder, after):
    """Return an encoder that breaks after so many chunks, and how to mend it."""
    real, left = type(encoder).encode_regions, [after]

    def encode_regions(prepared):
        if not left[0]:
            raise BrokenError
        left[0] -= 1
        return real(encoder, prepared)

    return encode_regions


def test_it_goes_on_where_it_stopped_also_when_more_changes(
    tmp_path, photos, gallery, tiny_encoder, monkeypatch
):
    """Two runs that end early; what was encoded is encoded once, unless its file changed again."""
    before = content(gallery)
    for number in range(200, 280):
        draw_photo(number, 60, 50).save(photos / f"{number}.png")
    change(photos)
    encoded = []
    for chunks, then in ((2, "200.png"), (1, "201.png")):
        with monkeypatch.context() as patched:
            patched.setattr(tiny_encoder, "encode_regions", breaking(tiny_encoder, chunks), False)
            with pytest.raises(BrokenError):
                sync(photos, gallery.folder, told(), encoder=tiny_encoder)
        assert content(Gallery(gallery.folder)) == before
        begun = json.loads((gallery.folder / "building.json").read_text())
        encoded.append(begun["images"])
        draw_photo(1000 + chunks, 60, 50).save(photos / then)  # both are written already
        later(photos / then)
    (photos / "202.png").unlink()  # so is this
    assert encoded[0] > 40 and encoded[1] > encoded[0]
    done = sync(photos, gallery.folder, told(), encoder=tiny_encoder)
    after = Gallery(gallery.folder)
    assert content(after) == fresh(tmp_path, photos, tiny_encoder) and verify(after) == []
    assert len(after) == 40 + 83 + 4 + 2 and len(done.added) == 83
    assert compact(gallery.folder).live_count == after.live_count


def test_an_append_finishes_what_a_sync_began(tmp_path, photos, gallery, tiny_encoder, monkeypatch):
    for number in range(200, 240):
        draw_photo(number, 60, 50).save(photos / f"{number}.png")
    change(photos)
    with monkeypatch.context() as patched:
        patched.setattr(tiny_encoder, "encode_regions", breaking(tiny_encoder, 2), False)
        with pytest.raises(BrokenError):
            sync(photos, gallery.folder, told(), encoder=tiny_encoder)
    with pytest.raises(GalleryError, match="was interrupted"):
        compact(gallery.folder)
    after = build_gallery(gallery.folder, photos, tiny_encoder, GridPyramid(1), QUIET)
    assert verify(after) == [] and after.live_count == len(set(after.ids.living()))
    sync(photos, gallery.folder, told(), encoder=tiny_encoder)
    assert content(Gallery(gallery.folder)) == fresh(tmp_path, photos, tiny_encoder)


def test_what_cannot_be_followed_is_refused(tmp_path, photos, gallery, tiny_encoder, other_encoder):
    kept = (gallery.folder / "manifest.json").read_bytes()
    vectors = np.eye(4, dtype=np.float32)
    import_gallery(tmp_path / "i", list("abcd"), vectors, vectors[:, None], encoder="theirs")
    with pytest.raises(GalleryError, match="was imported, with vectors of 'theirs'"):
        sync(photos, tmp_path / "i", told())
    pairs = [("a", photos / "01.png")]
    build_gallery(tmp_path / "p", pairs, tiny_encoder, GridPyramid(0), QUIET)
    with pytest.raises(GalleryError, match="not made of a folder"):
        sync(photos, tmp_path / "p", told(), encoder=tiny_encoder)
    with pytest.raises(GalleryError, match=r"holds images of .* not of"):
        sync(photos / "sub", gallery.folder, told(), encoder=tiny_encoder)
    (photos / "05.png").unlink()
    with pytest.raises(GalleryError, match=r"another (fingerprint|identity)"):
        sync(photos, gallery.folder, told(), encoder=other_encoder)
    with pytest.raises(EncoderError, match="torch module"):
        sync(photos, gallery.folder, told())
    with pytest.raises(ImageError, match="not a folder"):
        sync(photos / "none", gallery.folder, told())
    with pytest.raises(SettingError, match="on_error is 'stop'"):
        told(on_error="stop")
    for path in photos.glob("**/*.png"):
        path.unlink()
    with pytest.raises(GalleryError, match="not emptied by sync"):
        sync(photos, gallery.folder, told(), encoder=tiny_encoder)
    assert (gallery.folder / "manifest.json").read_bytes() == kept
    assert not (gallery.folder / "building.json").exists()


def test_a_look_takes_no_time(photos, gallery):
    begun = time.perf_counter()
    assert sync(photos, gallery.folder, told()).unchanged == 40  # and needs no encoder
    assert time.perf_counter() - begun < 2
