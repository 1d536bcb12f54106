"""Where the pictures of a gallery lie whose ids are no paths: beside it, by id."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchrerank.errors import GalleryError
from patchrerank.files import write_whole
from patchrerank.json_files import read_json

FILES = "pictures.json"
PARTIAL = f"{FILES}.partial"


@dataclass(frozen=True)
class NamedFiles:
    """The files of pictures by the ids of their images; other images have files named by their ids.

    Attributes:
        root: the folder that they are below.
        files: id, as text → path relative to ``root``, or an absolute one.
    """

    root: str
    files: Mapping[str, str]

    def write(self, folder: Path) -> None:
        """Write them beside a gallery whose lock is held."""
        content = json.dumps({"root": self.root, "files": dict(self.files)}, indent=0)
        write_whole(folder / FILES, content.encode(), scratch_name=PARTIAL)


def read_named_files(folder: Path) -> NamedFiles | None:
    """Return those that lie beside a gallery, if any do.

    Raises:
        GalleryError: the file is damaged.
    """
    path = folder / FILES
    if not path.is_file():
        return None
    held = read_json(path, GalleryError)
    told: dict[str, Any] = held if isinstance(held, dict) else {}
    root, files = told.get("root", ""), told.get("files")
    if not (_is_path(root) and isinstance(files, dict) and all(map(_is_path, files.values()))):
        raise GalleryError(
            f"{path}: damaged: expected root and files, by id; delete it, and say again where "
            "pictures are (record_files, or the command that built the gallery)"
        )
    return NamedFiles(root, files)


def forget_files(folder: Path, gone: Collection[Any]) -> None:
    """Forget the pictures of some ids, of a gallery whose lock is held: others may come."""
    held = read_named_files(folder)
    if held is None or held.files.keys().isdisjoint(names := set(map(str, gone))):
        return
    left = {name: file for name, file in held.files.items() if name not in names}
    NamedFiles(held.root, left).write(folder)


def _is_path(value: object) -> bool:
    return isinstance(value, str) and bool(value) and "\0" not in value
