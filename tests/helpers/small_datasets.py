"""Small data sets in our own format, written entry by entry."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_dataset(
    root: Path, queries: Sequence[Mapping[str, Any]], images: Sequence[Mapping[str, Any]], **more
) -> Path:
    """Write ``index.json`` and the pictures of its entries.

    An entry's ``file`` is ``ID.png`` unless it says another; its ``picture`` is saved there, and
    without one the file is made, empty, where it is missing.
    """
    root.mkdir(parents=True, exist_ok=True)
    index = {
        key: [_written(root, entry) for entry in entries]
        for key, entries in (("queries", queries), ("db", images))
    }
    (root / "index.json").write_text(json.dumps({**more, **index}))
    return root


def _written(root: Path, entry: Mapping[str, Any]) -> dict[str, Any]:
    told = {"file": f"{entry['id']}.png", **entry}
    picture = told.pop("picture", None)
    if picture is None:
        (root / told["file"]).touch()
    else:
        picture.save(root / told["file"])
    return told
