"""ILIAS' folders: read, understood, refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patchrerank.datasets import load_dataset, read_ilias_ids
from patchrerank.datasets.ilias_features import unescape_id
from patchrerank.datasets.ilias_similarities import read_similarities
from patchrerank.errors import DatasetError, ImageError, SettingError
from patchrerank.metrics import evaluate_ilias

REFERENCE = Path(__file__).parents[1] / "reference" / "ilias_eval"


@pytest.fixture(scope="module")
def tree(tmp_path_factory, miniatures):
    return miniatures.ilias(tmp_path_factory.mktemp("layouts") / "ilias")


@pytest.fixture
def broken(tmp_path, miniatures):
    return miniatures.ilias(tmp_path / "ilias")


def test_a_tree_is_read(tree, miniatures):
    asked = sorted(map(miniatures.escaped, miniatures.ILIAS_QUERIES))
    data = load_dataset(tree)
    assert [query.id for query in data.queries] == asked
    assert (data.name, data.convention, data.query_crop) == ("ilias", "ilias@1000", "box")
    assert data.objects == ("bold_bimp_000", "caf#U00e9_mug_001", "zippy_zoot_002")
    assert [rows.tolist() for rows in data.positives] == [[0, 1], [0, 1], [2], [3, 4]]
    assert [image.id for image in data.images[5:]] == list(miniatures.ILIAS_DISTRACTORS)
    assert all(image.instance is None and not len(image.boxes) for image in data.images[5:])
    first, two = data.images[:2]
    assert np.allclose(first.boxes, [[5 / 80, 10 / 60, 25 / 80, 30 / 60]])
    assert np.allclose(two.boxes[:, 2:], [[70 / 80, 50 / 60], [30 / 80, 30 / 60]])
    assert (two.area, two.clutter) == (0.1875, 40)
    assert np.allclose(data.queries[1].box, [10 / 80, 5 / 60, 70 / 80, 60 / 60]), "both boxes' hull"
    assert data.queries[2].file.parent.parent.name == "café_mug_001", "found under its own name"
    assert data.args["text_queries"]["bold_bimp_000/query/T000.txt"] == "a small bimp"
    assert data.args["boxes"] == "xywh, pixels"
    assert len(data.fingerprint) == 64


def test_distractors_all_none_or_a_list(tree):
    shown = [image.id for image in load_dataset(tree, distractors="none").images]
    assert len(shown) == 5
    mini = load_dataset(f"{tree}:distractors=image_ids/mini_ilias_yfcc100m_ids.txt")
    assert [image.id for image in mini.images[5:]] == ["000/12", "001/22"]
    assert mini.args["distractors"].endswith("mini_ilias_yfcc100m_ids.txt (2)")
    whole = load_dataset(tree, distractors=str(tree / "image_ids/distractor_ids.txt.gz"))
    assert len(whole.images) == 10
    assert mini.fingerprint != whole.fingerprint == load_dataset(tree).fingerprint


def test_shards_may_be_named_as_their_tars(broken):
    (broken / "list.txt").write_text("000.tar/11\n")
    data = load_dataset(broken, distractors="list.txt")
    assert data.images[-1].id == "000.tar/11"
    assert data.images[-1].file == broken / "yfcc100m/000/11.jpg"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("image_ids/image_query_ids.txt", None, r"image_query_ids.txt: no such file; it should ho"),
        ("image_ids/positive_ids.txt", None, r"positive_ids.txt: no such file; it should hold id,"),
        ("image_ids/positive_ids.txt", b"a/pos/P.jpg,0.1\n", r"entry 0 is 'a/pos/P.jpg,0.1'; exp"),
        ("image_ids/positive_ids.txt", b"a/pos/P.jpg,x,1\n", r"expected id,scale,clutter with a s"),
        ("image_ids/positive_ids.txt", b"P.jpg,0.1,1\n", r"'P.jpg' is no id; the part before '/'"),
        ("image_ids/positive_ids.txt", b"a/../P.jpg,0.1,1\n", r"'a/../P.jpg' is no id"),
        ("image_ids/positive_ids.txt", b"\xff", r"positive_ids.txt: byte 0 is not UTF-8; it shou"),
        ("image_ids/image_query_ids.txt", b"a/b\na/b\n", r"'a/b' stands there twice; ids must be"),
        ("image_ids/image_query_ids.txt", b"a/b\n", r"1 of its pictures are missing \(.*ilias_co"),
        ("misc/taxonomy.json", b"{", r"taxonomy.json: .*not valid JSON"),
        ("misc/taxonomy.json", b'{"a": {"b": []}}', r"taxonomy.json: expected category → subcate"),
        (
            "ilias_core/bold_bimp_000/pos/P000_00_bbox.txt",
            None,
            r"P000_00_bbox.txt: no such file; ",
        ),
        ("ilias_core/bold_bimp_000/pos/P000_00_bbox.txt", b"", r"is empty.*boxes of P000_00.jpg"),
        (
            "ilias_core/bold_bimp_000/pos/P000_00_bbox.txt",
            b"1 2 3 4\n1 2 3\n",
            r"P000_00_bbox.txt: box 1 is '1 2 3'; .* four numbers a line \(x y width height\)",
        ),
        ("ilias_core/bold_bimp_000/pos/P000_00_bbox.txt", b"1 2 nan 4", r"box 0 is '1 2 nan 4'"),
        (
            "ilias_core/bold_bimp_000/pos/P000_00_bbox.txt",
            b"90 9 9 9",
            r"nothing in the picture of",
        ),
        ("ilias_core/bold_bimp_000/pos/P000_01.jpg", None, r"positive_ids.txt: 1 of its pictures"),
    ],
)
def test_what_is_missing_or_damaged_is_named(broken, file, content, message):
    if content is None:
        (broken / file).unlink()
    else:
        (broken / file).write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        load_dataset(broken)


def test_damaged_pictures_and_lists(broken):
    with pytest.raises(DatasetError, match=r"none\.txt: no such file; it should hold ids of distr"):
        load_dataset(broken, distractors="none.txt")
    (broken / "list.txt").write_text("000/19\n")
    with pytest.raises(DatasetError, match=r"list.txt: the distractor '000/19' has no picture bel"):
        load_dataset(broken, distractors="list.txt")
    packed = (broken / "image_ids/distractor_ids.txt.gz").read_bytes()
    (broken / "cut.txt.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DatasetError, match=r"cut.txt.gz: cannot be read .* Is it complete\?"):
        load_dataset(broken, distractors="cut.txt.gz")
    with pytest.raises(SettingError, match="no option 'distractor'; did you mean distractors"):
        load_dataset(broken, distractor="none")
    (broken / "ilias_core/bold_bimp_000/pos/P000_01.jpg").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"P000_01.jpg"):
        load_dataset(broken)


def test_a_box_that_leaves_its_picture_is_cut_off_and_told(broken, caplog):
    path = broken / "ilias_core/bold_bimp_000/pos/P000_00_bbox.txt"
    path.write_text("-10 10 200 20\n")
    data = load_dataset(broken)
    assert np.allclose(data.images[0].boxes, [[0, 10 / 60, 1, 30 / 60]])
    assert "1 pictures have boxes that leave them" in caplog.text
    assert "P000_00_bbox.txt" in caplog.text


def test_the_published_lists_give_the_published_numbers():
    ids = read_ilias_ids(REFERENCE / "dataset")
    expected = json.loads((REFERENCE / "expected.json").read_text())
    for k, kinds in expected.items():
        for name in ("similarities.json", "similarities.pkl"):
            given = read_similarities(REFERENCE / name)
            result = evaluate_ilias(
                {query: given[query] for query in kinds["image"]["queries"]},
                ids.by_instance,
                int(k),
                scale=ids.scale,
                clutter=ids.clutter,
                taxonomy=ids.taxonomy,
            )
            assert 100 * result.mean_average_precision == pytest.approx(
                kinds["image"]["map"], abs=1e-9
            )
            assert result.categories.keys() == kinds["image"]["categories"].keys()
            for group, value in kinds["image"]["scale"].items():
                assert 100 * result.scale[group] == pytest.approx(value, abs=1e-9, nan_ok=True)
    assert ids.queries == tuple(sorted(ids.queries))
    assert len(ids.text_queries) > 0


def test_two_pictures_of_one_distractor_are_refused_by_name(broken):
    twice = broken / "yfcc100m/000/11.png"
    Image.new("RGB", (8, 8)).save(twice)
    with pytest.raises(DatasetError, match=r"11.jpg and 11.png are both the distractor '000/11'"):
        load_dataset(broken)
    twice.unlink()
    assert len(load_dataset(broken).images) == 10


def test_objects_are_asked_for_in_words(broken):
    core = broken / "ilias_core"
    for number, name in enumerate(read_ilias_ids(broken).text_queries):
        (core / unescape_id(name)).write_text(f"object number {number}\n", encoding="utf-8")
    data = load_dataset(f"{broken}:queries=text")
    assert [query.text for query in data.queries] == [f"object number {n}" for n in range(3)]
    assert data.query_crop == "none"
    assert data.asks_in_words
    with pytest.raises(DatasetError, match="the queries are words, and training needs"):
        data.check_pictured("training")
    pictured = load_dataset(broken)
    assert not pictured.asks_in_words
    assert set(data.objects) == set(pictured.objects)
    assert data.fingerprint != pictured.fingerprint


def test_a_description_that_is_missing_is_named(broken):
    with pytest.raises(DatasetError, match=r"T001.txt: is missing, empty or no UTF-8"):
        load_dataset(f"{broken}:queries=text")
    (broken / "image_ids/text_query_ids.txt").unlink()
    with pytest.raises(DatasetError, match=r"text_query_ids.txt: is missing or empty"):
        load_dataset(f"{broken}:queries=text")
    with pytest.raises(SettingError, match="use image or text"):
        load_dataset(f"{broken}:queries=sound")
