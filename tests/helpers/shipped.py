"""The demo's photographs, made once a session: writing them as PNG is a second of work."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path

from patchrerank.datasets.shipped_photos import copy_shipped_photos


def copied_photos(folder: Path) -> tuple[Path, Path]:
    """Return what ``copy_shipped_photos`` does: the folders of objects and of backgrounds."""
    held, made = _made()
    shutil.copytree(held.name, folder, dirs_exist_ok=True)
    objects, backgrounds = (folder / one.relative_to(held.name) for one in made)
    return objects, backgrounds


@cache
def _made() -> tuple[tempfile.TemporaryDirectory[str], tuple[Path, Path]]:
    held = tempfile.TemporaryDirectory(prefix="photographs-")
    return held, copy_shipped_photos(Path(held.name))
