from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from patchrerank.errors import GalleryError, ImageError, SettingError, ShortlistError
from patchrerank.gallery import BuildOptions, Gallery, build_gallery, verify
from patchrerank.images import list_images, read_image
from patchrerank.regions import FixedBoxes, GridPyramid


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.bin"))}


def test_vectors_equal_encoding_one_crop_at_a_time(tiny_gallery, tiny_encoder, photo_folder):
    for row in (0, 7, 39):
        image = read_image(photo_folder / tiny_gallery.ids[row])
        boxes = GridPyramid(2).boxes("", *image.size)
        expected = np.concatenate(
            [
                tiny_encoder.encode(tiny_encoder.preprocessing.prepare(image, box[None]))
                for box in boxes
            ]
        )
        assert np.allclose(tiny_gallery.patches[14 * row : 14 * row + 14], expected, atol=1e-5)
        assert np.allclose(tiny_gallery.global_vectors[row], expected[0], atol=1e-5)
        assert np.array_equal(tiny_gallery.boxes[14 * row : 14 * row + 14], boxes)
        assert tuple(tiny_gallery.sizes[row]) == image.size


def test_order_ids_and_lookup(tiny_gallery, photo_folder):
    expected = [path.relative_to(photo_folder).as_posix() for path in list_images(photo_folder)]
    assert list(tiny_gallery.ids) == expected
    assert tiny_gallery.rows_of([expected[5], expected[0]]).tolist() == [5, 0]
    assert tiny_gallery.rows_of(np.array(expected[3:5])).tolist() == [3, 4]
    for wrong in (None, 3, expected[0]):
        with pytest.raises(ShortlistError, match=r"expected a list of ids, as in \['a.jpg'\], got"):
            tiny_gallery.rows_of(wrong)
    with pytest.raises(ShortlistError, match=r"id \['a'\] is a list.*gallery's ids are text"):
        tiny_gallery.rows_of([["a"]])
    with pytest.raises(ShortlistError, match=r"id 7 is a int .*gallery's ids are text"):
        tiny_gallery.rows_of([7])
    with pytest.raises(ShortlistError, match="1 of 1 ids are not in the gallery"):
        tiny_gallery.rows_of(["7"])
    assert tiny_gallery.pictures[3] == photo_folder / expected[3]
    assert verify(tiny_gallery) == []


def test_odd_ids_and_all_kinds_of_sources(tmp_path, tiny_encoder, quiet):
    picture = Image.new("RGB", (20, 20), "red")
    ids = [" ", "a\nb", "ü/日本", "x" * 5000, "…"]
    pairs = ((name, picture) for name in ids)
    gallery = build_gallery(tmp_path / "g", pairs, tiny_encoder, GridPyramid(0), quiet)
    assert list(gallery.ids) == ids
    assert list(Gallery(tmp_path / "g").ids) == ids
    picture.save(tmp_path / "a.png")
    listed = build_gallery(
        tmp_path / "h", [str(tmp_path / "a.png")], tiny_encoder, GridPyramid(0), quiet
    )
    assert list(listed.ids) == [str(tmp_path / "a.png")]
    with pytest.raises(GalleryError, match="an id is empty"):
        build_gallery(tmp_path / "e", [("", picture)], tiny_encoder, GridPyramid(0), quiet)
    with pytest.raises(GalleryError, match="image 1 is 7"):
        build_gallery(tmp_path / "i", [tmp_path / "a.png", 7], tiny_encoder, None, quiet)


def test_duplicate_ids_and_empty_folders(tmp_path, tiny_encoder, quiet):
    picture = Image.new("RGB", (20, 20))
    with pytest.raises(GalleryError, match="'a' comes twice"):
        build_gallery(tmp_path / "g", [("a", picture)] * 2, tiny_encoder, None, quiet)
    (tmp_path / "none").mkdir()
    with pytest.raises(GalleryError, match="no images"):
        build_gallery(tmp_path / "h", tmp_path / "none", tiny_encoder, None, quiet)
    for nothing in ([], iter([])):
        with pytest.raises(GalleryError, match="there are no images to index; pass a folder"):
            build_gallery(tmp_path / "i", nothing, tiny_encoder, None, quiet)
    made = build_gallery(tmp_path / "i", [("a", picture)], tiny_encoder, "grid:0", quiet)
    more = replace(quiet, append=True)
    assert len(build_gallery(tmp_path / "i", [], tiny_encoder, "grid:0", more)) == len(made) == 1


