"""What the ids of a gallery may be: text, whole numbers or UUIDs; they come back as they came.

On disk, text is UTF-8, a whole number eight bytes (little-endian, signed), a UUID its sixteen
bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias, cast
from uuid import UUID

import numpy as np

from patchrerank.errors import ShortlistError, shown
from patchrerank.types import Rows

Packed: TypeAlias = tuple[bytes, Rows, int]
"""Bytes of several ids, where each ends (int64), and the bytes between two."""

OTHERS = (TypeError, OverflowError, ValueError, AttributeError)
"""What packing raises for something that is no such id."""

NUMBER = re.compile(r"-?[0-9]+", re.ASCII)
"""A whole number as text; one beyond 64 bits is held by no gallery."""
MOST = 1 << 63
"""Whole numbers lie in ``-MOST … MOST - 1``."""


@dataclass(frozen=True)
class IdType:
    """One kind of ids.

    Attributes:
        name: in a manifest.
        kind: of Python objects.
        words: what messages call them.
        encoded: what messages call their bytes.
        size: how many bytes each has; None: any number.
        pack: makes bytes of ids; raises one of ``OTHERS`` for ids of another kind.
        unpack: makes an id of its bytes; raises ValueError for none.
        parse: makes an id of text, as files and command lines have it; raises ValueError.
    """

    name: str
    kind: type
    words: str
    encoded: str
    size: int | None
    pack: Callable[[Sequence[Any]], Packed]
    unpack: Callable[[Any], Any]
    parse: Callable[[str], Any]

    def packed(self, ids: Sequence[Any]) -> Packed:
        """Return the bytes of ids.

        Raises:
            ShortlistError: one is of another kind, or a number of more than 64 bits.
        """
        try:
            return self.pack(ids)
        except OTHERS:
            self.check(ids)
            for place, item in enumerate(ids):
                if self.beyond(item):
                    raise ShortlistError(
                        f"id {shown(item)} has more than 64 bits (position {place}); whole numbers "
                        "as ids lie in -2^63 … 2^63 - 1; use text"
                    ) from None
            raise

    def check(self, ids: Sequence[Any]) -> None:
        """Refuse ids of another kind; numbers that no gallery can hold are of the same.

        Raises:
            ShortlistError: names the first.
        """
        try:
            self.pack(ids)
        except OTHERS:
            for place, item in enumerate(ids):
                if not (self._fits(item) or self.beyond(item)):
                    raise ShortlistError(
                        f"id {shown(item)} is a {type(item).__name__} (position {place}); the "
                        f"gallery's ids are {self.words}, as they were when it was built"
                    ) from None

    def beyond(self, item: object) -> bool:
        """Tell a whole number of more than 64 bits: of this kind, and held by no gallery."""
        whole = isinstance(item, int | np.integer) and not isinstance(item, bool)
        return self.kind is int and whole and not -MOST <= int(cast(int, item)) < MOST

    def joined(self, ids: Sequence[Any]) -> bytes:
        """Return the bytes of ids; where ids are of any size, a zero byte stands between two.

        Raises:
            Exception: one of ``OTHERS``; one is of another kind.
        """
        if self.size is None:
            return "\0".join(ids).encode("utf-8", "surrogatepass")
        return self.pack(ids)[0]

    def read(self, texts: Sequence[str]) -> list[Any]:
        """Return the ids that texts stand for, as files and command lines have them.

        Raises:
            ShortlistError: a text is no such id.
        """
        found = []
        for place, text in enumerate(texts):
            try:
                found.append(self.parse(text))
            except ValueError:
                raise ShortlistError(
                    f"id {shown(text)} (position {place}) cannot be one of the gallery's, which "
                    f"are {self.words}"
                ) from None
        return found

    def bytes_of(self, item: Any) -> bytes:
        """Return the bytes of one id."""
        raw, ends, _ = self.pack([item])
        return raw[: int(ends[0])]

    def _fits(self, item: Any) -> bool:
        try:
            self.pack([item])
        except OTHERS:
            return False
        return True


@cache
def _kernels() -> Any:
    from patchrerank.kernels import zeros

    return zeros


def _pack_text(ids: Sequence[str]) -> Packed:
    raw = "\0".join([*ids, ""]).encode("utf-8", "surrogatepass")  # a half of a pair, too
    stops = _kernels().zeros_of(raw, len(ids))
    if len(stops) == len(ids):
        return raw, stops, 1
    parts = [item.encode("utf-8", "surrogatepass") for item in ids]  # some hold zeros
    return b"".join(parts), np.cumsum([len(part) for part in parts], dtype=np.int64), 0


def _pack_numbers(ids: Sequence[int]) -> Packed:
    numbers = np.asarray(ids)
    if isinstance(ids, list | tuple) and not {bool, np.bool_}.isdisjoint(map(type, ids)):
        raise TypeError("truth values")
    if numbers.dtype.kind not in "iu" and len(ids):
        raise TypeError("no whole numbers")
    if numbers.dtype.kind == "u" and len(ids) and numbers.max() >= MOST:
        raise OverflowError("beyond 64 bits")
    return numbers.astype("<i8").tobytes(), np.arange(1, len(ids) + 1) * 8, 0


def _pack_uuids(ids: Sequence[UUID]) -> Packed:
    return b"".join([item.bytes for item in ids]), np.arange(1, len(ids) + 1) * 16, 0


def _text(raw: bytes) -> str:
    return str(raw, "utf-8")


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, "little", signed=True)


def _uuid(raw: bytes) -> UUID:
    return UUID(bytes=bytes(raw))


def _read_number(text: str) -> int:
    if not NUMBER.fullmatch(text):
        raise ValueError(text)
    return int(text)


ID_TYPES = {
    "text": IdType("text", str, "text", "UTF-8", None, _pack_text, _text, str),
    "int": IdType(
        "int", int, "whole numbers", "number of 64 bits", 8, _pack_numbers, _number, _read_number
    ),
    "uuid": IdType("uuid", UUID, "UUIDs", "UUID", 16, _pack_uuids, _uuid, UUID),
}


def bytes_of(ids: Sequence[Any]) -> bytes:
    """Return the bytes of ids of one kind, one behind the other, as a gallery keeps them."""
    kind = next((one for one in ID_TYPES.values() if ids and isinstance(ids[0], one.kind)), None)
    if kind is None or kind.size is None:
        return "".join(ids).encode("utf-8")
    return kind.pack(ids)[0]
