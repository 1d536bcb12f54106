from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numba
import pytest

import patchrerank.kernels.jit  # noqa: F401  # before a child gives up its rights
from patchrerank.kernels._jit_cache import source_stamp

KERNEL = """
from patchrerank.kernels.jit import compiled

@compiled
def double(value):
    return 2 * value
"""

CHILD = """
import logging, os, sys
logging.basicConfig(level="WARNING", format="%(message)s")
from test_jit_cache import counts, numba

warm = numba.njit(lambda value: 2 * value)
warm(3), warm(1.5)  # numba imports some of itself when it compiles
if os.geteuid() == 0:  # for whom no folder is read-only
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
for folder, cache in zip(sys.argv[1::2], sys.argv[2::2]):
    print(counts(folder, cache))
"""

unix = pytest.mark.skipif(not hasattr(os, "setuid"), reason="needs users that may not write")


def counts(folder, cache: str = "") -> tuple[int, int]:
    """Call the kernel of a module with two types; returns how many were read, and compiled."""
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, cache
    source_stamp.cache_clear()  # as in a fresh process
    try:
        spec = importlib.util.spec_from_file_location("made", Path(folder) / "made.py")
        made = sys.modules["made"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(made)
        assert made.double(3) == 6 and made.double(1.5) == 3.0
    finally:
        numba.config.CACHE_DIR = before
        del sys.modules["made"]
    stats = made.double.stats
    return sum(stats.cache_hits.values()), sum(stats.cache_misses.values())


def as_reader(*arguments: str) -> tuple[list[str], str]:
    """Run ``counts`` as a user who may not write; returns the lines, and what was logged."""
    places = [str(Path(__file__).parent), *sys.path]
    found = subprocess.run(
        [sys.executable, "-c", CHILD, *arguments],
        env={**os.environ, "HOME": "/nonexistent", "PYTHONPATH": os.pathsep.join(places)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.splitlines(), found.stderr


@pytest.fixture
def folder(monkeypatch):
    """A folder that every user can read, with a module of one kernel."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    made = Path(tempfile.mkdtemp())
    made.chmod(0o755)
    (made / "made.py").write_text(KERNEL)
    yield made
    for part in (made, *made.rglob("*")):
        part.chmod(0o755)
    shutil.rmtree(made)


def close(folder: Path) -> None:
    for part in (*folder.rglob("*"), folder):
        part.chmod(0o555 if part.is_dir() else 0o444)


@unix
def test_a_complete_cache_in_a_folder_that_is_read_only_is_read(folder):
    kernels = str(folder / "kernels")
    assert counts(folder) == (0, 2)
    other = folder / "other"
    other.mkdir()
    shutil.copy(folder / "made.py", other)
    assert counts(other, kernels) == (0, 2)
    assert not (other / "__pycache__").exists()
    close(folder)
    lines, said = as_reader(str(folder), "", str(other), kernels)
    assert lines == ["(2, 0)", "(2, 0)"] and said == ""


@unix
def test_where_nothing_can_be_written_kernels_are_compiled_and_one_line_says_so(folder):
    close(folder)
    lines, said = as_reader(str(folder), "/nonexistent/kernels", str(folder), "")
    assert lines == ["(0, 2)", "(0, 2)"]
    assert said.count("\n") == 1 and "NUMBA_CACHE_DIR" in said


def test_what_was_compiled_is_written_beside_the_module_and_read_until_that_changes(folder):
    assert counts(folder) == (0, 2)
    assert len(list((folder / "__pycache__").glob("*.nbc"))) == 2
    assert counts(folder) == (2, 0)
    assert counts(folder, str(folder / "elsewhere")) == (2, 0)
    (folder / "made.py").write_text(KERNEL.replace("2 * value", "value + value"))
    assert counts(folder) == (0, 2)


def test_damaged_files_are_compiled_over(folder):
    counts(folder)
    for file in (folder / "__pycache__").glob("*.nb[ci]"):
        file.write_bytes(file.read_bytes()[:20])
    assert counts(folder) == (0, 2)
    assert counts(folder) == (2, 0)


def test_a_copy_with_other_times_is_read_and_another_module_beneath_is_not(folder):
    (folder / "made.py").write_text(f"from patchrerank.kernels.low import X\n{KERNEL}")
    (folder / "low.py").write_text("X = 1")
    stamps = []
    for text in ("X = 1", "X = 1", "X = 2"):
        os.utime(folder / "made.py", (len(stamps), 1))
        (folder / "low.py").write_text(text)
        source_stamp.cache_clear()
        stamps.append(source_stamp(str(folder / "made.py")))
    assert stamps[0] == stamps[1] != stamps[2]
