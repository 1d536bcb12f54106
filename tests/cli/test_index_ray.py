"""``patchrerank index --engine ray``: on a cluster of its own, which ends with the command."""

from __future__ import annotations

import json

import pytest

from command_line import run
from packed_pictures import encoded
from patchrerank.gallery import Gallery, verify
from ray_cluster import prepare_environment

ENCODER = ["--encoder", "timm:test_resnet", "--random-weights", "--image-size", "32"]
EAGER = [*ENCODER, "--backend", "eager", "--quiet", "--regions", "grid:0"]
LOCAL = ["--local", "--local-image-size", "64"]
RAY = ["--engine", "ray", "--workers", "1", "--block", "16"]


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(20):
        (tmp_path / "photos" / f"{number:02d}.jpg").write_bytes(encoded(number))
    return tmp_path / "photos"


@pytest.mark.slow
def test_it_gives_the_gallery_of_a_build_without_it(tmp_path, photos):
    pytest.importorskip("ray")
    prepare_environment()
    said = run("index", photos, tmp_path / "ray", *EAGER, *LOCAL, *RAY, "--json")
    record = json.loads(said.stdout)
    assert (record["images"], record["engine"], record["skipped"]) == (20, "ray", [])
    run("index", photos, tmp_path / "local", *EAGER, *LOCAL)
    made, local = Gallery(tmp_path / "ray"), Gallery(tmp_path / "local")
    assert len(made.shards) == 2 and verify(made) == []
    for one in ("ids", "patches", "globals", "sizes"):
        assert made.manifest.arrays[one].crc32 == local.manifest.arrays[one].crc32
    mine, theirs = (held.local.manifest for held in (made, local))
    assert mine.arrays["descriptors"].crc32 == theirs.arrays["descriptors"].crc32
    again = run("index", photos, tmp_path / "ray", *EAGER, *RAY, "--store", "int8", code=2)
    assert "store" in again.stderr
    small = ["--store", "pq", "--m", "8", "--nbits", "4"]
    assert "on Ray" in run("index", photos, tmp_path / "pq", *EAGER, *RAY, *small).stdout
    assert len(Gallery(tmp_path / "pq").shards) == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--engine", "spark"], "engine"),
        (["--block", "16"], "--block belongs to --engine ray"),
        (["--address", "auto"], "--address belongs to --engine ray"),
        ([*RAY, "--append"], "--append"),
        ([*RAY, "--workers", "0"], "workers must be at least 1"),
    ],
)
def test_what_is_refused(tmp_path, photos, words, told):
    pytest.importorskip("ray")
    assert told in run("index", photos, tmp_path / "g", *EAGER, *words, code=2).stderr
    assert not (tmp_path / "g").exists()
