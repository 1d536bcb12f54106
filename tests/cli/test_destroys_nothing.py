"""No command destroys what it did not make: every place that a user can point to."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from command_line import run
from patchrerank.errors import GalleryError
from patchrerank.gallery import BuildOptions, build_gallery
from patchrerank.regions import GridPyramid
from patchrerank.tuning import save_table
from signal_tables import signal_table
from small_datasets import write_dataset

FOREIGN = {
    "text": b"my notes, one line",
    "JSON": b'{"name": "not yours", "stages": 3}\n',
    "HTML": b"<!DOCTYPE html>\n<title>My page</title>\n",
    "JPEG": b"\xff\xd8\xff\xe0" + bytes(range(256)),
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Two objects, each with a query and a picture, and one distractor."""
    root = tmp_path_factory.mktemp("small")
    rng = np.random.default_rng(0)
    entries = []
    for number in range(5):
        noise = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        entry = {"id": f"p{number}", "picture": Image.fromarray(noise).resize((48, 48))}
        instance = number % 2 if number < 4 else None
        entries.append({**entry, "instance": instance, "box": [0.1, 0.1, 0.8, 0.8]})
    return write_dataset(root, entries[:2], entries[2:])


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables") / "t"
    save_table(signal_table(queries=16), folder)
    return folder


@pytest.fixture(scope="module")
def gallery(tmp_path_factory, photo_folder, tiny_encoder):
    folder = tmp_path_factory.mktemp("galleries") / "g"
    options = BuildOptions(progress=False)
    return build_gallery(folder, photo_folder, tiny_encoder, GridPyramid(0), options).folder


SMALL = "--encoder timm:test_resnet --random-weights --image-size 64"
FILES = {
    "tune --storage": "tune --table TABLE --storage FILE --quiet",
    "tune --out": "tune --table TABLE --out FILE --quiet",
    "tune --record": "tune --table TABLE --record FILE --quiet",
    "tune --report": "tune --table TABLE --report FILE --quiet",
    "reproduce --out": "reproduce table7 --out FILE",
    "reproduce --figure": "reproduce figS1 --dataset DATASET --figure FILE",
    "report --out": "report DATASET --out FILE --quiet",
    "train --out": "train ames DATASET --out FILE --quiet --cache CACHE --local-image-size 64 "
    "--encoder timm:test_resnet --random-weights",
    "index GALLERY": f"index PHOTOS FILE --quiet {SMALL}",
    "compress OUT": "compress GALLERY FILE --quiet",
    "convert OUT": "convert DATASET FILE",
    "composite OUT": "composite PHOTOS PHOTOS FILE --quiet",
    "demo OUT": "demo FILE --quiet",
    "evaluate --cache": f"evaluate DATASET --cache FILE --quiet {SMALL}",
    "compare --cache": f"compare DATASET --cache FILE --quiet {SMALL}",
    "exhaustive --cache": f"exhaustive DATASET --cache FILE --quiet {SMALL} --index Flat",
}
LOOKING = ("tune", "reproduce", "report")
"""Commands that look into the file, and are quick to say what they saw."""
PAIRS = [(p, k) for p in FILES for k in FOREIGN if k == "text" or p.startswith(LOOKING)]


@pytest.fixture
def words(request, tmp_path, dataset, table, photo_folder):
    def made(text, file):
        gallery = request.getfixturevalue("gallery") if "GALLERY" in text else ""
        places = {
            "FILE": file,
            "TABLE": table,
            "DATASET": dataset,
            "PHOTOS": photo_folder,
            "GALLERY": gallery,
            "CACHE": tmp_path / "cache",
        }
        return [places.get(word, word) for word in text.split()]

    return made


@pytest.mark.parametrize(("place", "kind"), PAIRS)
def test_a_file_of_others_is_refused_byte_for_byte(tmp_path, words, place, kind):
    text, content, file = FILES[place], FOREIGN[kind], tmp_path / "mine"
    file.write_bytes(content)
    done = run(*words(text, file), code=2)
    assert file.read_bytes() == content
    assert str(file) in done.stderr and len(done.stderr) < 500
    assert done.stderr.count("\n") == 1 and "Errno" not in done.stderr
    assert [name for name in os.listdir(tmp_path) if name != "cache"] == ["mine"]


FOLDERS = {
    "compress OUT": "compress GALLERY FILE --quiet",
    "convert OUT": "convert DATASET FILE",
    "composite OUT": "composite PHOTOS PHOTOS FILE --quiet",
    "composite OUT --cut-from": "composite PHOTOS FILE --cut-from PHOTOS --quiet",
}
NAMES = ["notes.txt", "model.bin", "manifest.json", "index.json", "building.jsonl", "whitening.npz"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", FOLDERS.values(), ids=FOLDERS)
def test_a_folder_with_files_of_others_is_refused_and_stays(tmp_path, words, text, name):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / name).write_bytes(FOREIGN["JSON"])
    done = run(*words(text, folder), code=2)
    assert os.listdir(folder) == [name]
    assert (folder / name).read_bytes() == FOREIGN["JSON"]
    assert str(folder) in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_no_gallery_is_begun_among_files_of_others(tmp_path, photo_folder, tiny_encoder, name):
    (tmp_path / name).write_bytes(FOREIGN["JSON"])
    options = BuildOptions(progress=False)
    with pytest.raises(GalleryError, match=name):
        build_gallery(tmp_path, photo_folder, tiny_encoder, GridPyramid(0), options)
    assert os.listdir(tmp_path) == [name]


def test_array_files_of_others_beside_a_lock_are_not_cleared_away(tmp_path, words):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("build.lock", "model.bin"):
        (folder / name).write_bytes(b"x")
    run(*words("compress GALLERY FILE --quiet", folder), code=2)
    assert sorted(os.listdir(folder)) == ["build.lock", "model.bin"]


def test_photographs_of_others_in_the_demo_stay(tmp_path):
    pytest.importorskip("skimage")
    mine = tmp_path / "photos" / "objects" / "astronaut.png"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"my own astronaut")
    assert "astronaut.png" in run("demo", tmp_path, "--quiet", code=2).stderr
    assert mine.read_bytes() == b"my own astronaut"


def test_our_own_output_is_replaced(tmp_path, table):
    record, page, out, figure = (tmp_path / name for name in ("r.json", "p.html", "o.json", "f"))
    for _ in range(2):
        options = ["--record", record, "--report", page, "--trials", 3, "--stages", "a", "--quiet"]
        run("tune", "--table", table, "--folds", 0, *options)
        run("reproduce", "table7", "--out", out, "--figure", figure)
    assert {p.name for p in tmp_path.iterdir()} == {"r.json", "p.html", "o.json", "f"}
    for made, other in ((record, "--report"), (page, "--record")):
        before = made.read_bytes()
        run("tune", "--table", table, other, made, code=2)
        assert made.read_bytes() == before
