"""The manifest of a score table, checked key by key where it is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from patchrerank.errors import SettingError, TableError
from patchrerank.json_files import read_json
from patchrerank.metrics.convention import APConvention
from patchrerank.records import from_json
from patchrerank.tuning.fused.query_scores import Cost
from patchrerank.tuning.tables.score_table import BY_QUERY, BY_RERANKER

FORMAT = 1
IDS = ("query_ids", "gallery_ids")
REMEDY = "restore the file or build the table again"
Manifest = dict[str, Any]


def read_table_manifest(path: Path) -> Manifest:
    """Return the manifest's content, with every type checked.

    Raises:
        TableError: it is no JSON, of another format, lacks a key or has an unknown one, or a
            value is of another type or range. Names file and key.
    """
    try:
        content = read_json(path, TableError)
    except TableError as error:
        raise TableError(f"{path}: damaged ({error}); build the table again") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else None
        raise TableError(f"{path}: format {found!r}, this version reads {FORMAT}; build it again")
    for key, (expected, fits) in KEYS.items():
        if key not in content:
            raise _damaged(path, key, "missing")
        if not fits(content[key]):
            raise _damaged(path, key, f"expected {expected}")
    for key in content:
        if key not in KEYS:
            raise _damaged(path, key, "unknown key")
    _check_files(content, path)
    _convention(content, path)
    return content


def costs_of(content: Manifest) -> dict[str, Cost]:
    """Return what the rerankers cost."""
    return {name: Cost(**cost) for name, cost in content["costs"].items()}


def convention_of(content: Manifest) -> APConvention:
    """Return how average precision is computed."""
    return from_json(APConvention, content["convention"], "")


def _convention(content: Manifest, path: Path) -> None:
    try:
        from_json(APConvention, content["convention"], str(path), "convention")
    except SettingError as error:
        raise TableError(f"{error}; damaged: {REMEDY}") from error


def _check_files(content: Manifest, path: Path) -> None:
    needed = [*IDS, *BY_QUERY]
    for field in BY_RERANKER:
        needed += [f"{field}-{number}" for number in range(len(content[field]))]
    for name in needed:
        if name not in content["files"]:
            raise _damaged(path, f"files.{name}", "missing")
    for name, record in content["files"].items():
        key = f"files.{name}"
        if not isinstance(record, dict) or not isinstance(record.get("file"), str):
            raise _damaged(path, key, "expected an object with file, bytes and crc32")
        for part in ("bytes", "crc32"):
            if not _is_count(record.get(part)):
                raise _damaged(path, f"{key}.{part}", "expected a whole number from 0")
        if name not in IDS:
            _check_array(record, key, path)


def _check_array(record: Mapping[str, Any], key: str, path: Path) -> None:
    shape = record.get("shape")
    if not isinstance(shape, list) or not all(map(_is_count, shape)):
        raise _damaged(path, f"{key}.shape", "expected a list of whole numbers from 0")
    if not isinstance(record.get("dtype"), str):
        raise _damaged(path, f"{key}.dtype", "expected text")


def _damaged(path: Path, key: str, why: str) -> TableError:
    return TableError(f"{path}: {key}: {why}; damaged: {REMEDY}")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _is_amount(value: Any) -> bool:
    return type(value) in (int, float) and (math.isnan(value) or 0 <= value < math.inf)


def _are_names(value: Any) -> bool:
    texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return texts and len(set(value)) == len(value)


def _of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(fits, value.values()))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_cost(value: Any) -> bool:
    if not isinstance(value, dict) or not value.keys() <= set(Cost.__dataclass_fields__):
        return False
    return all(_of(_is_amount)(v) if k == "reads" else _is_amount(v) for k, v in value.items())


KEYS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "format": ("a whole number", _is_count),
    "version": ("text", _is_text),
    "files": ("an object", lambda value: isinstance(value, dict)),
    "local_scores": ("a list of different names", _are_names),
    "overlaps": ("a list of different names", _are_names),
    "costs": ("milliseconds and bytes by reranker, from 0", _of(_is_cost)),
    "list_depths": ("whole numbers from 0 by reranker", _of(_is_count)),
    "convention": ("an object", lambda value: isinstance(value, dict)),
    "fingerprint": ("text", _is_text),
    "about": ("text by key", _of(_is_text)),
}
"""What each key holds, and how it is known."""
