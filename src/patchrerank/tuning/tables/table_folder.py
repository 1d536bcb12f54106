"""The folder that a score table lives in: what may lie there, and how it is written safely."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from patchrerank.errors import TableError
from patchrerank.files import writing
from patchrerank.tuning.tables._table_manifest import IDS
from patchrerank.tuning.tables.score_table import BY_QUERY, BY_RERANKER

MANIFEST = "manifest.json"
LOCK = "fill.lock"
BUILDING = "building.json"
PARTS = "parts"
OURS = (MANIFEST, BUILDING, PARTS, LOCK)
DATA = re.compile(
    rf"({'|'.join((*IDS, *BY_QUERY, *BY_RERANKER))})(-\d+)?-[0-9a-f]{{8}}\.(npy|json)"
)
"""What the files of arrays and ids are called."""


def make_folder(folder: Path) -> None:
    """Make the folder of a table; see :func:`check_folder`."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    check_folder(folder)


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds anything but a score table, or what is left of one.

    Raises:
        TableError: names one of the other files.
    """
    for path in folder.iterdir():
        scratch = path.name.startswith(".") and path.suffix == ".tmp"
        if not (scratch or path.name in OURS or DATA.fullmatch(path.name)):
            raise TableError(
                f"{folder}: is no score table but holds {path.name!r}; choose an empty folder"
            )


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file atomically, and wait until it is on the disk."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path):
        try:
            with scratch.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)


def tidy(folder: Path) -> None:
    """Remove what a build leaves behind, killed or not; nobody else may be writing."""
    (folder / BUILDING).unlink(missing_ok=True)
    shutil.rmtree(folder / PARTS, ignore_errors=True)
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Wait until no one else changes the table, and keep others waiting meanwhile."""
    with (folder / LOCK).open("ab") as file:
        try:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        except ImportError:  # no such lock on this platform
            pass
        yield
