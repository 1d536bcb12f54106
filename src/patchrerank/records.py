"""Frozen dataclasses as JSON, read back with every key checked.

Type hints say what a key may hold: numbers, text, flags, ``Literal`` choices, tuples,
dictionaries with text keys, other dataclasses, each of these ``| None``, and one of several plain
types (``int | str``); ``object`` takes anything. Ranges are for the dataclass's own
``__post_init__`` to check. A file holds every field, whether it has a default or not, and nothing
else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import MISSING, asdict, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from patchrerank.errors import SettingError, near_matches
from patchrerank.files import Ours, json_with, write_whole
from patchrerank.json_files import read_json as read_json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")
LONGEST_SHOWN = 40
LARGEST = 1 << 63


def check_within(low: float, high: float, /, **values: float) -> None:
    """Refuse values outside ``[low, high]``, NaN among them.

    Raises:
        SettingError: names the first such value.
    """
    for name, value in values.items():
        if not low <= value <= high:
            limits = f"be at least {low:g}" if math.isinf(high) else f"lie in [{low:g}, {high:g}]"
            raise SettingError(f"{name} must {limits}, got {value}")


def save_record(record: DataclassInstance, path: str | Path) -> None:
    """Write a dataclass as JSON; the file appears whole or not at all.

    One that is there is replaced if it is such a record.

    Raises:
        SettingError: the file cannot be written or holds something else, or a number is not
            finite.
    """
    try:
        text = json.dumps(asdict(record), indent=1, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise SettingError(f"{path}: cannot be written ({error})") from error
    write_whole(path, f"{text}\n".encode(), records_of(type(record)))


def records_of(kind: type[DataclassInstance]) -> Ours:
    """Return how files are known that :func:`save_record` wrote of ``kind``."""
    return json_with(f"a {kind.__name__} record", *(item.name for item in fields(kind)))


def from_json(
    kind: type[T], content: object, file: str, path: str = "", *, complete: bool = True
) -> T:
    """Make a dataclass of what ``json.loads`` returned.

    Args:
        kind: the dataclass.
        content: an object with a key for each of its fields.
        file: where it comes from, for messages.
        path: the key in there, such as ``stages[0]``.
        complete: every field must be there; False: except those that have a default.

    Raises:
        SettingError: a missing or unknown key, a value of the wrong type or out of range; names
            file and key.
    """
    if not isinstance(content, dict):
        raise _wrong("an object", content, file, path)
    names = _names_of(kind)
    for key in content:
        if key not in names:
            near = near_matches(key, list(names))
            raise SettingError(f"{_place(file, path, key)}: unknown key{near}")
    hints = _hints_of(kind)
    given = [name for name, needed in names.items() if complete or needed or name in content]
    for name in given:
        if name not in content:
            raise SettingError(f"{_place(file, path, name)}: missing")
    values = {name: _value(hints[name], content[name], file, _key(path, name)) for name in given}
    try:
        return kind(**values)
    except SettingError as error:
        raise SettingError(f"{_place(file, path)}: {error}") from error


@cache
def _hints_of(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


@cache
def _parts_of(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    return get_origin(hint), get_args(hint)


@cache
def _names_of(kind: type[DataclassInstance]) -> dict[str, bool]:
    """Return the fields of a dataclass, and which of them have no default."""
    return {item.name: item.default is item.default_factory is MISSING for item in fields(kind)}


def _value(hint: Any, value: object, file: str, path: str) -> object:
    if hint is object:
        return value
    origin, inner = _parts_of(hint)
    if origin in (Union, UnionType):
        kinds = [kind for kind in inner if kind is not NoneType]
        fitting = [kind for kind in kinds if kind in PLAIN and PLAIN[kind][1](value)]
        return None if value is None else _value([*fitting, *kinds][0], value, file, path)
    if origin is Literal:
        return _choice(inner, value, file, path)
    if origin is tuple:
        return _items(inner, value, file, path)
    if origin is dict:
        if not isinstance(value, dict):
            raise _wrong("an object", value, file, path)
        return {key: _value(inner[1], item, file, _key(path, key)) for key, item in value.items()}
    if isinstance(hint, type) and is_dataclass(hint):
        return from_json(hint, value, file, path)
    expected, fits = PLAIN[hint]
    if not fits(value):
        raise _wrong(expected, value, file, path)
    return hint(value)


def _choice(known: tuple[Any, ...], value: object, file: str, path: str) -> object:
    if value not in known:
        names = [str(item) for item in known]
        near = near_matches(str(value), names)
        raise SettingError(
            f"{_place(file, path)}: {_shown(value)} is unknown{near}; use one of {', '.join(names)}"
        )
    return value


def _items(inner: tuple[Any, ...], value: object, file: str, path: str) -> tuple[object, ...]:
    if not isinstance(value, list | tuple):
        raise _wrong("a list", value, file, path)
    kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
    if len(kinds) != len(value):
        raise _wrong(f"a list of {len(kinds)}", value, file, path)
    if inner[0] in PLAIN and inner[-1] is Ellipsis and all(map(PLAIN[inner[0]][1], value)):
        return tuple(map(inner[0], value))
    return tuple(
        _value(kind, item, file, f"{path}[{number}]")
        for number, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, int | float) and _is_plain(value) and math.isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False


def _is_whole(value: object) -> bool:
    """Tell whole numbers that arrays can hold."""
    return isinstance(value, int) and _is_plain(value) and -LARGEST <= value <= LARGEST


def _is_plain(value: object) -> bool:
    """Tell numbers from true and false, which Python counts as numbers."""
    return not isinstance(value, bool)


PLAIN: dict[Any, tuple[str, Callable[[object], bool]]] = {
    float: ("a finite number", _is_number),
    int: ("a whole number", _is_whole),
    bool: ("true or false", lambda value: isinstance(value, bool)),
    str: ("text", lambda value: isinstance(value, str)),
}
"""What a value of each plain type is called, and how it is known."""


def _wrong(expected: str, value: object, file: str, path: str) -> SettingError:
    return SettingError(f"{_place(file, path)}: expected {expected}, got {_shown(value)}")


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def _key(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _place(file: str, path: str, name: str = "") -> str:
    whole = _key(path, name) if name else path
    return f"{file}: {whole}" if whole else file
