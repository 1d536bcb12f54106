import hashlib
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchrerank.datasets import DatasetImage, DatasetQuery, load_dataset, write_index
from patchrerank.errors import DatasetError

PLAIN = {
    "args": {"seed": 0, "maker": "by hand"},
    "queries": [
        {"id": "q0", "file": "q/0.png", "instance": "cup", "box": [0.1, 0.2, 0.9, 0.8], "x": 1},
        {"id": "q1", "file": "q/1.png", "instance": "hat", "box": None},
        {"id": "q2", "file": "q/2.png", "instance": "cup"},
    ],
    "db": [
        {"id": "p1", "file": "db/a.jpg", "instance": "cup", "box": [0, 0, 0.5, 0.5]},
        {"id": "d0", "file": "db/b.jpg", "instance": None, "box": None, "area": None},
        {
            "id": "p0",
            "file": "db/c.jpg",
            "instance": "cup",
            "boxes": [[0, 0, 0.1, 0.1], [0.5, 0.5, 1, 0.9]],
            "visible": 0.7,
        },
        {"id": "p2", "file": "db/d.jpg", "instance": "pen", "box": [0, 0, 1, 1], "area": 0.4},
    ],
    "unknown": [1, 2],
}


def entries():
    return json.loads(json.dumps(PLAIN))


def write(root, index, pictures=True):
    root.mkdir(exist_ok=True)
    (root / "index.json").write_text(index if isinstance(index, str) else json.dumps(index))
    if pictures:
        for entry in [*PLAIN["queries"], *PLAIN["db"]]:
            (root / entry["file"]).parent.mkdir(exist_ok=True)
            (root / entry["file"]).touch()
    return root


def test_a_folder_is_read(tmp_path):
    root = write(tmp_path / "set", PLAIN)
    data = load_dataset(root)
    assert [query.id for query in data.queries] == ["q0", "q1", "q2"]
    assert data.queries[0].file == root / "q/0.png"
    assert data.queries[0].box.dtype == np.float32
    assert data.queries[0].box.tolist() == np.float32([0.1, 0.2, 0.9, 0.8]).tolist()
    assert data.queries[1].box is None and data.queries[2].box is None
    assert [image.boxes.shape for image in data.images] == [(1, 4), (0, 4), (2, 4), (1, 4)]
    assert [image.instance for image in data.images] == ["cup", None, "cup", "pen"]
    assert data.images[0].area == pytest.approx(0.25)
    assert data.images[1].area is None
    assert data.images[2].area == pytest.approx(0.2), "the largest of several boxes"
    assert data.images[3].area == 0.4, "what the file says goes first"
    assert [image.visible for image in data.images] == [None, None, 0.7, None]
    assert data.args == PLAIN["args"]
    assert data.convention == "full"
    content = (root / "index.json").read_bytes()
    assert data.fingerprint == hashlib.sha256(content).hexdigest()


def test_positives_are_rows_and_may_be_empty(tmp_path):
    data = load_dataset(write(tmp_path / "set", PLAIN))
    assert data.objects == ("cup", "hat")
    assert data.query_objects.tolist() == [0, 1, 0]
    assert [rows.tolist() for rows in data.positives] == [[0, 2], [], [0, 2]]
    assert all(rows.dtype == np.int64 for rows in data.positives)


def test_box_may_hold_a_list_of_boxes_and_a_string_path_is_enough(tmp_path):
    index = entries()
    index["db"][0]["box"] = [[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]]
    index["queries"][0]["box"] = [[0.1, 0.2, 0.9, 0.8]]
    data = load_dataset(str(write(tmp_path / "set", index)))
    assert data.images[0].boxes.shape == (2, 4)
    assert data.queries[0].box.shape == (4,)


def test_a_byte_order_mark_is_no_obstacle(tmp_path):
    root = write(tmp_path / "set", "\ufeff" + json.dumps(PLAIN))
    assert len(load_dataset(root).images) == 4