def test_append_equals_one_build(tmp_path, tiny_encoder, photo_folder, quiet):
    files = list_images(photo_folder)
    pairs = [(path.name, path) for path in files]
    whole = build_gallery(tmp_path / "whole", pairs, tiny_encoder, GridPyramid(1), quiet)
    part = build_gallery(tmp_path / "part", pairs[:17], tiny_encoder, GridPyramid(1), quiet)
    before = np.array(part.patches)
    with pytest.raises(GalleryError, match="append"):
        build_gallery(tmp_path / "part", pairs, tiny_encoder, GridPyramid(1), quiet)
    more = replace(quiet, append=True)
    longer = build_gallery(tmp_path / "part", pairs, tiny_encoder, GridPyramid(1), more)
    assert np.array_equal(part.patches, before), "the open gallery still reads its own rows"
    assert list(longer.ids) == list(whole.ids)
    assert np.allclose(longer.patches, whole.patches, atol=1e-6)
    assert verify(longer) == []


def test_other_settings_are_refused(tmp_path, tiny_encoder, other_encoder, photo_folder, quiet):

    pairs = [(path.name, path) for path in list_images(photo_folder)[:3]]
    build_gallery(tmp_path / "g", pairs, tiny_encoder, GridPyramid(1), quiet)
    more = replace(quiet, append=True)
    with pytest.raises(GalleryError, match="regions"):
        build_gallery(tmp_path / "g", pairs, tiny_encoder, GridPyramid(2), more)
    with pytest.raises(GalleryError, match="identity"):
        build_gallery(tmp_path / "g", pairs, other_encoder, GridPyramid(1), more)
    with pytest.raises(GalleryError, match="store"):
        build_gallery(
            tmp_path / "g", pairs, tiny_encoder, GridPyramid(1), replace(more, store="float16")
        )
    with pytest.raises(SettingError, match="did you mean float32"):
        build_gallery(tmp_path / "h", pairs, tiny_encoder, None, replace(quiet, store="float23"))
    with pytest.raises(GalleryError, match="holds"):
        build_gallery(photo_folder, pairs, tiny_encoder, None, quiet)


