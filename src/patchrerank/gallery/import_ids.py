"""The ids of an import: of one kind, unique, packed as a gallery keeps them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

from patchrerank.errors import GalleryError, PatchRerankError, SettingError, described, shown
from patchrerank.gallery.id_table import Table, table_size
from patchrerank.gallery.id_types import ID_TYPES
from patchrerank.json_files import read_json
from patchrerank.numpy_files import map_npy
from patchrerank.types import Rows

BLOCK = 1 << 16
KIND_OF = {str: "text", np.str_: "text", int: "int", UUID: "uuid"}
NAMED = {"text": "text", "int": "a whole number", "uuid": "a UUID"}
UUID_BYTES = 16


@dataclass(frozen=True)
class PackedIds:
    """N ids.

    Attributes:
        kind: what they are: a name in :data:`patchrerank.gallery.id_types.ID_TYPES`.
        blob: uint8, the bytes of all, one behind the other.
        ends: int64 ``(N,)``, where each ends.
    """

    kind: str
    blob: npt.NDArray[np.uint8]
    ends: Rows

    def __len__(self) -> int:
        return len(self.ends)

    @cached_property
    def table(self) -> Table:
        """Where each id is found, see :mod:`patchrerank.kernels.ids`.

        Raises:
            GalleryError: one stands twice.
        """
        from patchrerank.kernels.ids import table_of

        table, twice = table_of(self.blob, self.ends, table_size(len(self)))
        if twice >= 0:
            raise GalleryError(
                f"ids: {self.named(twice)} stands twice, the second time at position {twice}; each "
                "image needs its own"
            )
        return table

    def named(self, row: int) -> str:
        """Return one id as messages show it."""
        begin = int(self.ends[row - 1]) if row else 0
        return shown(ID_TYPES[self.kind].unpack(self.blob[begin : self.ends[row]].tobytes()))


def pack_ids(ids: Any, id_type: str | None = None, *, unique: bool = True) -> PackedIds:
    """Return ids packed, after checking them.

    Args:
        ids: texts, whole numbers or UUIDs: a list, a numpy array (UUIDs also as uint8
            ``(N, 16)``), or a file: ``.npy``, ``.json`` (a list), else text with one id a line.
        id_type: what they are, where text stands for numbers or UUIDs; None: what is given.
        unique: refuse one that stands twice now; otherwise their table does, when it is made.

    Raises:
        GalleryError: none; one is empty, of another kind than the first, or stands twice.
        SettingError: an unknown ``id_type``.
    """
    if id_type is not None and id_type not in ID_TYPES:
        raise SettingError(f"id_type is {id_type!r}; use {', '.join(ID_TYPES)}")
    values = read_ids(ids) if isinstance(ids, str | os.PathLike) else ids
    packed = _packed(values, id_type)
    if not len(packed):
        raise GalleryError("there are no ids; an import needs one for each image")
    _ = packed.table if unique else None
    return packed


def read_ids(path: str | os.PathLike[str]) -> Any:
    """Read a file of ids: ``.npy``, ``.json`` (what it holds), else text with one id a line.

    Raises:
        GalleryError: it cannot be read.
    """
    where = Path(path)
    if where.suffix == ".npy":
        return map_npy(where, GalleryError)
    try:
        if where.suffix == ".json":
            return read_json(where)
        lines = where.read_bytes().decode("utf-8").removeprefix("\ufeff").split("\n")
    except UnicodeDecodeError as error:
        raise GalleryError(f"{where}: is no UTF-8 text ({error})") from error
    except OSError as error:
        raise GalleryError(f"{where}: cannot be read ({error.strerror or error})") from error
    return [line.removesuffix("\r") for line in lines[: -1 if not lines[-1] else None]]


def _packed(values: Any, id_type: str | None) -> PackedIds:
    if isinstance(values, np.ndarray):
        if values.dtype == np.uint8 and values.ndim == 2 and values.shape[1] == UUID_BYTES:
            return _of_one_size("uuid", np.asarray(values).reshape(-1), len(values), id_type)
        if values.ndim != 1 or values.dtype.kind not in "iuUSO":
            raise GalleryError(
                f"ids: an array of {values.dtype} {values.shape}; use text or whole numbers (N,), "
                "or uint8 (N, 16) for UUIDs"
            )
        if values.dtype.kind in "iu":
            if values.dtype.kind == "u" and len(values) and values.max() >= 1 << 63:
                raise GalleryError(f"ids: {values.max()} does not fit into 64 bits with a sign")
            numbers = np.ascontiguousarray(values, dtype="<i8")
            return _of_one_size("int", numbers.view(np.uint8), len(values), id_type)
    if not isinstance(values, Iterable) or isinstance(values, Mapping):
        raise GalleryError(f"the ids are {described(values)}; pass a list, one for each image")
    return _of_objects(iter(values), id_type)


def _of_one_size(
    kind: str, blob: npt.NDArray[np.uint8], count: int, id_type: str | None
) -> PackedIds:
    if id_type not in (None, kind):
        raise GalleryError(f"the ids are {ID_TYPES[kind].words}, and id_type is {id_type!r}")
    size = ID_TYPES[kind].size or 0
    return PackedIds(kind, blob, np.arange(1, count + 1, dtype=np.int64) * size)


def _of_objects(items: Iterator[Any], id_type: str | None) -> PackedIds:
    kind, blobs, sizes, first = "", [], [np.zeros(0, np.int64)], 0
    while block := list(islice(items, BLOCK)):
        block = [_plain(item) for item in block]
        kind = kind or _kind_of(block[0], 0)
        _check_kinds(block, kind, first)
        raw, lengths = _bytes_of(block, kind, id_type, first)
        blobs.append(raw)
        sizes.append(np.array(lengths, dtype=np.int64))
        first += len(block)
    blob = np.frombuffer(b"".join(blobs), dtype=np.uint8)
    return PackedIds(id_type or kind or "text", blob, np.cumsum(np.concatenate(sizes)))


def _plain(item: Any) -> Any:
    if isinstance(item, np.integer):
        return int(item)
    return item.decode("utf-8", "surrogateescape") if isinstance(item, bytes) else item


def _kind_of(item: Any, place: int) -> str:
    kind = KIND_OF.get(type(item))
    if kind is None:
        raise GalleryError(
            f"ids: {shown(item)} at position {place} is a {type(item).__name__}; ids are text, "
            "whole numbers or UUIDs"
        )
    return kind


def _check_kinds(block: Sequence[Any], kind: str, first: int) -> None:
    if {KIND_OF.get(one) for one in set(map(type, block))} == {kind}:
        return
    for place, item in enumerate(block, first):
        other = _kind_of(item, place)
        if other != kind:
            raise GalleryError(
                f"ids: {shown(item)} at position {place} is {NAMED[other]}, those before it are "
                f"{ID_TYPES[kind].words}; all must be of one kind"
            )


def _bytes_of(
    block: list[Any], kind: str, id_type: str | None, first: int
) -> tuple[bytes, list[int]]:
    """Return the bytes of ids, and how many each has."""
    if id_type not in (None, kind) and kind != "text":
        raise GalleryError(f"the ids are {ID_TYPES[kind].words}, and id_type is {id_type!r}")
    wanted = ID_TYPES[id_type or kind]
    try:
        parsed = [wanted.parse(item) for item in block] if kind == "text" else block
        if wanted.size is not None:
            return wanted.pack(parsed)[0], [wanted.size] * len(block)
        raws = [item.encode() for item in parsed]
    except (PatchRerankError, ValueError, OverflowError, TypeError):
        if len(block) > 1:  # one by one, to say which
            for place, item in enumerate(block, first):
                _bytes_of([item], kind, id_type, place)
        raise GalleryError(
            f"ids: {shown(block[0])} at position {first} is no {wanted.encoded}"
        ) from None
    if not all(raws):
        empty = first + next(place for place, raw in enumerate(raws) if not raw)
        raise GalleryError(f"ids: the one at position {empty} is empty; each names an image")
    return b"".join(raws), list(map(len, raws))
