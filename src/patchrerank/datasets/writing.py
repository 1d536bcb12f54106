"""Writing a data set's ``index.json``; the format is told in :mod:`patchrerank.datasets.folder`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from patchrerank.datasets._entries import INDEX
from patchrerank.datasets.dataset import DatasetImage, DatasetQuery
from patchrerank.errors import DatasetError
from patchrerank.files import write_whole
from patchrerank.types import Floats, QueryCrop


def write_index(
    folder: str | Path,
    queries: Sequence[DatasetQuery],
    images: Sequence[DatasetImage],
    args: Mapping[str, Any],
    *,
    name: str = "",
    convention: str = "full",
    query_crop: QueryCrop = "none",
) -> Path:
    """Write ``folder/index.json`` and return its path.

    The same entries give the same bytes, one entry a line. The file appears whole or not at all
    (temporary file and rename). Pictures must lie inside ``folder``. What is at its default is
    not written; the arguments are those of :class:`patchrerank.datasets.Dataset`.

    Raises:
        DatasetError: a picture lies outside the folder, or a value has no place in JSON (NaN).
    """
    root = Path(folder)
    settings = _dump(args, f"{root / INDEX}: args", sort_keys=True)
    asked = ",\n".join(_dump(_query_entry(root, query), f'query "{query.id}"') for query in queries)
    shown = ",\n".join(_dump(_image_entry(root, image), f'image "{image.id}"') for image in images)
    told = (("name", name, ""), ("convention", convention, "full"))
    protocol = (*told, ("query_crop", query_crop, "none"))
    head = "".join(f'"{k}": {json.dumps(v)},\n' for k, v, default in protocol if v != default)
    text = f'{{{head}"args": {settings},\n"queries": [\n{asked}\n],\n"db": [\n{shown}\n]}}\n'
    path = root / INDEX
    write_atomically(path, text.encode("ascii"))
    return path


def write_atomically(path: Path, content: bytes, sync: bool = True) -> None:
    """Write ``content`` to ``path`` through a hidden file beside it and a rename.

    ``sync`` waits until the disk has it, which a power cut needs and a killed process does not.

    Raises:
        SettingError: the disk is full, or refuses.
    """
    write_whole(path, content, durable=sync, scratch_name=f".{path.name}.part")


def _dump(entry: Mapping[str, Any], name: str, sort_keys: bool = False) -> str:
    try:
        return json.dumps(entry, allow_nan=False, sort_keys=sort_keys)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{name} cannot be written as JSON: {error}") from error


def _query_entry(root: Path, query: DatasetQuery) -> dict[str, Any]:
    box = None if query.box is None else _numbers(query.box)
    entry = {"id": query.id, "file": _relative(root, query.file), "instance": query.instance}
    source = {} if query.source is None else {"source": query.source}
    given = {} if query.positives is None else {"positives": list(query.positives)}
    junk = {"junk": list(query.junk)} if query.junk else {}
    return {**entry, **source, "box": box, **given, **junk}


def _image_entry(root: Path, image: DatasetImage) -> dict[str, Any]:
    boxes = [_numbers(box) for box in image.boxes]
    place = {"boxes": boxes} if len(boxes) > 1 else {"box": boxes[0] if boxes else None}
    entry = {"id": image.id, "file": _relative(root, image.file), "instance": image.instance}
    clutter = {} if image.clutter is None else {"clutter": image.clutter}
    shown = {} if image.box_instances is None else {"box_instances": list(image.box_instances)}
    return {**entry, **place, **shown, "area": image.area, "visible": image.visible, **clutter}


def _numbers(box: Floats) -> list[float]:
    """Return the shortest decimals that read back as the same float32."""
    return [float(str(value)) for value in np.asarray(box, dtype=np.float32)]


def _relative(root: Path, file: Path) -> str:
    try:
        return file.relative_to(root).as_posix()
    except ValueError as error:
        raise DatasetError(
            f"{file} lies outside the data set's folder {root}; copy or link it into the folder"
        ) from error
