"""remove, compact and sync as commands: what they say, and what they refuse."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from command_line import run
from drawings import photo
from drawn_galleries import draw_gallery
from patchrerank.gallery import Gallery

ENCODER = ["--encoder", "timm:test_resnet", "--random-weights", "--image-size", "64"]


@pytest.fixture
def gallery(tmp_path):
    draw_gallery(tmp_path / "g", [f"{number}.jpg" for number in range(10)], 3, 8)
    return tmp_path / "g"


def test_remove_and_compact(tmp_path, gallery):
    (tmp_path / "ids.txt").write_text("3.jpg\n4.jpg\n")
    done = json.loads(
        run("remove", gallery, "1.jpg", "--ids", tmp_path / "ids.txt", "--json").stdout
    )
    assert (done["removed"], done["images"]) == (3, 7)
    shown = json.loads(run("info", gallery, "--json", "--verify", "--quiet").stdout)
    assert (shown["images"], shown["removed"], shown["problems"]) == (7, 3, [])
    assert "7 images (3 rows removed)" in run("info", gallery).stdout
    out = run("export", gallery, tmp_path / "out", "--quiet").stdout
    assert "7 images" in out and len(np.load(tmp_path / "out/globals.npy")) == 7
    given = run("compact", gallery).stdout
    assert given.startswith("3 removed rows and") and "7 images" in given
    assert json.loads(run("compact", gallery, "--json").stdout)["bytes"] == 0


def test_what_cannot_be_removed(tmp_path, gallery):
    for words, message in (
        (["0.jpg", "x"], "1 of 2 ids are not in the gallery"),
        (["--ids", tmp_path / "none.txt"], "no text file of ids"),
    ):
        assert message in run("remove", gallery, *words, code=2).stderr
    draw_gallery(tmp_path / "numbers", [1, 2, 3], 3, 8, id_type="int")
    assert (
        "cannot be one of the gallery's" in run("remove", tmp_path / "numbers", "a", code=2).stderr
    )
    assert "removed 1" in run("remove", tmp_path / "numbers", "2").stdout
    for name in ("remove", "compact"):
        words = [tmp_path / "absent", *["a"] * (name == "remove")]
        assert "is this a gallery folder" in run(name, *words, code=2).stderr
    assert not (tmp_path / "absent").exists()


def test_a_number_below_zero_is_an_id_and_no_option(tmp_path):
    draw_gallery(tmp_path / "g", [-5, -12, -3, 4, 7], 3, 8, id_type="int")
    assert "removed 2" in run("remove", tmp_path / "g", "-5", 4).stdout
    assert json.loads(run("remove", tmp_path / "g", "--json", -12).stdout)["removed"] == 1
    assert "for example -5" in run("remove", tmp_path / "g", "-5", code=2).stderr
    for word in ("--jsn", "-j", "--ids=x=", "-3x"):
        error = run("remove", tmp_path / "g", 7, word, code=2).stderr
        assert ("has no such option" in error) is (word != "--ids=x="), error
    assert "removed 1" in run("remove", tmp_path / "g", "--", "-3").stdout
    draw_gallery(tmp_path / "texts", ["-x.jpg", "b"], 3, 8)
    assert "removed 1" in run("remove", tmp_path / "texts", "-x.jpg").stdout


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("p") / "photos"
    folder.mkdir()
    for number in range(6):
        photo(number, 40, 30).save(folder / f"{number}.png")
    run("index", folder, folder.parent / "g", *ENCODER, "--regions", "grid:1", "--quiet")
    return folder


def test_sync_says_what_it_does(tmp_path, pictures):
    photos, gallery = tmp_path / "photos", tmp_path / "g"
    shutil.copytree(pictures, photos)
    run("index", photos, gallery, *ENCODER, "--regions", "grid:1", "--quiet")
    assert "0 added, 0 encoded again, 0 removed, 6 unchanged" in run("sync", photos, gallery).stdout
    photo(9, 50, 40).save(photos / "9.png")
    photo(8, 50, 40).save(photos / "1.png")
    (photos / "2.png").unlink()
    (photos / "broken.png").write_bytes(b"no picture")
    kept = (gallery / "manifest.json").read_bytes()
    planned = run("sync", photos, gallery, "--dry-run").stdout
    for line in ("add 9.png", "encode again 1.png", "remove 2.png", "would be: 2 added, 1 enc"):
        assert line in planned
    assert "broken.png" in run("sync", photos, gallery, "--quiet", code=2).stderr
    assert (gallery / "manifest.json").read_bytes() == kept
    done = run("sync", photos, gallery, "--quiet", "--on-error", "skip").stdout
    assert "1 added, 1 encoded again, 1 removed, 4 unchanged" in done and "skipped broken" in done
    assert "6 images (2 rows removed)" in done
    assert sorted(Gallery(gallery).ids.living()) == [
        "0.png",
        "1.png",
        "3.png",
        "4.png",
        "5.png",
        "9.png",
    ]


def test_what_cannot_be_followed(tmp_path, pictures, gallery):
    elsewhere = run("sync", tmp_path, pictures.parent / "g", code=2).stderr
    assert "no images found" in elsewhere
    photo(0, 40, 30).save(tmp_path / "a.png")
    assert "holds images of" in run("sync", tmp_path, pictures.parent / "g", code=2).stderr
    assert "not made of a folder" in run("sync", tmp_path, gallery, code=2).stderr
    assert run("sync", tmp_path / "none", gallery, code=2).stderr.count("\n") == 1
