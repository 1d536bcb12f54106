"""``patchrerank index`` with other regions than the grid."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from command_line import run
from patchrerank.gallery import Gallery

ENCODER = ["--encoder", "timm:test_resnet", "--random-weights", "--image-size", "32"]
EAGER = [*ENCODER, "--backend", "eager", "--quiet"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(5):
        pixels = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((120, 90)).save(folder / f"{number}.png")
    return folder


def test_one_pass(tmp_path, photos):
    folder = tmp_path / "g"
    run("index", photos, folder, *EAGER, "--regions", "grid:1", "--one-pass", "32,64")
    gallery = Gallery(folder)
    assert gallery.manifest.regions == "grid:1 one-pass:32,64"
    assert gallery.manifest.patches == 25
    assert "one-pass:32,64" in run("info", folder).stdout
    hits = json.loads(run("search", folder, photos / "3.png", "--top-k", 2, "--json").stdout)
    assert hits["hits"][0]["id"] == "3.png"
    said = run("index", photos, folder, *EAGER, "--regions", "grid:1", "--append", code=2).stderr
    assert "was begun with regions" in said
    said = run("index", photos, tmp_path / "h", *EAGER, "--one-pass", "big", code=2).stderr
    assert "'big' is malformed" in said


def test_boxes_of_a_detector(tmp_path, photos):
    images = [{"id": n, "file_name": f"{n}.png", "width": 120, "height": 90} for n in range(5)]
    found = [{"image_id": 2, "bbox": [30, 30, 60, 30], "score": 0.5}]
    file = tmp_path / "coco.json"
    file.write_text(json.dumps({"images": images, "annotations": found}))
    run("index", photos, tmp_path / "g", *EAGER, "--regions", f"coco:{file}")
    gallery = Gallery(tmp_path / "g")
    assert np.diff(gallery.patch_ends, prepend=0).tolist() == [1, 1, 2, 1, 1]
    assert np.allclose(gallery.boxes[3], [0.25, 1 / 3, 0.75, 2 / 3])
    del images[4]
    file.write_text(json.dumps({"images": images, "annotations": found}))
    said = run("index", photos, tmp_path / "h", *EAGER, "--regions", f"coco:{file}", code=2).stderr
    assert "'4.png'" in said
