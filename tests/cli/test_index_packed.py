"""``patchrerank index`` on tar shards and Parquet files, and all that looks at their pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest

from command_line import run
from packed_pictures import encoded, sample, write_parquet, write_shards, write_tar
from patchrerank.gallery import Gallery

ENCODER = ["--encoder", "timm:test_resnet", "--random-weights", "--image-size", "32"]
EAGER = [*ENCODER, "--backend", "eager", "--quiet", "--regions", "grid:0"]
LOCAL = ["--local", "--local-image-size", "64"]


@pytest.fixture
def query(tmp_path):
    (tmp_path / "query.jpg").write_bytes(encoded(3))
    return tmp_path / "query.jpg"


def best(said):
    return json.loads(said.stdout)["hits"][0]["id"]


@pytest.mark.parametrize("kind", ["tar", pytest.param("parquet", marks=pytest.mark.slow)])
def test_all_that_looks_at_pictures_finds_them(tmp_path, query, kind):
    files = tmp_path / "files"
    if kind == "tar":
        write_shards(files, [4, 3])
    else:
        pytest.importorskip("pyarrow")
        files.mkdir()
        rows = [(f"{n:09d}", encoded(n)) for n in range(7)]
        write_parquet(files / "a.parquet", rows[:4])
        write_parquet(files / "b.parquet", rows[4:])
    folder = tmp_path / "g"
    assert "7 images" in run("index", files, folder, *EAGER).stdout
    assert "7 images" in run("index", files, folder, *EAGER).stdout
    run("index", files, folder, *EAGER, *LOCAL)
    assert len(Gallery(folder).local) == 7, "pictures were read again"
    for stages in ("spatial:all:0.1:1", "chamfer:all:0.5:1"):
        pytest.importorskip("cv2")
        how = ["--stages", stages, "--query-image-size", "64", "--json"]
        how = how[:2] + how[4:] if "spatial" in stages else how
        assert best(run("search", folder, query, *how)) == "000000003"
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({f"{n:09d}": [[0, 0, 0.5, 0.5], [0, 0, 1, 1]] for n in range(7)}))
    made = f"pictures: in 2 {kind} files, ids of 'key', below {files}"
    assert made in run("info", folder, "--verify").stdout
    assert json.loads(run("info", folder, "--json").stdout)["pictures"]["files"] == 2
    files.rename(tmp_path / "moved")
    spatial = ["search", folder, query, "--stages", "spatial:all:0.1:1", "--json"]
    assert "--root" in run(*spatial, code=2).stderr
    assert best(run(*spatial, "--root", tmp_path / "moved")) == "000000003"


def test_local_descriptors_with_the_pictures(tmp_path):
    write_shards(tmp_path / "s", [5])
    run("index", tmp_path / "s" / "00000.tar", tmp_path / "g", *EAGER, *LOCAL)
    (tmp_path / "p").mkdir()
    for number in range(5):
        (tmp_path / "p" / f"{number}.jpg").write_bytes(encoded(number))
    run("index", tmp_path / "p", tmp_path / "h", *EAGER, *LOCAL)
    packed, plain = Gallery(tmp_path / "g").local, Gallery(tmp_path / "h").local
    assert np.array_equal(packed.array("descriptors"), plain.array("descriptors"))


def test_numbers_as_ids_and_their_local_descriptors(tmp_path, query):
    pytest.importorskip("pyarrow")
    rows = [(10 * number, encoded(number)) for number in range(5)]
    write_parquet(tmp_path / "a.parquet", rows, ids="int", image="image")
    how = ["--id-column", "key", "--image-column", "image", *LOCAL]
    run("index", tmp_path / "a.parquet", tmp_path / "g", *EAGER, *how)
    search = ["search", tmp_path / "g", query, "--stages", "chamfer:all:0.5:1", "--json"]
    assert best(run(*search, "--query-image-size", "64")) == 30
    assert len(Gallery(tmp_path / "g").local) == 5
    write_parquet(tmp_path / "b.parquet", [(7, encoded(7))], ids="int", image="image")
    run("index", f"{tmp_path}/?.parquet", tmp_path / "g", *EAGER, *how, "--append")
    assert Gallery(tmp_path / "g").ids[5] == 7 and len(Gallery(tmp_path / "g").local) == 6


def test_ids_that_are_chosen(tmp_path):
    write_tar(tmp_path / "a.tar", [sample(0), sample(1)])
    run("index", tmp_path / "a.tar", tmp_path / "g", *EAGER, "--id-key", "uid")
    assert list(Gallery(tmp_path / "g").ids) == ["uid-0", "uid-1"]
    said = run(
        "index", tmp_path / "a.tar", tmp_path / "h", *EAGER, "--id-key", "url", code=2
    ).stderr
    assert "000000000.json: 'url' is missing" in said and "it has uid" in said


def test_shards_that_cannot_be_read(tmp_path):
    write_tar(tmp_path / "a.tar", [sample(0), ("b", {"jpg": b"broken"}), sample(2)])
    content = (tmp_path / "a.tar").read_bytes()
    how = [*EAGER, "--on-error", "skip"]
    done = run("index", tmp_path / "a.tar", tmp_path / "g", *how)
    assert "skipped b: " in done.stdout and "a.tar: b.jpg: not an image" in done.stdout
    (tmp_path / "a.tar").write_bytes(content[:9000])
    said = run("index", tmp_path / "a.tar", tmp_path / "h", *EAGER, code=2).stderr
    assert said.count("\n") == 1 and "is cut short" in said and "--on-error skip" in said
    assert not (tmp_path / "h").exists()
    (tmp_path / "a.tar.gz").write_bytes(b"\x1f\x8b")
    wrong = {"a.tar.gz": "uncompress it", "x*.tar": "no file fits", "x.tar": "x.tar: no such"}
    for name, why in wrong.items():
        assert why in run("index", tmp_path / name, tmp_path / "h", *EAGER, code=2).stderr


ODD = ["9" * 5000, "9" * 300 + ".tar", "{0..999999999}.tar", "{}.tar", "{a,{b}.tar", "[.tar"]
ODD += ["**.tar", "\0*.tar", "9" * 300 + "*.parquet"]


@pytest.mark.parametrize(
    "name", [*ODD, pytest.param("{0..1}" * 30 + ".tar", marks=pytest.mark.slow)]
)
def test_sources_that_nobody_meant(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    run("index", name, tmp_path / "g", *EAGER, code=2)
    assert not (tmp_path / "g").exists()