def test_round_trip(tmp_path):
    first = load_dataset(write(tmp_path / "set", PLAIN))
    before = (tmp_path / "set" / "index.json").read_bytes()
    write_index(first.root, first.queries, first.images, first.args)
    once = (tmp_path / "set" / "index.json").read_bytes()
    second = load_dataset(first.root)
    write_index(second.root, second.queries, second.images, dict(reversed(second.args.items())))
    assert (tmp_path / "set" / "index.json").read_bytes() == once != before
    assert not list(tmp_path.rglob("*.part"))
    for one, other in zip(first.queries, second.queries, strict=True):
        assert (one.id, one.file, one.instance) == (other.id, other.file, other.instance)
        assert np.array_equal(one.box, other.box) or one.box is other.box is None
    for one, other in zip(first.images, second.images, strict=True):
        assert (one.id, one.file, one.instance) == (other.id, other.file, other.instance)
        assert (one.area, one.visible) == (other.area, other.visible)
        assert np.array_equal(one.boxes, other.boxes)
    assert first.args == second.args


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4), st.text(min_size=1), st.data())
def test_any_box_and_id_survive(tmp_path_factory, sides, name, data):
    x0, x1 = sorted(sides[:2])
    y0, y1 = sorted(sides[2:])
    if x0 == x1 or y0 == y1:
        return
    root = tmp_path_factory.mktemp("any")
    (root / "a.png").touch()
    boxes = np.array([[x0, y0, x1, y1]], dtype=np.float32)
    query = DatasetQuery(name, root / "a.png", 3, boxes[0], source=name)
    image = DatasetImage(name, root / "a.png", 3, boxes, visible=data.draw(st.floats(0, 1)))
    write_index(root, [query], [image], {})
    read = load_dataset(root)
    assert read.queries[0].id == read.queries[0].source == read.images[0].id == name
    assert np.array_equal(read.queries[0].box, boxes[0])
    assert np.array_equal(read.images[0].boxes, boxes)
    assert read.images[0].visible == image.visible


@pytest.mark.parametrize(
    ("place", "change", "message"),
    [
        (("db", 0), {"box": [0.1, 0.1, 30, 40]}, r'index.json: db\[0\] \("p1"\).*divide pixel box'),
        (("db", 0), {"box": [0.5, 0.1, 0.4, 0.9]}, r'db\[0\] \("p1"\).*x0 < x1'),
        (("db", 0), {"box": [float("nan"), 0, 1, 1]}, r'db\[0\] \("p1"\).*nan'),
        (("db", 0), {"box": [0.1, 0.1, 0.5]}, r'db\[0\] \("p1"\): box is \[0.1, 0.1, 0.5\].*four'),
        (("db", 0), {"box": "all of it"}, r'db\[0\] \("p1"\): box is "all of it".*four numbers'),
        (("db", 0), {"box": [0, 0, True, "1"]}, r'db\[0\] \("p1"\): box is .*four numbers'),
        (("db", 2), {"boxes": [[0, 0, 1, 1], [0, 0, 1]]}, r'db\[2\] \("p0"\): boxes is'),
        (("db", 2), {"box": [0, 0, 1, 1]}, r'db\[2\] \("p0"\): give "box" or "boxes", not both'),
        (("db", 1), {"area": 3.5}, r'db\[1\] \("d0"\): area must be a number in \[0, 1\].*3.5'),
        (("db", 1), {"visible": "half"}, r'db\[1\] \("d0"\): visible must be a number'),
        (("db", 1), {"id": "p1"}, r'db\[1\] \("p1"\): the id already stands at db\[0\]'),
        (("db", 1), {"id": 7}, r"db\[1\]: id must be text, got 7"),
        (("db", 1), {"id": ""}, r"db\[1\]: id must be text"),
        (("db", 1), {"file": None}, r'db\[1\] \("d0"\): file must be text'),
        (("db", 1), {"file": "../b.jpg"}, r'db\[1\] \("d0"\): file .* points outside the folder'),
        (("db", 1), {"file": "/b.jpg"}, r"points outside the folder"),
        (("db", 1), {"instance": 1.5}, r'db\[1\] \("d0"\): instance must be text, a whole number'),
        (("db", 1), {"instance": True}, r"instance must be text, a whole number or null, got True"),
        (("queries", 0), {"instance": None}, r'queries\[0\] \("q0"\): instance is null'),
        (("queries", 0), {"box": [[0, 0, 1, 1], [0, 0, 0.5, 1]]}, r'"q0"\): a query has one box'),
        (("queries", 1), {"id": "q0"}, r'queries\[1\] \("q0"\): the id already stands at'),
    ],
)
def test_bad_entries_are_named(tmp_path, place, change, message):
    index = entries()
    index[place[0]][place[1]].update(change)
    with pytest.raises(DatasetError, match=message):
        load_dataset(write(tmp_path / "set", index))


