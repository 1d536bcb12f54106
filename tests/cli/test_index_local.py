from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from patchrerank.cli.main import app
from patchrerank.errors import SettingError
from patchrerank.gallery import Gallery, verify

ENCODER = ["--encoder", "timm:test_resnet", "--random-weights", "--image-size", "64"]
LOCAL = ["--local", "--local-image-size", "96", "--local-scales", "0.7,1", "--local-count", "10"]


def index(*words):
    result = CliRunner().invoke(app, ["index", *map(str, words), *ENCODER, "--quiet"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_local_descriptors_in_one_run_and_in_a_second(tmp_path, photo_folder):
    both, later = tmp_path / "both", tmp_path / "later"
    told = json.loads(index(photo_folder, both, "--regions", "grid:0", *LOCAL, "--json"))
    assert told["images"] == 40 and told["descriptors"] == 400
    index(photo_folder, later, "--regions", "grid:0")
    assert "LocalStore" in index(photo_folder, later, "--regions", "grid:0", *LOCAL)
    first, second = Gallery(both), Gallery(later)
    assert first.local.manifest == second.local.manifest
    assert first.local.grids == ((2, 2), (3, 3)) and first.local.manifest.store == "float16"
    assert verify(first) == verify(second) == []


@pytest.mark.parametrize(
    "words", [["--local-scales", "one"], ["--local-store", "pq"], ["--local-count", "0"]]
)
def test_bad_local_settings(tmp_path, photo_folder, words):
    with pytest.raises(SettingError):
        index(photo_folder, tmp_path / "g", "--regions", "grid:0", *LOCAL, *words)
    assert not (tmp_path / "g").exists(), "refused before any work"
