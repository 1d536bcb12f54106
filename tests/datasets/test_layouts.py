"""Recognising layouts, and writing one from another."""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from patchrerank.datasets import convert_dataset, load_dataset, read_ilias_ids, write_index
from patchrerank.datasets.convert import ConvertOptions
from patchrerank.datasets.layouts import recognise, split_options
from patchrerank.errors import DatasetError, SettingError
from small_datasets import write_dataset

LAYOUTS = ("ilias", "instre", "revisited")


@pytest.fixture(scope="module")
def trees(tmp_path_factory, miniatures):
    root = tmp_path_factory.mktemp("layouts")
    return {name: getattr(miniatures, name)(root / name) for name in LAYOUTS}


def same(one, other):
    """Check that two data sets say the same, wherever their pictures are."""
    assert (one.convention, one.query_crop, one.args) == (
        other.convention,
        other.query_crop,
        other.args,
    )
    for a, b in zip(one.queries, other.queries, strict=True):
        assert (a.id, a.instance, a.positives, a.junk) == (b.id, b.instance, b.positives, b.junk)
        assert a.box is b.box is None or np.array_equal(a.box, b.box)
        assert a.file.read_bytes() == b.file.read_bytes()
    for a, b in zip(one.images, other.images, strict=True):
        assert (a.id, a.instance, a.area, a.clutter) == (b.id, b.instance, b.area, b.clutter)
        assert a.box_instances == b.box_instances
        assert np.array_equal(a.boxes, b.boxes)
        assert a.file.read_bytes() == b.file.read_bytes()
    for a, b in zip((*one.positives, *one.junk), (*other.positives, *other.junk), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_recognised_and_survives_our_format(trees, tmp_path, layout):
    assert recognise(trees[layout]) == layout
    data = load_dataset(trees[layout])
    ours = convert_dataset(data, tmp_path / "ours")
    assert recognise(ours.root) == "folder"
    same(data, ours)
    assert ours.name == data.name
    again = convert_dataset(ours, tmp_path / "again", options=ConvertOptions("copy"))
    same(data, again)
    assert (ours.root / "index.json").read_bytes() == (again.root / "index.json").read_bytes()


def test_every_setup_survives_our_format(trees, tmp_path):
    for setup in ("easy", "medium", "hard"):
        data = load_dataset(trees["revisited"], setup=setup)
        same(data, convert_dataset(data, tmp_path / setup))


@pytest.mark.parametrize("pictures", ["symlink", "hardlink", "copy"])
def test_pictures_are_linked_or_copied(trees, tmp_path, pictures):
    data = load_dataset(trees["revisited"])
    target = convert_dataset(data, tmp_path / "t", options=ConvertOptions(pictures))
    file = target.images[0].file
    assert file == tmp_path / "t/jpg/oxford_000000.jpg"
    assert file.is_symlink() == (pictures == "symlink")
    assert os.path.samefile(file, data.images[0].file) == (pictures != "copy")


def test_pictures_from_elsewhere_get_a_place(tmp_path, trees):
    data = load_dataset(trees["revisited"])
    moved = replace(data, root=tmp_path)
    assert (
        convert_dataset(moved, tmp_path / "t").images[0].file == tmp_path / "t/pictures/000003.jpg"
    )


def test_ilias_goes_round_unchanged(trees, tmp_path):
    source = trees["ilias"]
    ours = convert_dataset(load_dataset(source), tmp_path / "ours")
    back = convert_dataset(ours, tmp_path / "back", "ilias")
    same(ours, back)
    one, other = read_ilias_ids(source), read_ilias_ids(back.root)
    assert one == other
    for name in one.queries:
        relative = Path("ilias_core", name).with_suffix("")
        there = (source / relative).with_name(f"{relative.name}_bbox.txt")
        if there.is_file() and there.read_text().count("\n") == 1:  # several become one
            assert there.read_text() == (back.root / there.relative_to(source)).read_text()
    assert (back.root / "ilias_core/bold_bimp_000/query/T000.txt").read_text() == "a small bimp\n"
    with gzip.open(back.root / "image_ids/distractor_ids.txt.gz", "rt") as file:
        assert file.read().split() == ["000/11", "000/12", "000/13", "001/21", "001/22"]


@pytest.fixture
def small(tmp_path, miniatures):
    """A data set in our own format, of numbers for objects and other people's ids."""
    root = tmp_path / "small"
    for seed, name in enumerate(("q.png", "a.png", "b.png", "c.png")):
        miniatures.picture(root / name, seed)
    return write_dataset(
        root,
        [{"id": "q", "instance": 0, "box": [0.1, 0.1, 0.9, 0.9]}],
        [
            {"id": "a", "instance": 0, "box": [0.25, 0.5, 0.5, 0.75]},
            {"id": "b", "instance": 0, "box": [0, 0, 1, 1], "visible": 0.5},
            {"id": "c", "instance": None, "box": None},
        ],
        args={"seed": 3},
    )


def test_our_own_sets_become_ilias(small, tmp_path):
    data = load_dataset(small)
    with pytest.raises(DatasetError, match=r"image 'a' has no clutter, .* pass clutter=0"):
        convert_dataset(data, tmp_path / "ilias", "ilias")
    assert not (tmp_path / "ilias").exists()
    other = convert_dataset(data, tmp_path / "ilias", "ilias", ConvertOptions(clutter=0))
    assert [query.id for query in other.queries] == ["0_000/query/Q000_00.png"]
    names = ["0_000/pos/P000_00.png", "0_000/pos/P000_01.png", "000000/00000002"]
    assert [image.id for image in other.images] == names
    core = tmp_path / "ilias/ilias_core/0_000"
    assert (core / "pos/P000_00_bbox.txt").read_text() == "20 30 20 15\n"
    assert (core / "query/Q000_00_bbox.txt").read_text() == "8 6 64 48\n"
    assert (core / "query/T000.txt").read_text() == "0\n"
    assert np.allclose(other.images[0].boxes, [[0.25, 0.5, 0.5, 0.75]])
    assert other.images[0].area == data.images[0].area
    assert other.convention == "ilias@1000"
    kept = json.loads((tmp_path / "ilias/misc/converted.json").read_text())
    assert kept["args"] == {"seed": 3}
    assert kept["images"]["0_000/pos/P000_01.png"] == {"id": "b", "visible": 0.5}


def test_what_ilias_has_no_place_for_is_an_error(trees, small, tmp_path):
    for layout, what in (("revisited", "junk|positives"), ("instre", "different obj|positives")):
        with pytest.raises(DatasetError, match=rf"({what}).*; ILIAS' layout has no place for that"):
            convert_dataset(
                load_dataset(trees[layout]), tmp_path / "x", "ilias", ConvertOptions(clutter=0)
            )
    data, options = load_dataset(small), ConvertOptions(clutter=0)
    junk = [replace(data.queries[0], junk=("c",))]
    with pytest.raises(DatasetError, match="query 'q': junk; ILIAS"):
        convert_dataset(replace(data, queries=tuple(junk)), tmp_path / "x", "ilias", options)
    bare = [replace(data.queries[0], box=None)]
    with pytest.raises(DatasetError, match="query 'q': a query without a box"):
        convert_dataset(replace(data, queries=tuple(bare)), tmp_path / "x", "ilias", options)
    bare = [replace(data.images[0], boxes=np.zeros((0, 4), np.float32)), *data.images[1:]]
    with pytest.raises(DatasetError, match="image 'a': a positive without a box"):
        convert_dataset(replace(data, images=tuple(bare)), tmp_path / "x", "ilias", options)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", ["../../out.txt", "bold_bimp_000/../../../out.txt", "/out.txt"])
def test_nothing_is_written_outside_the_folder(trees, tmp_path, name):
    ours = convert_dataset(load_dataset(trees["ilias"]), tmp_path / "ours")
    sly = replace(ours, args={"text_queries": {name: "text"}})
    back = convert_dataset(sly, tmp_path / "deep/back", "ilias")
    assert len(read_ilias_ids(back.root).text_queries) == 3
    assert not list(tmp_path.rglob("out.txt"))


def test_bad_targets_and_choices(trees, tmp_path):
    data = load_dataset(trees["revisited"])
    (tmp_path / "full").mkdir()
    (tmp_path / "full/a").touch()
    with pytest.raises(DatasetError, match=r"full is not empty; choose another folder"):
        convert_dataset(data, tmp_path / "full")
    with pytest.raises(SettingError, match=r"layout 'instre' cannot be written.*folder, ilias"):
        convert_dataset(data, tmp_path / "x", "instre")
    with pytest.raises(SettingError, match=r"pictures is 'link'; did you mean"):
        ConvertOptions("link")
    with pytest.raises(SettingError, match="clutter must be at least 0"):
        ConvertOptions(clutter=-1)
    with pytest.raises(SettingError, match=r"layout 'ilas' is unknown; did you mean ilias"):
        load_dataset(trees["ilias"], "ilas")
    with pytest.raises(DatasetError, match=r"nowhere is not a folder; .* with gnd_instre.mat"):
        load_dataset(tmp_path / "nowhere", "instre")
    with pytest.raises(DatasetError, match=r"gnd_instre.mat \(instre\); gnd_\*.pkl \(revisited\)"):
        load_dataset(tmp_path / "full")


def test_options_behind_a_path(tmp_path):
    path = tmp_path / "set"
    assert split_options(f"{path}:setup=hard,file=x") == (path, {"setup": "hard", "file": "x"})
    assert split_options(path) == (path, {})
    assert split_options(r"C:\set") == (Path(r"C:\set"), {})
    (tmp_path / "set:setup=hard").mkdir()
    assert split_options(f"{path}:setup=hard")[1] == {}, "a folder of that name wins"


def test_lists_and_protocol_in_our_format(small):
    index = json.loads((small / "index.json").read_text())
    index |= {"name": "mine", "convention": "ilias@10", "query_crop": "box"}
    index["queries"][0] |= {"positives": ["b"], "junk": ["a"]}
    index["db"][0] |= {"clutter": 7, "box_instances": [0]}
    (small / "index.json").write_text(json.dumps(index))
    data = load_dataset(small)
    assert (data.name, data.convention, data.query_crop) == ("mine", "ilias@10", "box")
    assert [data.positives[0].tolist(), data.junk[0].tolist()] == [[1], [0]]
    assert (data.images[0].clutter, data.images[0].box_instances) == (7, (0,))
    write_index(
        small, data.queries, data.images, data.args,
        name=data.name, convention=data.convention, query_crop=data.query_crop,
    )  # fmt: skip
    same(data, load_dataset(small))


@pytest.mark.parametrize(
    ("place", "change", "message"),
    [
        (
            (),
            {"convention": "ilais"},
            r"index.json: AP convention 'ilais' is unknown; did you mean",
        ),
        ((), {"convention": 7}, r"index.json: convention must be text"),
        ((), {"query_crop": "boxes"}, r'index.json: query_crop is \'boxes\'; use "none" or "box"'),
        (("queries", 0), {"junk": "a"}, r'queries\[0\] \("q"\): junk must be a list of ids'),
        (("queries", 0), {"positives": [1]}, r"positives must be a list of ids"),
        (
            ("queries", 0),
            {"positives": ["z"]},
            r'query "q": positives names \'z\', which is no pic',
        ),
        (("queries", 0), {"junk": ["a"]}, r"'a' is both a positive and junk; decide for one"),
        (("db", 0), {"clutter": -1}, r'db\[0\] \("a"\): clutter must be a whole number from 0'),
        (("db", 0), {"box_instances": [1, 2]}, r"must name an object for each of 1 boxes"),
    ],
)
def test_bad_lists_in_our_format_are_named(small, place, change, message):
    index = json.loads((small / "index.json").read_text())
    entry = index
    for key in place:
        entry = entry[key]
    entry.update(change)
    (small / "index.json").write_text(json.dumps(index))
    with pytest.raises(DatasetError, match=message):
        load_dataset(small)
