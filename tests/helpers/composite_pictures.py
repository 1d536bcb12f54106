"""The pictures of composite-dev, which lie beside the repository where they are at hand."""

from __future__ import annotations

from pathlib import Path

import pytest


def composite_dev() -> Path:
    """The folder of its 1,055 pictures; skips the test where there is none."""
    folder = Path(__file__).parents[3] / "shared" / "composite-dev" / "db"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    return folder