@pytest.mark.parametrize("key", ["id", "file", "instance"])
@pytest.mark.parametrize("table", ["queries", "db"])
def test_missing_keys_of_entries(tmp_path, table, key):
    index = entries()
    del index[table][1][key]
    with pytest.raises(DatasetError, match=rf'index.json: {table}\[1\].*the key "{key}" is missin'):
        load_dataset(write(tmp_path / "set", index))


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ('{"queries": [],\n "db": [x]}', r"index.json: line 2, column 9: not valid JSON"),
        ("", r"line 1, column 1: not valid JSON"),
        ("[" * 100_000, r"nested too deeply|not valid JSON"),
        ("[]", r'expected an object with "queries" and "db", got a list'),
        ("null", r"got null"),
        ('{"db": []}', r'the key "queries" is missing; it lists the query pictures'),
        ('{"queries": []}', r'the key "db" is missing; it lists the pictures to search'),
        ('{"queries": {}, "db": []}', r'"queries" must be a list, got an object'),
        ('{"queries": ["q0"], "db": []}', r"queries\[0\]: expected an object, got text"),
        ('{"queries": [], "db": [], "args": 3}', r"args must be an object"),
    ],
)
def test_bad_files(tmp_path, index, message):
    with pytest.raises(DatasetError, match=message):
        load_dataset(write(tmp_path / "set", index))


def test_not_utf8(tmp_path):
    root = write(tmp_path / "set", "{}")
    (root / "index.json").write_bytes(b'{"queries": "\xff"}')
    with pytest.raises(DatasetError, match="byte 13 is not UTF-8"):
        load_dataset(root)


def test_missing_folder_and_index(tmp_path):
    with pytest.raises(DatasetError, match=r"nowhere is not a folder; a data set is a folder with"):
        load_dataset(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match=r"holds no index.json.*patchrerank composite"):
        load_dataset(tmp_path)
    (tmp_path / "index.json").mkdir()
    with pytest.raises(DatasetError, match=r"index.json cannot be read"):
        load_dataset(tmp_path)


def test_missing_pictures_are_counted_and_the_first_named(tmp_path):
    root = write(tmp_path / "set", PLAIN)
    (root / "db/b.jpg").unlink()
    with pytest.raises(DatasetError, match=r"1 of its pictures are missing \(db/b.jpg\); copy"):
        load_dataset(root)
    other = write(tmp_path / "other", PLAIN, pictures=False)
    names = re.escape("(q/0.png, q/1.png, q/2.png, …)")
    with pytest.raises(DatasetError, match=f"7 of its pictures are missing {names}"):
        load_dataset(other)


def test_one_object_under_a_number_and_under_text(tmp_path):
    index = entries()
    index["queries"][0]["instance"] = 7
    index["db"][3]["instance"] = "7"
    with pytest.raises(DatasetError, match=r"\"p2\": instance is '7', but another entry has 7"):
        load_dataset(write(tmp_path / "set", index))


def test_writing_refuses_what_cannot_be_read_back(tmp_path):
    outside = DatasetQuery("q", tmp_path / "a.png", 0)
    (tmp_path / "set").mkdir()
    with pytest.raises(DatasetError, match="lies outside the data set's folder"):
        write_index(tmp_path / "set", [outside], [], {})
    with pytest.raises(DatasetError, match="args cannot be written as JSON"):
        write_index(tmp_path / "set", [], [], {"seed": {1, 2}})
    with pytest.raises(DatasetError, match="args cannot be written as JSON"):
        write_index(tmp_path / "set", [], [], {"seed": float("inf")})
    wrong = DatasetImage("p", tmp_path / "set/a.png", 0, np.zeros((0, 4)), area=float("nan"))
    with pytest.raises(DatasetError, match='image "p" cannot be written as JSON'):
        write_index(tmp_path / "set", [], [wrong], {})
    assert not list((tmp_path / "set").iterdir())
