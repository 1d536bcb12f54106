"""Writing where a user points: whole or not at all, and over nothing that is not ours."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from patchrerank.errors import SettingError
from patchrerank.files import check_target, json_with, marked, write_whole, written_beside
from prepared import python

PAGE = marked("a page", b"<mark>")
RECORD = json_with("a record", "a", "b")
CONTENT = b"<mark> new"


def test_what_is_ours_or_empty_is_replaced_and_nothing_stays_beside_it(tmp_path):
    path = tmp_path / "page.html"
    for before in (None, b"", b"<mark> old"):
        if before is not None:
            path.write_bytes(before)
        write_whole(path, CONTENT, PAGE)
        assert path.read_bytes() == CONTENT
        assert os.listdir(tmp_path) == ["page.html"]


@pytest.mark.parametrize("ours", [PAGE, RECORD])
def test_what_is_somebody_elses_stays_byte_for_byte(tmp_path, ours):
    path = tmp_path / "diary"
    path.write_bytes(b'{"a": 1}')
    for call in (check_target, lambda p, o: write_whole(p, b"x", o)):
        with pytest.raises(SettingError, match="diary: is there already and is not a"):
            call(path, ours)
    assert path.read_bytes() == b'{"a": 1}'
    assert os.listdir(tmp_path) == ["diary"]


def test_a_folder_a_missing_folder_and_no_path_at_all(tmp_path):
    for path, why in (
        (tmp_path, "it is a folder"),
        (tmp_path / "no" / "x", "make it first"),
        (tmp_path / "a\0b", "no path"),
    ):
        with pytest.raises(SettingError, match=why):
            write_whole(path, b"x", PAGE)
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(SettingError, match="is no folder"):
        write_whole(tmp_path / "file" / "x", b"x", PAGE, make_folder=True)
    write_whole(tmp_path / "new" / "er" / "x", b"x", PAGE, make_folder=True)


def test_a_link_is_followed_and_stays_a_link(tmp_path):
    (tmp_path / "real").write_bytes(b"<mark>")
    (tmp_path / "link").symlink_to("real")
    write_whole(tmp_path / "link", CONTENT, PAGE)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == CONTENT


def test_devices_and_pipes_are_written_to_not_replaced():
    write_whole("/dev/null", CONTENT, PAGE)
    assert Path("/dev/null").is_char_device()
    code = "from patchrerank.files import write_whole; write_whole('/dev/stdout', b'all')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"all"


def test_whoever_reads_the_old_file_goes_on_reading_it(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"<mark> old")
    with path.open("rb") as reader:
        write_whole(path, CONTENT, PAGE)
        assert reader.read() == b"<mark> old"


def test_a_failure_half_way_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"<mark> old")
    with suppress(KeyError), written_beside(path, PAGE) as scratch:
        scratch.write_bytes(b"half")
        raise KeyError
    assert path.read_bytes() == b"<mark> old"
    assert os.listdir(tmp_path) == ["x"]


def test_a_full_disk_says_which_file_and_what_to_do(tmp_path):
    code = """
import resource, signal, sys
from patchrerank.files import write_whole
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_whole(sys.argv[1], b"x" * 5000)
except Exception as error:
    print(type(error).__name__, error)
"""
    path = tmp_path / "big"
    done = python("-c", code, path)
    assert done.stdout.startswith("SettingError")
    assert "big: cannot be written" in done.stdout
    assert "make room, and run it again" in done.stdout
    assert os.listdir(tmp_path) == []


WRITERS = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from patchrerank.datasets.ilias_similarities import write_similarities
from patchrerank.datasets.writing import write_atomically
from patchrerank.encoders import Whitening
from patchrerank.report.page import write_page
from patchrerank.tuning import save_table
from patchrerank.tuning.result_record import write_record
from signal_tables import signal_table

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
root, eye = Path(sys.argv[1]), np.eye(64, dtype=np.float32)
for name, write in {
    "similar.json": lambda path: write_similarities(path, {"q": {"x" * 5000: 1.0}}),
    "index.json": lambda path: write_atomically(path, b"x" * 5000),
    "whitening.npz": lambda path: Whitening(np.zeros(64, np.float32), eye).save(path),
    "page.html": lambda path: write_page(path, "x" * 5000),
    "record.json": lambda path: write_record({"a": "x" * 5000}, path),
    "table": lambda path: save_table(signal_table(queries=40), path),
}.items():
    try:
        write(root / name)
    except Exception as error:
        print(name, type(error).__name__, error)
"""


def test_every_writer_says_which_file_a_full_disk_refused(tmp_path):
    done = python("-c", WRITERS, tmp_path)
    lines = done.stdout.splitlines()
    assert len(lines) == 6
    for line in lines:
        name, kind, said = line.split(" ", 2)
        assert kind == "SettingError" and name in said
        assert "cannot be written" in said and "make room, and run it again" in said
    assert [path.name for path in tmp_path.iterdir()] == ["table"]
    assert not list((tmp_path / "table").glob(".*")), "what was begun is gone; no manifest"
