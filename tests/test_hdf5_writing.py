"""A full disk costs an HDF5 file, not the process."""

from __future__ import annotations

import os

import pytest

from patchrerank import hdf5_writing
from patchrerank.errors import SettingError
from patchrerank.hdf5_writing import hdf5_with, hdf5_written
from prepared import python

MINE = hdf5_with("a file of mine", "a")

CODE = """
import resource, signal, sys
import numpy as np
from patchrerank.datasets.ilias_features import write_features
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
try:
    write_features(sys.argv[1], [f"i{n}" for n in range(200)], np.ones((200, 64)))
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path):
    path = tmp_path / "f.hdf5"
    done = python("-c", CODE, path)
    assert done.stdout.startswith("SettingError") and "make room" in done.stdout
    assert "Exception ignored" not in done.stderr
    assert os.listdir(tmp_path) == []


def test_large_files_are_begun_only_where_there_is_room(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_writing, "IN_MEMORY", 0)
    with hdf5_written(tmp_path / "f.hdf5", MINE, 8) as file:
        file["a"] = [1]
    assert os.listdir(tmp_path) == ["f.hdf5"] and MINE.made(tmp_path / "f.hdf5")
    with (
        pytest.raises(SettingError, match=r"f\.hdf5: cannot be written .*make room"),
        hdf5_written(tmp_path / "f.hdf5", MINE, 1 << 60),
    ):
        pass
