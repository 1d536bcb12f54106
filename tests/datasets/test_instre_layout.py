"""INSTRE's folder: the format of its boxes is seen in them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.io import savemat

from patchrerank.datasets import load_dataset
from patchrerank.datasets._pixel_boxes import PixelBox, settle_format
from patchrerank.errors import DatasetError, SettingError


@pytest.fixture
def tree(tmp_path, miniatures):
    return miniatures.instre(tmp_path / "instre")


def relative(box):
    return np.array(box, dtype=np.float64) / [80, 60, 80, 60]


def test_a_folder_is_read(tree, miniatures):
    data = load_dataset(tree)
    assert [query.id for query in data.queries] == list(miniatures.INSTRE_QUERIES)
    assert [image.id for image in data.images] == list(miniatures.INSTRE_IMAGES)
    assert (data.convention, data.query_crop) == ("full", "box")
    assert [rows.tolist() for rows in data.positives] == [[0, 1, 4], [2, 4], [3], [4]], "0-based"
    assert not any(len(rows) for rows in data.junk)
    for query, (box, _) in zip(data.queries, miniatures.INSTRE_QUERIES.values(), strict=True):
        assert np.allclose(query.box, relative(box), atol=1e-6)
    for image, boxes in zip(data.images, miniatures.INSTRE_IMAGES.values(), strict=True):
        assert np.allclose(image.boxes, relative(boxes), atol=1e-6)
    assert data.images[0].instance == "INSTRE-S1/01a_book"
    assert data.images[0].area == pytest.approx(30 * 20 / 4800)
    assert data.args["layout"] == "instre"
    assert data.args["query_boxes"].startswith("xyxy: of 4 query boxes 0 are impossible as xyxy, 2")
    assert data.args["image_boxes"].startswith("xywh: of 6 image boxes")


def test_a_pair_is_judged_by_the_box_of_the_object_asked_for(tree):
    data = load_dataset(tree)
    pair, boxes = data.images[4], relative([(2, 2, 22, 32), (50, 30, 80, 60)])
    assert pair.box_instances == ("INSTRE-S1/01a_book", "INSTRE-S1/01b_bear")
    assert np.allclose(pair.boxes_of(data.queries[0].instance), boxes[:1], atol=1e-6)
    assert np.allclose(pair.boxes_of(data.queries[1].instance), boxes[1:], atol=1e-6)
    assert np.allclose(pair.boxes_of(data.queries[3].instance), boxes, atol=1e-6)
    assert data.images[0].box_instances is None


@pytest.mark.parametrize("pictures", [".", "images", "INSTRE_release"])
@pytest.mark.parametrize("mat", ["xyxy", "xywh"])
@pytest.mark.parametrize("txt", ["xyxy", "xywh"])
def test_every_mixture_of_formats_is_settled_from_the_data(
    tmp_path, miniatures, mat, txt, pictures
):
    written = {"xyxy": tuple, "xywh": miniatures.as_xywh}
    data = load_dataset(
        miniatures.instre(tmp_path / "instre", written[mat], written[txt], pictures)
    )
    assert data.args["query_boxes"].startswith(f"{mat}: ")
    assert data.args["image_boxes"].startswith(f"{txt}: ")
    assert np.allclose(data.queries[0].box, relative((42, 28, 74, 52)), atol=1e-6)
    assert np.allclose(data.images[3].boxes, relative([(50, 20, 79, 58)]), atol=1e-6)


def test_boxes_that_settle_nothing_need_the_option(tmp_path, miniatures):
    tree = miniatures.instre(tmp_path / "instre", mat=lambda box: (5, 5, 30, 30))
    with pytest.raises(DatasetError, match=r"gnd\[1\]: of 4 query boxes 0 .*query_boxes=xyxy or"):
        load_dataset(tree)
    first = load_dataset(tree, query_boxes="xyxy")
    assert np.allclose(first.queries[0].box, relative((5, 5, 30, 30)), atol=1e-6)
    assert first.args["query_boxes"].startswith("xyxy: said by query_boxes; of 4")
    second = load_dataset(f"{tree}:query_boxes=xywh")
    assert np.allclose(second.queries[0].box, relative((5, 5, 35, 35)), atol=1e-6)
    with pytest.raises(SettingError, match=r"query_boxes is 'xyhw'; did you mean xywh"):
        load_dataset(tree, query_boxes="xyhw")


def boxes_of(values, size=(100, 100)):
    return [PixelBox(np.array([box], dtype=np.float64), size, "here") for box in values]


def test_a_slip_of_the_pen_does_not_overturn_the_rest():
    rng = np.random.default_rng(0)
    low = rng.integers(0, 60, (400, 2))
    corners = np.concatenate([low, low + rng.integers(10, 40, (400, 2))], axis=1)
    corners[0] = 90, 90, 140, 99
    assert settle_format(boxes_of(corners), "auto", "o", "b")[0] == "xyxy"
    sizes = corners.copy()
    sizes[:, 2:] -= sizes[:, :2]
    assert settle_format(boxes_of(sizes), "auto", "o", "b")[0] == "xywh"
    mixed = np.concatenate([corners[:200], sizes[200:]])
    with pytest.raises(DatasetError, match="do not settle"):
        settle_format(boxes_of(mixed), "auto", "o", "b")
    plain = np.tile([1, 1, 30, 30], (400, 1))
    plain[0] = 90, 90, 95, 95  # one box of 400 is no evidence
    with pytest.raises(DatasetError, match="do not settle"):
        settle_format(boxes_of(plain), "auto", "o", "b")
    assert settle_format([], "auto", "o", "b") == ("xywh", "there are no b")


def test_missing_and_damaged_files_are_named(tree):
    path = tree / "INSTRE-S1/01b_bear/001.txt"
    path.write_text("1 2 three 4\n")
    with pytest.raises(DatasetError, match=r"01b_bear/001.txt: box 0 is '1 2 three 4'"):
        load_dataset(tree)
    path.unlink()
    with pytest.raises(DatasetError, match=r"01b_bear/001.txt: no such file; .*boxes of 001.jpg"):
        load_dataset(tree)
    (tree / "INSTRE-S2/01_tower/001.jpg").unlink()
    with pytest.raises(DatasetError, match=r"gnd_instre.mat: 1 of its pictures are missing \(INST"):
        load_dataset(tree)
    whole = (tree / "gnd_instre.mat").read_bytes()
    (tree / "gnd_instre.mat").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        DatasetError, match=r"gnd_instre.mat: not a MATLAB file .* should hold qiml"
    ):
        load_dataset(tree)
    (tree / "gnd_instre.mat").unlink()
    with pytest.raises(DatasetError, match=r"gnd_instre.mat: no such file; it should hold qimlist"):
        load_dataset(tree, layout="instre")


@pytest.mark.parametrize(
    ("images", "truths", "message"),
    [
        (["a/1.jpg"], [([2], (0, 0, 1, 1))], r"gnd\[1\]: positives must be whole numbers from 1 "),
        (["a/1.jpg"], [([0], (0, 0, 1, 1))], r"from 1 to 1, counted as in MATLAB; found 0 to 0"),
        (["a/1.jpg"], [([1], (0, 0, 1))], r"gnd\[1\]: the box is \[0.0, 0.0, 1.0\]; expected fo"),
        (["a/1.jpg"], [], r"1 names in qimlist, but gnd has 0"),
        (["../1.jpg"], [([1], (0, 0, 1, 1))], r"'../1.jpg' points outside the data set's folder"),
        (["a/1.jpg", "a/1.jpg"], [([1], (0, 0, 1, 1))], r"imlist: 'a/1.jpg' stands there twice"),
    ],
)
def test_impossible_truths(tmp_path, miniatures, images, truths, message):
    miniatures.instre_mat(tmp_path / "gnd_instre.mat", ["q/1.jpg"], images, truths)
    with pytest.raises(DatasetError, match=message):
        load_dataset(tmp_path)


def test_fields_may_have_other_names_but_the_lists_may_not(tmp_path, miniatures, tree):
    path = tree / "gnd_instre.mat"
    known = miniatures.INSTRE_QUERIES
    truths = [(rows, box) for box, rows in known.values()]
    miniatures.instre_mat(path, list(known), list(miniatures.INSTRE_IMAGES), truths, ("p", "b"))
    assert load_dataset(tree).positives[0].tolist() == [0, 1, 4]
    savemat(path, {"imlst": 1, "qimlist": 2})
    with pytest.raises(DatasetError, match=r"no 'imlist', only .*; did you mean"):
        load_dataset(tree)
    savemat(path, {"imlist": np.zeros(2), "qimlist": np.zeros(2), "gnd": np.zeros(2)})
    with pytest.raises(DatasetError, match=r"qimlist\{1\} is no name of a picture"):
        load_dataset(tree)
