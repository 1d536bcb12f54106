"""A detector's boxes in the COCO layout."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from patchrerank.errors import RegionError
from patchrerank.regions import FixedBoxes, parse_regions

CONTENT = {
    "images": [
        {"id": 1, "file_name": "a.jpg", "width": 200, "height": 100},
        {"id": 2, "file_name": "sub/b.jpg", "width": 50, "height": 80},
    ],
    "annotations": [
        {"id": 1, "image_id": 1, "bbox": [20, 10, 100, 50], "score": 0.3},
        {"id": 2, "image_id": 1, "bbox": [-5, 0, 25, 200], "score": 0.9},
    ],
}


def write(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_boxes_become_relative_best_first(tmp_path):
    file = write(tmp_path / "coco.json", CONTENT)
    regions = FixedBoxes.from_coco(file)
    expected = [[0, 0, 1, 1], [0, 0, 0.1, 1], [0.1, 0.1, 0.6, 0.6]]
    assert np.allclose(regions.boxes("a.jpg", 200, 100), expected)
    assert np.array_equal(regions.boxes("sub/b.jpg", 50, 80), [[0, 0, 1, 1]])
    assert regions.spec == parse_regions(f"coco:{file}").spec
    assert len(FixedBoxes.from_coco(file, top=1).boxes("a.jpg", 1, 1)) == 2
    assert len(FixedBoxes.from_coco(file, whole_image=False).boxes("a.jpg", 1, 1)) == 2
    with pytest.raises(RegionError, match=r"'c\.jpg'"):
        regions.boxes("c.jpg", 9, 9)


def test_results_beside_the_images(tmp_path):
    images = write(tmp_path / "images.json", CONTENT)
    results = [{"image_id": 2, "category_id": 7, "bbox": [5, 8, 10, 16], "score": 0.5}]
    file = write(tmp_path / "results.json", results)
    regions = parse_regions(f"coco:{images}:{file}")
    assert np.allclose(regions.boxes("sub/b.jpg", 50, 80)[1:], [[0.1, 0.1, 0.3, 0.3]])
    assert len(regions.boxes("a.jpg", 200, 100)) == 1


def test_equal_scores_keep_the_order_of_the_file(tmp_path):
    content = copy.deepcopy(CONTENT)
    for entry in content["annotations"]:
        del entry["score"]
    boxes = FixedBoxes.from_coco(write(tmp_path / "c.json", content)).boxes("a.jpg", 1, 1)
    assert np.allclose(boxes[1], [0.1, 0.1, 0.6, 0.6])


def change(path, value):
    content = copy.deepcopy(CONTENT)
    at = content
    for key in path[:-1]:
        at = at[key]
    if value is None:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return content


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (CONTENT["annotations"], "names its images"),
        ({"images": []} | {"annotations": {}}, "list of objects"),
        (change(["images", 1, "file_name"], None), r"images\[1\].*file_name"),
        (change(["images", 1, "width"], 0), r"images\[1\] is 0"),
        (change(["images", 1, "id"], 1), "twice"),
        (change(["images", 1, "file_name"], "a.jpg"), "twice"),
        (change(["annotations", 1, "image_id"], 9), r"annotations\[1\]: no image has the id 9"),
        (change(["annotations", 0, "bbox"], [1, 2, 3]), r"annotations\[0\]: expected"),
        (change(["annotations", 0, "bbox"], [1, 2, 0, 5]), r"annotations\[0\]: bbox.*'a\.jpg'"),
        (change(["annotations", 0, "bbox"], [300, 2, 5, 5]), "covers nothing"),
        (change(["annotations", 0, "score"], float("nan")), "covers nothing"),
        (change(["annotations", 0], "x"), r"annotations\[0\]: expected"),
    ],
)
def test_malformed_files_say_where(tmp_path, content, what):
    with pytest.raises(RegionError, match=what):
        FixedBoxes.from_coco(write(tmp_path / "c.json", content))


def test_unreadable_files(tmp_path):
    with pytest.raises(RegionError, match="nowhere"):
        parse_regions("coco:/nowhere.json")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(RegionError, match=r"x\.json"):
        FixedBoxes.from_coco(tmp_path / "x.json")
    with pytest.raises(RegionError, match="top"):
        FixedBoxes.from_coco(write(tmp_path / "c.json", CONTENT), top=0)
    with pytest.raises(RegionError, match=r"grid:3.*--one-pass 448"):
        parse_regions("grid:3 one-pass:448")


def joined(tmp_path, results, images=None, **how):
    content = copy.deepcopy(CONTENT)
    content["images"] = images or content["images"]
    file = write(tmp_path / "images.json", content)
    found = FixedBoxes.from_coco(
        file, write(tmp_path / "results.json", results), whole_image=False, **how
    )
    return {name: len(found.boxes(name, 1, 1)) for name in found.ids}


def test_results_of_ultralytics_join_by_file_name(tmp_path):
    box = {"bbox": [1, 2, 30, 40], "score": 0.5, "category_id": 1}
    assert joined(tmp_path, [{"image_id": "a", "file_name": "a.jpg", **box}])["a.jpg"] == 1
    assert joined(tmp_path, [{"image_id": "b", "file_name": "b.jpg", **box}])["sub/b.jpg"] == 1
    numbered = [
        {"id": 1, "file_name": "2.jpg", "width": 90, "height": 90},
        {"id": 2, "file_name": "1.jpg", "width": 90, "height": 90},
    ]
    found = joined(tmp_path, [{"image_id": 2, "file_name": "2.jpg", **box}], numbered)
    assert found == {"2.jpg": 1, "1.jpg": 0}, "the name counts, its stem is no id"
    assert joined(tmp_path, [{"image_id": "a", **box}])["a.jpg"] == 1, "before it wrote names"
    with pytest.raises(
        RegionError, match=r"results\.json\[0\]: no image has the file name 'c\.jpg'"
    ):
        joined(tmp_path, [{"image_id": 1, "file_name": "c.jpg", **box}])


def test_names_without_folders_that_several_images_have(tmp_path):
    images = [
        {"id": number, "file_name": f"{folder}/x.jpg", "width": 90, "height": 90}
        for number, folder in enumerate("ab")
    ]
    result = {"image_id": 1, "file_name": "x.jpg", "bbox": [1, 2, 3, 4]}
    assert joined(tmp_path, [result], images) == {"a/x.jpg": 0, "b/x.jpg": 1}
    with pytest.raises(RegionError, match="2 images have the file name"):
        joined(tmp_path, [result | {"image_id": "x"}], images)


def test_whole_numbers_are_ids_however_they_are_written(tmp_path):
    assert joined(tmp_path, [{"image_id": 1.0, "bbox": [1, 2, 3, 4]}])["a.jpg"] == 1
    with pytest.raises(RegionError, match='id "1"'):
        joined(tmp_path, [{"image_id": "1", "bbox": [1, 2, 3, 4]}])


def test_a_detector_that_found_nothing(tmp_path):
    assert joined(tmp_path, []) == {"a.jpg": 0, "sub/b.jpg": 0}


def test_boxes_that_cover_nothing_can_be_left_out(tmp_path, caplog):
    content = copy.deepcopy(CONTENT)
    content["annotations"] += [
        {"image_id": 1, "bbox": [5, 5, 10, 0]},
        {"image_id": 9, "bbox": [5, 5, 10, 10]},
        {"image_id": 2},
        {"image_id": 2, "bbox": [5, 5, 1e400, "x"]},
    ]
    file = write(tmp_path / "c.json", content)
    with pytest.raises(RegionError, match="--on-error skip"):
        parse_regions(f"coco:{file}")
    regions = parse_regions(f"coco:{file}", on_error="skip")
    assert len(regions.boxes("a.jpg", 1, 1)) == 3
    assert len(regions.left_out) == 4
    assert "annotations[2]" in regions.left_out[0]
    assert "boxes left out: 4; the first" in caplog.text
    kept = write(tmp_path / "b.json", {"a": [[0, 0, 1, 0], [0, 0, 0.5, 1]], "b": "x", "c": []})
    relative = parse_regions(f"boxes:{kept}", on_error="skip")
    assert [len(relative.boxes(name, 1, 1)) for name in "abc"] == [2, 1, 1]
    assert len(relative.left_out) == 2
    with pytest.raises(RegionError, match=r"'a'.*box 0"):
        parse_regions(f"boxes:{kept}")


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"images": [{"id": 1, "file_name": "a", "width": 1e400, "height": 1}]}'],
)
def test_hostile_files_end_in_a_sentence(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    for name in ("coco", "boxes"):
        with pytest.raises(RegionError):
            parse_regions(f"{name}:{tmp_path / 'x.json'}")


def test_a_byte_order_mark_is_no_damage(tmp_path):
    file = tmp_path / "c.json"
    file.write_text("\ufeff" + json.dumps(CONTENT), encoding="utf-8")
    assert len(parse_regions(f"coco:{file}").ids) == 2
