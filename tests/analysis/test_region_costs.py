from __future__ import annotations

import time

import numpy as np
import pytest
from PIL import Image

from patchrerank.analysis.galleries import gallery_folder
from patchrerank.analysis.region_costs import seconds_per_image
from patchrerank.datasets import DatasetImage, DatasetQuery, load_dataset, write_index
from patchrerank.encoders import load_encoder, load_one_pass
from patchrerank.regions import GridPyramid, Proposals


class Slow(Proposals):
    spec = "slow"

    def propose(self, picture):
        time.sleep(0.02)
        return np.zeros((0, 4), dtype=np.float32)


def test_median_seconds_of_each_way(tiny_encoder):
    images = [(str(number), Image.new("RGB", (20, 20), (number, 9, 9))) for number in range(3)]
    ways = {"grid": (tiny_encoder, GridPyramid(0)), "slow": (tiny_encoder, Slow())}
    found = seconds_per_image(images, ways, rounds=3, block=4)
    assert list(found) == ["grid", "slow"]
    assert 0 < found["grid"] < found["slow"]
    assert found["slow"] == pytest.approx(0.02, abs=0.02)


def test_pooled_regions_have_a_gallery_of_their_own(tmp_path):
    Image.new("RGB", (30, 30)).save(tmp_path / "a.png")
    file = tmp_path / "a.png"
    images = [DatasetImage("a", file, "x", np.zeros((0, 4), np.float32), None)]
    write_index(tmp_path, [DatasetQuery("q", file, "x", None)], images, {})
    dataset = load_dataset(tmp_path)
    encoder = load_encoder("timm:test_resnet", pretrained=False, image_size=32, backend="eager")
    made = [encoder, load_one_pass(encoder, "32"), load_one_pass(encoder, "64")]
    folders = {gallery_folder(tmp_path, dataset, item, GridPyramid(1)) for item in made}
    assert len(folders) == 3
