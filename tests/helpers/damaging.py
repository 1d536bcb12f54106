"""Ways to damage or to edit a file; which are chosen follows from a seed."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

Damage = Callable[[Path], None]
VALUES = [None, "x", -1, float("nan"), 1e999, 10**30, True, 0.5, [], {}, "\0", [[[[1]]]]]
"""What a value of a JSON file is replaced by."""
DEEP = "[" * 400 + "]" * 400
LONG = "9" * 5000


def damages_of(path: Path, seed: int, flips: int) -> Iterator[tuple[str, Damage]]:
    """Yield names and damages for one file; text gets those of JSON beside those of bytes."""
    yield from _of_bytes(path, np.random.default_rng(seed), flips)
    if path.suffix == ".json":
        yield from _of_json(path)


def _of_bytes(path: Path, rng: np.random.Generator, flips: int) -> Iterator[tuple[str, Damage]]:
    size = path.stat().st_size
    yield "removed", lambda file: file.unlink()
    yield "emptied", lambda file: file.write_bytes(b"")
    yield "a byte less", lambda file: file.write_bytes(file.read_bytes()[:-1])
    yield "cut in half", lambda file: file.write_bytes(file.read_bytes()[: size // 2])
    yield "more behind", lambda file: file.write_bytes(file.read_bytes() + b"\x01" * 40)
    yield "halves swapped", lambda file: file.write_bytes(_swapped(file.read_bytes()))
    for filler in (b"\x00", b"\xff"):
        name = f"filled with {filler.hex()}"
        yield name, lambda file, filler=filler: file.write_bytes(filler * size)
    places = [0, 4, 9, size - 1, *rng.integers(0, max(size, 1), flips).tolist()]
    for place in sorted({place for place in places if 0 <= place < size}):
        bit = int(rng.integers(0, 8))
        yield (
            f"bit {bit} of byte {place}",
            lambda file, place=place, bit=bit: file.write_bytes(
                _flipped(file.read_bytes(), place, bit)
            ),
        )


def _swapped(raw: bytes) -> bytes:
    return raw[len(raw) // 2 :] + raw[: len(raw) // 2]


def _flipped(raw: bytes, place: int, bit: int) -> bytes:
    return raw[:place] + bytes([raw[place] ^ (1 << bit)]) + raw[place + 1 :]


def _of_json(path: Path) -> Iterator[tuple[str, Damage]]:
    yield "nested deeply", lambda file: file.write_text(DEEP)
    yield "a long number", lambda file: file.write_text(LONG)
    yield "a list", lambda file: file.write_text("[1]")
    for place in _places(json.loads(path.read_text())):
        name = ".".join(map(str, place))
        yield f"{name} removed", lambda file, place=place: _edit(file, place, _remove)
        if isinstance(place[-1], str):
            yield f"{name} renamed", lambda file, place=place: _edit(file, place, _rename)
            yield f"{name} twice", lambda file, place=place: _twice(file, place)
        for value in VALUES:
            yield (
                f"{name} = {value!r}",
                lambda file, place=place, value=value: _edit(
                    file, place, lambda holder, key: holder.__setitem__(key, copy.deepcopy(value))
                ),
            )
        yield f"{name} nested", lambda file, place=place: _put(file, place, DEEP)
        yield f"{name} a long number", lambda file, place=place: _put(file, place, LONG)


def _places(content: object, above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of each value, of lists only the first two."""
    pairs: list[tuple[str | int, object]] = []
    if isinstance(content, dict):
        pairs = list(content.items())
    elif isinstance(content, list):
        pairs = list(enumerate(content[:2]))
    for key, value in pairs:
        yield (*above, key)
        yield from _places(value, (*above, key))


def _edit(file: Path, place: tuple, change: Callable) -> None:
    content = json.loads(file.read_text())
    holder = content
    for key in place[:-1]:
        holder = holder[key]
    change(holder, place[-1])
    file.write_text(json.dumps(content))


def _remove(holder, key) -> None:
    del holder[key]


def _rename(holder, key) -> None:
    holder[f"{key}s"] = holder.pop(key)


def _put(file: Path, place: tuple, text: str) -> None:
    """Put JSON text that Python's own writer would not write."""
    _edit(file, place, lambda holder, key: holder.__setitem__(key, "@@"))
    file.write_text(file.read_text().replace('"@@"', text))


def _twice(file: Path, place: tuple) -> None:
    """Let the key stand twice, the second time with null."""
    _edit(file, place, lambda holder, key: holder.__setitem__("@@", None))
    file.write_text(file.read_text().replace('"@@"', json.dumps(place[-1])))
