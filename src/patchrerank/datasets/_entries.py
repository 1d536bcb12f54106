"""Reading ``index.json`` entry by entry; every complaint names the file, the entry and its id."""

from __future__ import annotations

import json
from collections.abc import Iterator
from numbers import Real
from pathlib import Path, PurePosixPath
from typing import Any

from patchrerank import json_files
from patchrerank.boxes import check_boxes
from patchrerank.datasets.dataset import Instance
from patchrerank.errors import DatasetError, RegionError, SettingError
from patchrerank.metrics.convention import parse_convention
from patchrerank.types import Floats, QueryCrop

INDEX = "index.json"
LARGEST = 1 << 63


def read_index(root: Path) -> bytes:
    """Return the bytes of ``root/index.json``."""
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder; a data set is a folder with an {INDEX}")
    try:
        return (root / INDEX).read_bytes()
    except FileNotFoundError as error:
        raise DatasetError(
            f"{root} holds no {INDEX}, so it is no (finished) data set; build one with "
            "`patchrerank composite`, or write the index with patchrerank.datasets.write_index"
        ) from error
    except OSError as error:
        raise DatasetError(f"{root / INDEX} cannot be read: {error.strerror}") from error


def parse_json(content: bytes, path: Path) -> dict[str, Any]:
    """Return the JSON object in ``content``."""
    index = json_files.parse_json(content, str(path), DatasetError)
    if not isinstance(index, dict):
        raise DatasetError(
            f'{path}: expected an object with "queries" and "db", got {_kind(index)}'
        )
    return index


def listed(index: dict[str, Any], key: str, path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each entry of ``index[key]`` and how errors name it, after checking its id."""
    if key not in index:
        raise DatasetError(f'{path}: the key "{key}" is missing; it lists the {_what(key)}')
    if not isinstance(index[key], list):
        raise DatasetError(f'{path}: "{key}" must be a list, got {_kind(index[key])}')
    positions: dict[str, int] = {}
    for position, entry in enumerate(index[key]):
        where = f"{path}: {key}[{position}]"
        if not isinstance(entry, dict):
            raise DatasetError(f"{where}: expected an object, got {_kind(entry)}")
        name = _text(entry, "id", where)
        where = f'{where} ("{name}")'
        if name in positions:
            raise DatasetError(
                f"{where}: the id already stands at {key}[{positions[name]}]; ids must be unique"
            )
        positions[name] = position
        yield entry, where


def picture(root: Path, entry: dict[str, Any], where: str) -> Path:
    """Return the path of an entry's picture."""
    relative = PurePosixPath(_text(entry, "file", where))
    if relative.is_absolute() or ".." in relative.parts:
        raise DatasetError(
            f"{where}: file {str(relative)!r} points outside the folder; copy or link the picture "
            "into it and write the path relative to index.json"
        )
    return root / relative


def instance(entry: dict[str, Any], where: str) -> Instance | None:
    """Return an entry's instance; the key must be there, None stands for a distractor."""
    if "instance" not in entry:
        raise DatasetError(
            f'{where}: the key "instance" is missing; it names the object, null in a distractor'
        )
    value = entry["instance"]
    if value is None or isinstance(value, str) or (isinstance(value, int) and _is_whole(value)):
        return value
    raise DatasetError(f"{where}: instance must be text, a whole number or null, got {value!r}")


def boxes(entry: dict[str, Any], where: str) -> Floats:
    """Return an entry's boxes, float32 ``(B, 4)``, from ``box`` or ``boxes``."""
    given = [key for key in ("box", "boxes") if entry.get(key) is not None]
    if len(given) == 2:
        raise DatasetError(f'{where}: give "box" or "boxes", not both')
    raw = entry[given[0]] if given else []
    if isinstance(raw, list) and raw and not isinstance(raw[0], list):
        raw = [raw]
    if not isinstance(raw, list) or not all(_is_box(box) for box in raw):
        raise DatasetError(
            f"{where}: {given[0]} is {json.dumps(entry[given[0]])}; expected four numbers "
            "[x0, y0, x1, y1] in [0, 1] of the image, a list of such, or null"
        )
    try:
        return check_boxes(raw, where)
    except RegionError as error:
        raise DatasetError(str(error)) from error


def share(entry: dict[str, Any], key: str, where: str) -> float | None:
    """Return an entry's optional number in [0, 1]."""
    value = entry.get(key)
    if value is None:
        return None
    if not _is_number(value) or not 0.0 <= value <= 1.0 + 1e-6:
        raise DatasetError(f"{where}: {key} must be a number in [0, 1] or null, got {value!r}")
    return min(float(value), 1.0)


def count(entry: dict[str, Any], key: str, where: str) -> int | None:
    """Return an entry's optional whole number from 0."""
    value = entry.get(key)
    if value is None or (_is_whole(value) and value >= 0):
        return value
    raise DatasetError(f"{where}: {key} must be a whole number from 0 or null, got {value!r}")


def ids(entry: dict[str, Any], key: str, where: str) -> tuple[str, ...] | None:
    """Return an entry's optional list of ids of other entries."""
    value = entry.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise DatasetError(f'{where}: {key} must be a list of ids of "db" or null')
    return tuple(value)


def box_instances(entry: dict[str, Any], boxes: int, where: str) -> tuple[Instance, ...] | None:
    """Return the objects of an entry's boxes, where it tells them apart."""
    value = entry.get("box_instances")
    if value is None:
        return None
    named = isinstance(value, list) and len(value) == boxes
    if not named or not all(isinstance(v, str) or _is_whole(v) for v in value):
        raise DatasetError(f"{where}: box_instances must name an object for each of {boxes} boxes")
    return tuple(value)


def optional_text(entry: dict[str, Any], key: str, where: str) -> str:
    """Return optional text; empty if it is not there."""
    return _text(entry, key, where) if entry.get(key) is not None else ""


def convention(index: dict[str, Any], path: Path) -> str:
    """Return the name of the AP convention; ``full`` if the index does not say."""
    try:
        return str(parse_convention(optional_text(index, "convention", str(path)) or "full"))
    except SettingError as error:
        raise DatasetError(f"{path}: {error}") from error


def query_crop(index: dict[str, Any], path: Path) -> QueryCrop:
    """Return what is done with a query's box; ``none`` if the index does not say."""
    value = index.get("query_crop") or "none"
    if value == "none" or value == "box":
        return "box" if value == "box" else "none"
    raise DatasetError(f'{path}: query_crop is {value!r}; use "none" or "box"')


def _text(entry: dict[str, Any], key: str, where: str) -> str:
    if key not in entry:
        raise DatasetError(f'{where}: the key "{key}" is missing')
    value = entry[key]
    if not isinstance(value, str) or not value:
        raise DatasetError(f"{where}: {key} must be text, got {value!r}")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    """Tell whole numbers that arrays can hold."""
    return isinstance(value, int) and _is_number(value) and -LARGEST <= value < LARGEST


def _is_box(box: Any) -> bool:
    return isinstance(box, list) and len(box) == 4 and all(_is_number(value) for value in box)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a truth value"}
    return "null" if value is None else names.get(type(value), "a number")


def _what(key: str) -> str:
    return "query pictures" if key == "queries" else "pictures to search"
