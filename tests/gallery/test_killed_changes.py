"""Galleries that are changed by processes that die: readers find the old state, or the new one."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import numpy as np
import pytest

from drawn_galleries import draw_gallery
from patchrerank.errors import GalleryError
from patchrerank.gallery import Gallery, arrays, compact, remove, verify
from prepared import python

SCRIPT = Path(__file__).parents[1] / "helpers" / "killing_changes.py"


def killed(tmp_path, what, how):
    done = python(SCRIPT, str(tmp_path), what, how)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.slow
def test_a_removal_killed_at_every_step(tmp_path):
    assert killed(tmp_path, "remove", "steps") >= 8


@pytest.mark.slow
@pytest.mark.parametrize("what", ["compact", "sync", "replace"])
def test_changes_killed_at_every_step(tmp_path, what):
    assert killed(tmp_path, what, "steps") >= 30


@pytest.mark.slow
@pytest.mark.parametrize("what", ["compact", "sync", "replace"])
def test_changes_killed_at_random_moments(tmp_path, what):
    assert killed(tmp_path, what, "25") >= 10


@pytest.mark.parametrize("full_after", [0, 3, 9])
def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch, full_after):
    ids = [f"{number}.jpg" for number in range(30)]
    draw_gallery(tmp_path / "g", ids, 3, 8)
    before = remove(tmp_path / "g", ids[3:9])
    kept = {path.name: path.read_bytes() for path in (tmp_path / "g").iterdir()}
    real, left = arrays.ArrayWriter.flush, [full_after]

    def flush(self, *, durable):
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device", str(self.path))
        left[0] -= 1
        real(self, durable=durable)

    with monkeypatch.context() as patched:
        patched.setattr(arrays.ArrayWriter, "flush", flush)
        with pytest.raises(GalleryError, match="make room on the disk and run it again"):
            compact(tmp_path / "g")
    assert {path.name: path.read_bytes() for path in (tmp_path / "g").iterdir()} == kept
    after = compact(tmp_path / "g")
    assert verify(after) == [] and list(after.ids) == list(before.ids.living())
    assert np.array_equal(after.global_vectors, before.global_vectors[before.live])


def test_a_second_writer_is_refused(tmp_path):
    from patchrerank.gallery.folder import lock_folder

    draw_gallery(tmp_path / "g", list("abcd"), 3, 8)
    remove(tmp_path / "g", ["b"])
    with lock_folder(tmp_path / "g"):
        for change in (compact, lambda folder: remove(folder, ["a"])):
            with pytest.raises(GalleryError, match="another process is building"):
                change(tmp_path / "g")
    shutil.copytree(tmp_path / "g", tmp_path / "h")
    assert len(compact(tmp_path / "h")) == 3 and Gallery(tmp_path / "g").live_count == 3
