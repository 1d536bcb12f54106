from __future__ import annotations

import json
import shlex
import shutil

import pytest
from typer.testing import CliRunner

from command_line import run
from drawings import photo
from patchrerank.cli.main import app
from patchrerank.errors import EncoderError, SettingError
from patchrerank.gallery import Gallery, verify
from patchrerank.gallery.local_writer import LocalWriter

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


@pytest.mark.parametrize("words", [["--local-scales", "one"], ["--local-count", "0"]])
def test_bad_local_settings(tmp_path, photo_folder, words):
    with pytest.raises(SettingError):
        index(photo_folder, tmp_path / "g", "--regions", "grid:0", *LOCAL, *words)
    assert not (tmp_path / "g").exists(), "refused before any work"


def test_a_network_of_one_size_is_refused_before_the_gallery_is_built(tmp_path, photo_folder):
    words = [str(photo_folder), str(tmp_path / "g"), "--encoder", "timm:gmlp_ti16_224", "--quiet"]
    words += ["--random-weights", "--backend", "eager", "--local"]
    with pytest.raises(EncoderError, match=r"own size is 224 × 224.*--local-image-size 224"):
        CliRunner().invoke(app, ["index", *words], catch_exceptions=False)
    assert not (tmp_path / "g").exists(), "refused before any work"


def test_a_compressed_copy_keeps_them_and_info_counts_and_checks_them(tmp_path, photo_folder):
    index(photo_folder, tmp_path / "g", "--regions", "grid:0", *LOCAL)
    done = CliRunner().invoke(
        app, ["compress", str(tmp_path / "g"), str(tmp_path / "small"), "--store", "int8"]
    )
    assert done.exit_code == 0, done.output
    before, after = Gallery(tmp_path / "g").local, Gallery(tmp_path / "small").local
    assert before.manifest == after.manifest
    shown = CliRunner().invoke(app, ["info", str(tmp_path / "small"), "--verify", "--json"])
    assert shown.exit_code == 0, shown.output
    sizes = json.loads(shown.stdout)["bytes"]
    assert sizes["local/positions"] == before.nbytes()["positions"] > 0
    damaged = bytearray(path := (tmp_path / "small" / "local" / "positions.bin").read_bytes())
    damaged[0] ^= 255
    (tmp_path / "small" / "local" / "positions.bin").write_bytes(damaged)
    assert len(path) == len(damaged)
    broken = CliRunner().invoke(app, ["info", str(tmp_path / "small"), "--verify"])
    assert broken.exit_code == 1 and "positions" in broken.output


def test_a_complete_gallery_gets_local_descriptors_of_its_own_encoder(photo_folder, tmp_path):
    """Without --encoder, at the gallery's image size, whatever the command's defaults are."""
    folder = tmp_path / "g"
    index(photo_folder, folder, "--regions", "grid:0")
    made = Gallery(folder).manifest.encoder
    run("index", photo_folder, folder, *LOCAL, "--quiet", "--json")
    found = Gallery(folder).local.manifest.encoder
    assert found["spec"] == made["spec"]
    assert found["weights"] == made["weights"]


MADE = [
    ["--local-image-size", "96", "--local-scales", "0.7,1", "--local-count", "10"],
    ["--local-image-size", "64", "--local-store", "binary"],
    ["--local-image-size", "64", "--encoder", "timm:test_vit", "--random-weights"],
]


@pytest.mark.parametrize("made", [pytest.param(MADE[0], marks=pytest.mark.slow), *MADE[1:]])
def test_the_command_that_info_names_goes_on_with_the_descriptors_of_before(
    tmp_path, photo_folder, made
):
    photos, folder = tmp_path / "our photos", tmp_path / "g"
    photos.mkdir()
    for path in sorted(photo_folder.rglob("*.png"))[:6]:
        shutil.copy(path, photos)
    index(photos, folder, "--regions", "grid:0")
    run("index", photos, folder, "--local", *made, "--quiet")
    before = Gallery(folder).local.manifest
    photo(77, 60, 50).save(photos / "new.png")
    hint = run("sync", photos, folder, "--quiet").stdout.splitlines()[-1]
    told = run("info", folder, "--verify", "--quiet").stdout  # exit code 0
    assert "behind: 1 images have no local descriptors; to go on run patchrerank" in told
    assert "DAMAGED" not in told and "all is well, but not complete" in told
    found = json.loads(run("info", folder, "--verify", "--json", "--quiet").stdout)
    assert not found["problems"] and len(found["behind"]) == 1
    words = shlex.split(hint.partition("to go on run patchrerank ")[2])
    assert hint.partition("to go on ")[2] == found["behind"][0].partition("to go on ")[2]
    run(*words, "--quiet")
    after = Gallery(folder).local.manifest
    assert after.images == 7 and after.plan() == before.plan() and after.encoder == before.encoder
    assert "verified: all is well\n" in run("info", folder, "--verify", "--quiet").stdout


def test_a_first_build_that_was_stopped_is_behind_too(tmp_path, photo_folder, monkeypatch):
    folder = tmp_path / "g"
    index(photo_folder, folder, "--regions", "grid:0")
    monkeypatch.setattr(LocalWriter, "finish", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        index(photo_folder, folder, "--regions", "grid:0", *LOCAL)
    monkeypatch.undo()
    told = run("info", folder, "--verify", "--quiet").stdout
    hint = next(line for line in told.splitlines() if line.startswith("behind: 40 images"))
    run(*shlex.split(hint.partition("run patchrerank ")[2]), "--quiet")
    assert len(Gallery(folder).local) == 40 and verify(Gallery(folder)) == []
