"""``patchrerank index`` on folders, boxes and galleries as people have them."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from command_line import run
from patchrerank.gallery import Gallery

ENCODER = ["--encoder", "timm:test_resnet", "--random-weights", "--image-size", "32"]
EAGER = [*ENCODER, "--backend", "eager", "--quiet", "--regions", "grid:0"]


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        pixels = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((120, 90)).save(folder / f"{number}.png")
    return folder


def test_files_that_are_left_out_are_said(tmp_path, photos, caplog):
    (photos / "._0.png").write_bytes(b"x")
    (photos / "notes.txt").write_text("x")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    first, second = Image.new("RGB", (60, 40), "red"), Image.new("RGB", (60, 40), "blue")
    first.save(elsewhere / "b.mpo", "MPO", save_all=True, append_images=[second])
    (photos / "linked").symlink_to(elsewhere, target_is_directory=True)
    run("index", photos, tmp_path / "g", *EAGER)
    assert "left out 2 files: 1 ._* (companions of macOS), 1 .txt" in caplog.text
    assert list(Gallery(tmp_path / "g").ids) == ["0.png", "1.png", "2.png", "linked/b.mpo"]


def test_a_finished_index_run_again_prints_what_is_there(tmp_path, photos):
    for _ in range(2):
        assert "3 images" in run("index", photos, tmp_path / "g", *EAGER).stdout
    said = run("index", photos, tmp_path / "g", *EAGER[:-1], "grid:1", code=2).stderr
    assert "was begun with regions grid:0, now it is grid:1" in said and "--append" in said
    Image.new("RGB", (50, 40)).save(photos / "new.png")
    assert "--append" in run("index", photos, tmp_path / "g", *EAGER, code=2).stderr
    for _ in range(2):
        made = json.loads(
            run("index", photos, tmp_path / "p", *EAGER, "--store", "float16", "--json").stdout
        )
        assert made["images"] == 4


def test_settings_that_conflict_are_named(tmp_path, photos):
    run("index", photos, tmp_path / "g", *EAGER)
    other = [word if word != "32" else "64" for word in EAGER]
    said = run("index", photos, tmp_path / "g", *other, "--append", code=2).stderr
    assert "image size 32 × 32 then, 64 × 64 now" in said
    remedy = said.partition("on the command line ")[2].partition(")")[0]
    assert remedy == "--encoder timm:test_resnet --image-size 32 --random-weights"
    how = [*remedy.split(), "--quiet", "--regions", "grid:0"]
    run("index", photos, tmp_path / "g", *how, "--append", "--backend", "eager")


def test_the_command_that_is_named_makes_the_local_descriptors(tmp_path, photos):
    folder = tmp_path / "g"
    run("index", photos, folder, *EAGER, "--precision", "bf16")
    stages = ["--stages", "chamfer:all:0.5:1"]
    said = run("search", folder, photos / "0.png", *stages, code=2).stderr
    named = said.partition("make them with patchrerank ")[2]
    words = named.partition(" (or build_local)")[0].replace("PICTURES", str(photos)).split()
    run(*words, "--local-image-size", "64", "--quiet")
    assert len(Gallery(folder).local) == 3
    run("search", folder, photos / "0.png", *stages, "--query-image-size", "64")


def test_photographs_that_moved(tmp_path, photos):
    folder = tmp_path / "g"
    run("index", photos, folder, *EAGER)
    pictures = tmp_path / "pictures"
    photos.rename(pictures)
    Image.new("RGB", (50, 40), "red").save(pictures / "new.png")
    local = ["--local", "--local-image-size", "64"]
    assert "--root" in run("index", pictures, folder, *EAGER, *local, code=2).stderr
    run("index", pictures, folder, *EAGER, *local, "--root", pictures)
    spatial = ["--stages", "spatial:all:0.5:1"]
    assert "--root" in run("search", folder, pictures / "0.png", *spatial, code=2).stderr
    found = run("search", folder, pictures / "0.png", *spatial, "--root", pictures, "--json")
    assert len(json.loads(found.stdout)["hits"]) == 3
    shortlist = tmp_path / "s.json"
    shortlist.write_text(json.dumps(["2.png", "0.png"]))
    rerank = ["rerank", folder, pictures / "0.png", shortlist, *spatial]
    assert "--root" in run(*rerank, code=2).stderr
    run(*rerank, "--root", pictures)
    assert "--root" in run("index", pictures, folder, *EAGER, "--append", code=2).stderr
    said = run("index", pictures, folder, *EAGER, "--append", "--root", tmp_path, code=2).stderr
    assert "is not where the pictures" in said
    run("index", pictures, folder, *EAGER, "--append", "--root", pictures)
    assert len(Gallery(folder)) == 4
    run("search", folder, pictures / "0.png", *spatial)


def coco(tmp_path, boxes, names=3):
    images = [{"id": n, "file_name": f"{n}.png", "width": 120, "height": 90} for n in range(names)]
    found = [{"image_id": number, "bbox": box} for number, box in boxes]
    file = tmp_path / "coco.json"
    file.write_text(json.dumps({"images": images, "annotations": found}))
    return f"coco:{file}"


def test_a_detector_with_an_empty_box_and_a_missing_picture(tmp_path, photos, caplog):
    spec = coco(tmp_path, [(0, [10, 10, 20, 20]), (1, [10, 10, 20, 0])], names=2)
    how = [*EAGER[:-1], spec]
    said = run("index", photos, tmp_path / "g", *how, code=2).stderr
    assert "annotations[1]" in said and "--on-error skip" in said
    done = run("index", photos, tmp_path / "g", *how, "--on-error", "skip")
    assert "boxes left out: 1; the first:" in caplog.text
    assert "skipped 2.png: no boxes were given" in done.stdout
    made = run("index", photos, tmp_path / "g", *how, "--on-error", "skip", "--json").stdout
    assert json.loads(made)["images"] == 2
    assert json.loads(made)["left_out_boxes"] == 1
    spec = coco(tmp_path, [(0, [10, 10, 20, 20]), (2, [5, 5, 20, 20])])
    run("index", photos, tmp_path / "g", *EAGER[:-1], spec, "--append")
    assert np.diff(Gallery(tmp_path / "g").patch_ends, prepend=0).tolist() == [2, 1, 2]


def test_regions_without_end(tmp_path, photos):
    how = [*EAGER[:-1], "grid:30"]
    said = run("index", photos, tmp_path / "g", *how, code=2).stderr
    assert "more than 5,000 regions" in said and "--max-regions" in said
    how = [*EAGER[:-1], "grid:1", "--max-regions", "4"]
    assert "more than 4" in run("index", photos, tmp_path / "g", *how, code=2).stderr


def test_pictures_that_are_all_broken(tmp_path):
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"x")
    said = run("index", folder, tmp_path / "g", *EAGER, "--on-error", "skip", code=2).stderr
    assert "none of 1 images" in said
    shutil.rmtree(tmp_path / "g")
