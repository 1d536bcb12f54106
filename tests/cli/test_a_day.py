"""A day in the life of a catalogue, through the commands, while others search it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from command_line import run as here
from command_line import run_process
from drawings import photo
from patchrerank.gallery import Gallery
from prepared import start
from watching import digest

ENCODER = ["--encoder", "timm:test_resnet", "--random-weights", "--image-size", "64"]
HOW = [*ENCODER, "--regions", "grid:1", "--quiet"]
HELPERS = Path(__file__).parents[1] / "helpers"


def draw(folder, numbers, seed=0):
    for number in numbers:
        path = folder / f"{number % 5}/{number:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo(seed + number, 64 + number % 7, 48 + number % 5).save(path)


def change(folder, added, changed, removed):
    """Add, change and remove pictures; changed ones have a time of their own."""
    draw(folder, added)
    draw(folder, changed, seed=5000)
    for number in changed:
        path = folder / f"{number % 5}/{number:03d}.jpg"
        os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 10**9))
    for number in removed:
        (folder / f"{number % 5}/{number:03d}.jpg").unlink()


def begun(gallery):
    path = gallery / "building.json"
    try:
        return json.loads(path.read_text())["images"] if path.exists() else 0
    except (ValueError, FileNotFoundError):
        return 0


def killed_once(gallery, least, *words):
    """Start a command and kill it once it has committed so many rows; tell whether it was."""
    child = start("-m", "patchrerank.cli.main", *words)
    try:
        while child.poll() is None and begun(gallery) < least:
            time.sleep(0.002)
    finally:
        child.kill()
        child.communicate()
    return child.returncode == -9


class Watcher:
    """Another process that opens and searches the gallery all the time."""

    def __init__(self, gallery, stop):
        self.stop = stop
        self.child = start(HELPERS / "watching.py", gallery, stop)

    def __enter__(self):
        while not self.stop.with_suffix(".begun").exists() and self.child.poll() is None:
            time.sleep(0.01)
        return self

    def __exit__(self, *error):
        self.stop.touch()
        out, errors = self.child.communicate(timeout=60)
        assert self.child.returncode == 0, errors
        self.found = json.loads(out)


def live(tmp_path, count, added, changed, removed, kills=(), run=run_process):
    photos, gallery, fresh = tmp_path / "photos", tmp_path / "gallery", tmp_path / "fresh"
    draw(photos, range(count))
    here("index", photos, gallery, *HOW)
    change(photos, added, changed, removed)
    before = digest(Gallery(gallery))
    here("index", photos, fresh, *HOW)
    expected = digest(Gallery(fresh))
    sync = ["sync", photos, gallery, "--json", "--quiet"]
    with Watcher(gallery, tmp_path / "stop") as watcher:
        for least in kills:
            assert killed_once(gallery, least, *sync)
            assert digest(Gallery(gallery)) == before
        done = json.loads(run(*sync).stdout)
        assert digest(Gallery(gallery)) == expected
        run("compact", gallery)
        after = Gallery(gallery)
    assert digest(after) == expected and len(after) == after.live_count
    assert len(after) == count + len(added) - len(removed)
    assert [len(done[name]) for name in ("added", "changed", "removed", "skipped")] == [
        len(added), len(changed), len(removed), 0,
    ]  # fmt: skip
    assert done["unchanged"] == count - len(changed) - len(removed)
    assert watcher.found["seen"][0] == before
    assert watcher.found["seen"][1:] in ([], [expected])
    assert "verified: all is well" in here("info", gallery, "--verify", "--quiet").stdout
    assert json.loads(here(*sync).stdout)["unchanged"] == len(after)
    return watcher


@pytest.mark.slow
def test_two_hundred_pictures(tmp_path):
    added, removed = range(200, 230), range(0, 150, 6)
    changed = [number for number in range(20, 60) if number % 6][:20]
    watcher = live(tmp_path, 200, added, changed, removed, kills=(210, 230))
    assert len(watcher.found["seen"]) == 2


@pytest.mark.slow
def test_thirty_pictures(tmp_path):
    live(tmp_path, 30, range(30, 50), [1, 2, 3, 4], [0, 5, 11], run=here)
