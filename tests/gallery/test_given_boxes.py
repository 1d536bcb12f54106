"""Galleries on boxes of a detector: turned pictures, appending, and what is skipped."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from patchrerank.errors import GalleryError, RegionError
from patchrerank.gallery import Gallery, build_gallery, verify
from patchrerank.regions import FixedBoxes, parse_regions

STORED = (160, 120)
BOX = [40, 10, 20, 40]


def save(path, orientation=1, size=STORED):
    pixels = np.zeros((*size[::-1], 3), np.uint8)
    x, y, width, height = BOX
    pixels[y : y + height, x : x + width] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif, quality=95)


def coco(path, names, boxes=None, size=STORED):
    images = [
        {"id": number, "file_name": name, "width": size[0], "height": size[1]}
        for number, name in enumerate(names)
    ]
    found = [{"image_id": number, "bbox": box} for number, box in (boxes or [])]
    path.write_text(json.dumps({"images": images, "annotations": found}))
    return path


@pytest.mark.parametrize("orientation", range(5, 9))
def test_the_box_of_a_photograph_on_its_side_lands_on_the_object(
    tmp_path, tiny_encoder, quiet, orientation
):
    (tmp_path / "photos").mkdir()
    save(tmp_path / "photos" / "a.jpg", orientation)
    file = coco(tmp_path / "c.json", ["a.jpg"], [(0, BOX)])
    gallery = build_gallery(
        tmp_path / "g", tmp_path / "photos", tiny_encoder, parse_regions(f"coco:{file}"), quiet
    )
    white = tiny_encoder.encode(np.full((1, 16, 16, 3), 255, np.uint8))[0]
    assert gallery.sizes.tolist() == [[120, 160]]
    assert float(np.asarray(gallery.patches[1]) @ white) > 0.999
    assert verify(gallery) == []


def photos(tmp_path, count, first=0):
    folder = tmp_path / "photos"
    folder.mkdir(exist_ok=True)
    for number in range(first, count):
        save(folder / f"{number}.jpg", orientation=6 if number == 1 else 1)
    return folder


def names(count):
    return [f"{number}.jpg" for number in range(count)]


@pytest.fixture
def three(tmp_path, tiny_encoder, quiet):
    """A gallery of three pictures, one of them on its side, on boxes of a file."""
    file = coco(tmp_path / "c.json", names(3), [(0, BOX), (1, BOX)])
    build_gallery(
        tmp_path / "g", photos(tmp_path, 3), tiny_encoder, parse_regions(f"coco:{file}"), quiet
    )
    return tmp_path / "g"


def test_boxes_of_new_pictures_can_be_appended(tmp_path, three, tiny_encoder, quiet):
    file = coco(tmp_path / "c.json", names(4), [(0, BOX), (1, BOX), (3, BOX), (3, [0, 0, 9, 9])])
    regions = parse_regions(f"coco:{file}")
    more = replace(quiet, append=True)
    gallery = build_gallery(three, photos(tmp_path, 4, 3), tiny_encoder, regions, more)
    assert np.diff(gallery.patch_ends, prepend=0).tolist() == [2, 2, 1, 3]
    assert gallery.manifest.regions == regions.spec
    whole = build_gallery(tmp_path / "w", tmp_path / "photos", tiny_encoder, regions, quiet)
    for name in ("boxes", "sizes", "patch_ends"):
        assert np.array_equal(gallery.array(name), whole.array(name))
    only_new = parse_regions(f"coco:{coco(tmp_path / 'n.json', ['4.jpg'], [(0, BOX)])}")
    gallery = build_gallery(three, photos(tmp_path, 5, 4), tiny_encoder, only_new, more)
    assert len(gallery) == 5


@pytest.mark.parametrize(
    ("boxes", "which"),
    [
        ([(0, BOX), (1, [40, 10, 20, 41])], "'1.jpg'"),
        ([(0, BOX), (1, BOX), (2, BOX)], "'2.jpg'"),
        ([(1, BOX)], "'0.jpg'"),
    ],
)
def test_other_boxes_of_pictures_that_are_there_are_refused(
    tmp_path, three, tiny_encoder, quiet, boxes, which
):
    regions = parse_regions(f"coco:{coco(tmp_path / 'c.json', names(4), boxes)}")
    folder, more = photos(tmp_path, 4, 3), replace(quiet, append=True)
    with pytest.raises(GalleryError, match=f"boxes of {which} are others"):
        build_gallery(three, folder, tiny_encoder, regions, more)
    whole = FixedBoxes.from_coco(coco(tmp_path / "d.json", names(3)), whole_image=False)
    with pytest.raises(GalleryError, match="others"):
        build_gallery(three, folder, tiny_encoder, whole, more)


def test_an_interrupted_build_goes_on_with_more_boxes(tmp_path, tiny_encoder, quiet):
    count = 40
    folder = photos(tmp_path, count)
    (folder / "39.jpg").write_bytes(b"broken")
    some = parse_regions(f"coco:{coco(tmp_path / 'c.json', names(count), [(0, BOX)])}")
    with pytest.raises(Exception, match=r"39\.jpg"):
        build_gallery(tmp_path / "g", folder, tiny_encoder, some, quiet)
    assert (tmp_path / "g" / "building.json").exists()
    save(folder / "39.jpg")
    more = coco(tmp_path / "c.json", names(count), [(0, BOX), (39, BOX)])
    gallery = build_gallery(
        tmp_path / "g", folder, tiny_encoder, parse_regions(f"coco:{more}"), quiet
    )
    rows = gallery.rows_of(["0.jpg", "1.jpg", "39.jpg"])
    assert np.diff(gallery.patch_ends, prepend=0)[rows].tolist() == [2, 1, 2]


def test_an_interrupted_append_goes_on_with_more_boxes(tmp_path, three, tiny_encoder, quiet):
    folder, more = photos(tmp_path, 40, 3), replace(quiet, append=True)
    (folder / "39.jpg").write_bytes(b"broken")
    known = [(0, BOX), (1, BOX)]
    first = parse_regions(f"coco:{coco(tmp_path / 'c.json', names(40), [*known, (3, BOX)])}")
    with pytest.raises(Exception, match=r"39\.jpg"):
        build_gallery(three, folder, tiny_encoder, first, more)
    assert len(Gallery(three)) == 3, "what was complete stays readable"
    assert json.loads((three / "building.json").read_text())["images"] > 3
    save(folder / "39.jpg")
    grown = [*known, (3, BOX), (39, BOX)]
    second = parse_regions(f"coco:{coco(tmp_path / 'c.json', names(40), grown)}")
    gallery = build_gallery(three, folder, tiny_encoder, second, quiet)
    whole = build_gallery(tmp_path / "w", folder, tiny_encoder, second, quiet)
    rows = gallery.rows_of(whole.ids)
    counts = np.diff(gallery.patch_ends, prepend=0)[rows]
    assert np.array_equal(counts, np.diff(whole.patch_ends, prepend=0))
    assert verify(gallery) == []


def test_pictures_without_boxes_are_skipped_if_asked(tmp_path, tiny_encoder, quiet):
    folder = photos(tmp_path, 3)
    regions = parse_regions(f"coco:{coco(tmp_path / 'c.json', names(2), [(0, BOX)])}")
    with pytest.raises(RegionError, match=r"2\.jpg"):
        build_gallery(tmp_path / "h", folder, tiny_encoder, regions, quiet)
    skip = replace(quiet, on_error="skip")
    gallery = build_gallery(tmp_path / "g", folder, tiny_encoder, regions, skip)
    assert list(gallery.ids) == ["0.jpg", "1.jpg"]
    assert [name for name, _ in gallery.manifest.skipped] == ["2.jpg"]
    assert "no boxes" in gallery.manifest.skipped[0][1]
    every = parse_regions(f"coco:{coco(tmp_path / 'c.json', names(3), [(0, BOX), (2, BOX)])}")
    whole = build_gallery(tmp_path / "g", folder, tiny_encoder, every, replace(skip, append=True))
    assert len(whole) == 3
    assert whole.manifest.skipped == ()


def test_a_gallery_in_which_nothing_could_be_read_is_none(tmp_path, tiny_encoder, quiet):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(b"broken")
    skip = replace(quiet, on_error="skip")
    for _ in range(2):
        with pytest.raises(GalleryError, match=r"none of 2 images.*'a\.png'"):
            build_gallery(tmp_path / "g", folder, tiny_encoder, None, skip)
    with pytest.raises(GalleryError, match="half-written"):
        Gallery(tmp_path / "g")
    save(folder / "a.png")
    assert list(build_gallery(tmp_path / "g", folder, tiny_encoder, None, skip).ids) == ["a.png"]