def test_broken_images(tmp_path, tiny_encoder, photo_folder, quiet):
    shutil.copytree(photo_folder, tmp_path / "photos")
    (tmp_path / "photos" / "33.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(ImageError, match=r"33\.png"):
        build_gallery(tmp_path / "g", tmp_path / "photos", tiny_encoder, GridPyramid(1), quiet)
    begun = json.loads((tmp_path / "g" / "building.json").read_text())
    assert begun["images"] >= 16, "the finished chunk is kept"
    with pytest.raises(GalleryError, match="half-written"):
        Gallery(tmp_path / "g")
    skip = replace(quiet, on_error="skip")
    gallery = build_gallery(tmp_path / "g", tmp_path / "photos", tiny_encoder, GridPyramid(1), skip)
    assert len(gallery) == 39
    assert [name for name, _ in gallery.manifest.skipped] == ["33.png"]
    assert "33.png" in gallery.manifest.skipped[0][1]
    assert verify(gallery) == []
    shutil.copy(photo_folder / "33.png", tmp_path / "photos" / "33.png")
    more = replace(quiet, append=True)
    mended = build_gallery(tmp_path / "g", tmp_path / "photos", tiny_encoder, GridPyramid(1), more)
    assert mended.manifest.skipped == ()
    assert mended.ids[-1] == "33.png"


def test_skipped_images_stay_recorded_until_they_are_mended(
    tmp_path, tiny_encoder, photo_folder, quiet
):
    files = list_images(photo_folder)
    skip = replace(quiet, on_error="skip")
    pairs = [("a", files[0]), ("bad", b"no picture")]
    build_gallery(tmp_path / "g", pairs, tiny_encoder, GridPyramid(0), skip)
    more = replace(skip, append=True)
    other = build_gallery(tmp_path / "g", [("b", files[1])], tiny_encoder, GridPyramid(0), more)
    assert [name for name, _ in other.manifest.skipped] == ["bad"]
    again = build_gallery(tmp_path / "g", pairs, tiny_encoder, GridPyramid(0), more)
    assert [name for name, _ in again.manifest.skipped] == ["bad"], "tried again, recorded once"


def test_a_power_cut_loses_only_what_was_not_on_the_disk(
    tmp_path, tiny_encoder, photo_folder, quiet, monkeypatch
):
    from patchrerank.gallery import arrays

    monkeypatch.setattr(arrays, "SYNC_SECONDS", 0.0)
    files = [(path.name, path) for path in list_images(photo_folder)]
    whole = build_gallery(tmp_path / "whole", files, tiny_encoder, GridPyramid(0), quiet)
    broken = [*files[:33], ("bad", b"no picture")]
    with pytest.raises(ImageError):
        build_gallery(tmp_path / "g", broken, tiny_encoder, GridPyramid(0), quiet)
    (tmp_path / "g" / "building.json").write_bytes(b"")  # what a power cut can leave behind
    found = build_gallery(tmp_path / "g", files, tiny_encoder, GridPyramid(0), quiet)
    assert contents(found.folder) == contents(whole.folder)
    with pytest.raises(ImageError):
        build_gallery(tmp_path / "h", broken, tiny_encoder, GridPyramid(0), quiet)
    (tmp_path / "h" / "patches.bin").write_bytes(b"zeros")
    with pytest.raises(GalleryError, match="half-written gallery is damaged"):
        build_gallery(tmp_path / "h", files, tiny_encoder, GridPyramid(0), quiet)


def test_files_of_others_are_never_touched(tmp_path, tiny_gallery, tiny_encoder, quiet):
    from patchrerank.gallery import CompressOptions, compress

    for name in ("boxes.bin", "weights.bin"):
        (tmp_path / name).write_bytes(b"precious")
    with pytest.raises(GalleryError, match=r"holds 'boxes\.bin'"):
        build_gallery(tmp_path, [], tiny_encoder, None, quiet)
    with pytest.raises(GalleryError, match=r"holds 'boxes\.bin'"):
        compress(tiny_gallery, tmp_path, CompressOptions("int8", progress=False))
    assert (tmp_path / "weights.bin").read_bytes() == b"precious"
    (tmp_path / "file").touch()
    with pytest.raises(GalleryError, match="cannot be made"):
        build_gallery(tmp_path / "file" / "g", [], tiny_encoder, None, quiet)


def test_the_lock_is_given_back_after_an_error(tmp_path, tiny_encoder, quiet):
    pair = ("a", Image.new("RGB", (9, 9), "red"))
    build_gallery(tmp_path / "g", [pair], tiny_encoder, GridPyramid(0), quiet)
    more = replace(quiet, append=True)
    for _ in range(2):
        with pytest.raises(GalleryError, match="regions"):
            build_gallery(tmp_path / "g", [], tiny_encoder, GridPyramid(1), more)
    build_gallery(tmp_path / "g", [], tiny_encoder, GridPyramid(0), more)


def test_ids_that_are_no_unicode(tmp_path, tiny_encoder, quiet):
    with pytest.raises(GalleryError, match="Unicode"):
        build_gallery(
            tmp_path / "g", [("a\udcff", Image.new("RGB", (9, 9)))], tiny_encoder, None, quiet
        )


def test_a_gallery_is_pickled_by_its_folder(tiny_gallery):
    import pickle

    packed = pickle.dumps(tiny_gallery)
    assert len(packed) < 1000
    assert list(pickle.loads(packed).ids) == list(tiny_gallery.ids)


def test_ragged_boxes_without_the_whole_image(tmp_path, tiny_encoder, photo_folder, quiet):
    files = list_images(photo_folder)[:3]
    given = {"a": [[0, 0, 0.5, 0.5]], "b": [], "c": [[0, 0, 1, 1], [0.2, 0.2, 0.9, 0.9]]}
    pairs = list(zip("abc", files, strict=True))
    regions = FixedBoxes(given, whole_image=False)
    gallery = build_gallery(tmp_path / "g", pairs, tiny_encoder, regions, quiet)
    assert gallery.patch_ends.tolist() == [1, 1, 3]
    whole = tiny_encoder.encode_images(files)
    assert np.allclose(gallery.global_vectors, whole, atol=1e-5)
    assert np.allclose(gallery.patches[1], whole[2], atol=1e-5)
    assert verify(gallery) == []


def test_float16_store(tmp_path, tiny_encoder, photo_folder, tiny_gallery, quiet):
    half = build_gallery(
        tmp_path / "g", photo_folder, tiny_encoder, GridPyramid(2), replace(quiet, store="float16")
    )
    assert half.patches.dtype == np.float16
    assert np.array_equal(half.patches, tiny_gallery.patches.astype(np.float16))
    assert half.nbytes()["patches"] * 2 == tiny_gallery.nbytes()["patches"]
    assert verify(half) == []


def test_two_builders_at_once(tmp_path, tiny_encoder, quiet):
    def nested():
        build_gallery(tmp_path / "g", [], tiny_encoder, None, quiet)
        yield from ()

    with pytest.raises(GalleryError, match="another process"):
        build_gallery(tmp_path / "g", nested(), tiny_encoder, None, quiet)


@pytest.mark.parametrize(
    ("name", "damage", "what"),
    [
        ("patches", lambda b: b[:400] + b"\x00\x00\xc0\x7f" + b[404:], "NaN"),
        ("patches", lambda b: b[:401] + b"\x41" + b[402:], "checksum"),
        ("globals", lambda b: b"\x00" * 64 + b[64:], "unit norm"),
        ("boxes", lambda b: b[:8] + b"\x00" * 8 + b[16:], "not a box"),
        ("ids", lambda b: b"\xff" + b[1:], "UTF-8"),
        ("patch_ends", lambda b: b[:8] + b"\x00" * 8 + b[16:], "not increasing"),
        ("patches", lambda b: b + b"more", "bytes"),
    ],
)
def test_verify_finds_damage(tmp_path, tiny_gallery, name, damage, what):
    shutil.copytree(tiny_gallery.folder, tmp_path / "g")
    file = tmp_path / "g" / f"{name}.bin"
    file.write_bytes(damage(file.read_bytes()))
    problems = verify(Gallery(tmp_path / "g"))
    assert any(what in problem and name in problem for problem in problems), problems


def test_damaged_folders_are_refused_at_opening(tmp_path, tiny_gallery):
    with pytest.raises(GalleryError, match="no such file"):
        Gallery(tmp_path)
    shutil.copytree(tiny_gallery.folder, tmp_path / "g")
    (tmp_path / "g" / "patches.bin").write_bytes(b"short")
    with pytest.raises(GalleryError, match=r"patches\.bin.*5 bytes"):
        Gallery(tmp_path / "g")
    (tmp_path / "g" / "patches.bin").unlink()
    with pytest.raises(GalleryError, match="is missing"):
        Gallery(tmp_path / "g")
    (tmp_path / "g" / "manifest.json").write_text('{"format": 1, "dim"')
    with pytest.raises(GalleryError, match="damaged manifest"):
        Gallery(tmp_path / "g")
    (tmp_path / "g" / "manifest.json").write_text('{"format": 99}')
    with pytest.raises(GalleryError, match="format 99"):
        Gallery(tmp_path / "g")


def test_options_are_checked():
    with pytest.raises(SettingError):
        BuildOptions(on_error="ignore")
    with pytest.raises(SettingError):
        BuildOptions(workers=0)


def test_ids_that_are_no_unicode_can_be_skipped(tmp_path, tiny_encoder, quiet, caplog):
    picture = Image.new("RGB", (20, 20))
    pairs = [("a", picture), ("b\udcff", picture), ("c", picture)]
    skip = replace(quiet, on_error="skip")
    for _ in range(2):
        gallery = build_gallery(tmp_path / "g", pairs, tiny_encoder, GridPyramid(0), skip)
        assert list(gallery.ids) == ["a", "c"]
    assert "'b\\udcff' is not valid Unicode" in caplog.text


@pytest.mark.parametrize("images", [None, 3, 2.5])
def test_images_of_the_wrong_type(tmp_path, tiny_encoder, quiet, images):
    with pytest.raises(GalleryError, match=r"the images are .*; pass a folder of pictures"):
        build_gallery(tmp_path / "g", images, tiny_encoder, None, quiet)
    assert not (tmp_path / "g").exists()


def test_a_folder_of_the_wrong_type(photo_folder, tiny_encoder, quiet):
    with pytest.raises(GalleryError, match="a gallery is written to a folder, not to None"):
        build_gallery(None, photo_folder, tiny_encoder, None, quiet)
