"""Reading files of boxes that other programs wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from patchrerank.errors import RegionError

OnError = Literal["raise", "skip"]


def read_json(path: str | Path) -> Any:
    """Return the content of a JSON file, with or without a byte-order mark.

    Raises:
        RegionError: it cannot be read, or is no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise RegionError(f"{path}: cannot be read ({error.strerror})") from error
    except RecursionError as error:
        raise RegionError(f"{path}: cannot be read as JSON (nested too deeply)") from error
    except ValueError as error:
        raise RegionError(f"{path}: cannot be read as JSON ({error})") from error
