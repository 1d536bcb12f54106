"""The members of a tar file, header by header; nothing is extracted, and data is passed over.

The headers are those of POSIX (ustar, pax) and GNU. Members follow each other to the end of the
file, so archives that were written one behind the other are read as one.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from patchrerank.addresses import Place
from patchrerank.errors import GalleryError

BLOCK = 512
PIECE = 1 << 16
MOST_EXTENDED = 1 << 20
"""Bytes of one extended header (long names, pax): more is no archive of pictures."""
WITHOUT_DATA = {
    tarfile.LNKTYPE: "links",
    tarfile.SYMTYPE: "links",
    tarfile.CHRTYPE: "devices and pipes",
    tarfile.BLKTYPE: "devices and pipes",
    tarfile.FIFOTYPE: "devices and pipes",
    tarfile.DIRTYPE: "folders",
}
REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
EXTENDED = (*PAX, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
AGAIN = (
    "copy or download it again, or pass over what is lost with on_error='skip' (--on-error skip)"
)


class Member(NamedTuple):
    """One member: its name, what it is, and where it lies, in bytes.

    Attributes:
        name: as the archive has it; no path that anything is written to.
        kind: empty for a file, else in words.
        begin: offset of its first header.
        data: offset of its content.
        size: of its content.
    """

    name: str
    kind: str
    begin: int
    data: int
    size: int


def is_whole(path: Place) -> bool:
    """Return whether a tar file ends as one does: with two blocks of zeros."""
    size = path.stat().st_size
    if size < 2 * BLOCK or size % BLOCK:
        return False
    with path.open("rb") as file:
        file.seek(size - 2 * BLOCK)
        return not any(file.read())


def members(file: BinaryIO, path: Place, start: int = 0) -> Iterator[Member]:
    """Yield the members from an offset on, which must be that of a header.

    Raises:
        GalleryError: a damaged header, or the file ends within a member or without an end mark;
            names the file, the member before and the offset.
    """
    size = path.stat().st_size
    at, begin, before, marked = start, start, "", 0 < start == size
    named: dict[bytes, bytes] = {}
    while at < size:
        file.seek(at)
        block = file.read(BLOCK)
        if not any(block):
            at, marked = _behind_zeros(file, at, size), True
            begin = at
            continue
        info = _header(block, path, at, before)
        marked, data = False, at + BLOCK
        if info.type == tarfile.GNUTYPE_SPARSE:
            data = _behind_sparse(file, block, data)
        length = int(named.get(b"size", info.size)) if info.type not in EXTENDED else info.size
        at = data if info.type in WITHOUT_DATA else data + -(-length // BLOCK) * BLOCK
        if length < 0 or (info.type in EXTENDED and length > MOST_EXTENDED):
            raise _damaged(path, begin, before, f"declares {length:,} bytes")
        if max(at, data) > size:
            inside = f"within {info.name!r}" if info.type not in EXTENDED else f"behind {before!r}"
            raise GalleryError(f"{path}: is cut short {inside}, at byte {size:,}; {AGAIN}")
        if info.type in EXTENDED:
            named |= _extended(info.type, file.read(length), path, begin, before)
            continue
        name = named[b"path"].decode("utf-8", "surrogateescape") if b"path" in named else info.name
        yield Member(name, _kind(info, named), begin, data, length)
        begin, before, named = at, name, {}
    if not marked:
        raise GalleryError(
            f"{path}: is cut short behind {before!r}, at byte {size:,}: its end is not marked; "
            f"{AGAIN}"
        )


def read_content(path: Place, at: int, size: int) -> tuple[bytes, str]:
    """Return the content of the member whose content lies at an offset, and its name.

    Raises:
        GalleryError: there is no such member (any more).
        OSError: the file cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        file.seek(at - BLOCK)
        found = file.read(BLOCK + size)
    block, content = found[:BLOCK], found[BLOCK:]
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        info = None
    if info is None or info.size != size or len(content) != size:
        raise GalleryError(
            f"{path}: holds no picture of {size:,} bytes at byte {at:,} any more; it is another "
            "file than the one that was indexed: restore that one, or index again"
        )
    return content, info.name


def _header(block: bytes, path: Place, at: int, before: str) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        if len(block) < BLOCK:
            raise GalleryError(
                f"{path}: is cut short behind {before!r}, at byte {at + len(block):,}; {AGAIN}"
            ) from error
        raise _damaged(path, at, before, f"is damaged ({error})") from error


def _damaged(path: Place, at: int, before: str, why: str) -> GalleryError:
    behind = f"behind {before!r}" if before else "at its beginning"
    return GalleryError(f"{path}: the header {behind}, at byte {at:,}, {why}; {AGAIN}")


def _behind_zeros(file: BinaryIO, at: int, size: int) -> int:
    """Return the offset of the first block behind an offset that is not all zeros."""
    file.seek(at)
    while piece := file.read(PIECE):
        filled = len(piece) - len(piece.lstrip(b"\0"))
        if filled < len(piece):
            return at + filled // BLOCK * BLOCK
        at += len(piece)
    return size


def _behind_sparse(file: BinaryIO, block: bytes, data: int) -> int:
    """Return where the content of an old GNU sparse member begins: behind its map."""
    more = block[482]
    while more:
        file.seek(data)
        block = file.read(BLOCK)
        data, more = data + BLOCK, block[504] if len(block) == BLOCK else 0
    return data


def _extended(kind: bytes, raw: bytes, path: Place, at: int, before: str) -> dict[bytes, bytes]:
    """Return what an extended header says of the member behind it."""
    if kind == tarfile.GNUTYPE_LONGNAME:
        return {b"path": raw.split(b"\0", 1)[0]}
    if kind not in PAX:
        return {}
    found, place = {}, 0
    try:
        while place < len(raw):
            blank = raw.index(b" ", place)
            stop = place + int(raw[place:blank])
            if not blank < stop <= len(raw):
                raise ValueError("no such length")
            key, _, value = raw[blank + 1 : stop - 1].partition(b"=")
            found[key], place = value, stop
        int(found.get(b"size", 0))
    except ValueError as error:
        raise _damaged(path, at, before, "is damaged (no pax records)") from error
    return found


def _kind(info: tarfile.TarInfo, named: dict[bytes, bytes]) -> str:
    if info.type == tarfile.GNUTYPE_SPARSE or any(key.startswith(b"GNU.sparse") for key in named):
        return "sparse files"
    if info.type in REGULAR:
        return ""
    return WITHOUT_DATA.get(info.type, "members of other kinds")
