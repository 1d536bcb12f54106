"""The Python of a page of docs/, run in a folder as a reader would run it."""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from functools import cache
from pathlib import Path

from command_line import run
from loaded_once import encoders_loaded_once
from shipped import copied_photos


def photographs_in(root):
    """Make ``photos/`` of the demo's photographs and ``gallery/`` of them; name the objects'."""
    shutil.copytree(_photographs().name, root, dirs_exist_ok=True)
    return sorted(path.name for path in (root / "photos/objects").iterdir())


@cache
def _photographs():
    """Return the folder that is copied, made once a session."""
    held = tempfile.TemporaryDirectory(prefix="photographs-")
    root = Path(held.name)
    photos, _ = copied_photos(root / "photos")
    run("index", photos, root / "gallery", "--image-size", "64", "--regions", "grid:1", "--quiet")
    return held


def examples_of(page):
    """What stands before the first heading, and each heading's first example in Python."""
    first, *parts = page.read_text(encoding="utf-8").split("\n## ")
    found = {part.partition("\n")[0]: _first(part) for part in parts if "```python\n" in part}
    return _first(first), found


def _first(text):
    return text.partition("```python\n")[2].partition("```")[0]


def printed_by(code, folder, monkeypatch, **known):
    """The lines that it prints; in this process, since most of a new one's time is importing."""
    monkeypatch.chdir(folder)
    out = io.StringIO()
    with contextlib.redirect_stdout(out), encoders_loaded_once():
        exec(compile(code, "example", "exec"), {"__name__": "__main__", **known})
    return out.getvalue().splitlines()
