"""Reading files of boxes that other programs wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from patchrerank import json_files
from patchrerank.errors import RegionError

OnError = Literal["raise", "skip"]


def read_json(path: str | Path) -> Any:
    """Return the content of a JSON file, with or without a byte-order mark.

    Raises:
        RegionError: it cannot be read, or is no JSON.
    """
    return json_files.read_json(path, RegionError)
