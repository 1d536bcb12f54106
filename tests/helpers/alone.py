"""Tests in a process of their own: forks of one that runs many threads may never get a lock."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from prepared import python

ALONE = "PATCHRERANK_TESTS_ALONE"
ROOT = Path(__file__).parents[2]

only_alone = pytest.mark.skipif(ALONE not in os.environ, reason="run by another test, alone")


def run_alone(file: str, name: str) -> None:
    """Run the test called ``name`` in a fresh process; it must pass."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    words = ["-m", "pytest", file, "-q", "-p", "no:xdist", "-k", name]
    environment = {**kept, ALONE: "1", "OMP_NUM_THREADS": "1"}  # no threads to lose in a fork
    done = python(*words, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stdout[-5000:]
    assert "1 passed" in done.stdout
