"""faiss index files that anybody may have written: opened within bounds, mapped, read-only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from patchrerank.errors import GalleryError, shown
from patchrerank.file_bounds import check_memory

BINARY = b"IB"
"""How files of indexes of bits begin."""

MAPPED = (b"Iw", b"IxPT", b"IxM", b"IxRF")
"""How files begin that faiss maps, or may: IVF, and what may stand around it. Others it loads.

All would be mapped with ``IO_FLAG_MMAP_IFC``, which takes a file that lacks up to seven bytes.
"""

TABLES = 1 << 31
"""Bytes of tables that faiss computes when it opens an index, at most."""

MOST_BYTES = 1 << 40

LONGEST_REASON = 160


def open_index(path: str | os.PathLike[str]) -> Any:
    """Open a faiss index file; what is in it stays on disk where faiss can map it.

    Args:
        path: as ``faiss.write_index`` wrote it.

    Returns:
        The ``faiss.Index``, trained, of its own class.

    Raises:
        GalleryError: there is no file, it is none of faiss, cut short or damaged, an index of
            bits, not trained, or needs more memory than is free.
    """
    where = os.fspath(path)
    _check_begin(where)
    import faiss

    try:
        with _bounded(os.path.getsize(where)):
            index = faiss.read_index(where, faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
    except (RuntimeError, MemoryError) as error:
        raise GalleryError(
            f"{where}: no faiss index that can be read ({_reason(error)}); damaged or cut short? "
            "Write it again with faiss.write_index"
        ) from error
    if not index.is_trained:
        raise GalleryError(f"{where}: this {type(index).__name__} is not trained, it finds nothing")
    return index


def _check_begin(where: str) -> None:
    try:
        with Path(where.encode("utf-8").decode()).open("rb") as file:
            begin = file.read(4)
    except (OSError, ValueError) as error:  # ValueError: names that faiss does not take
        reason = getattr(error, "strerror", None) or str(error)
        raise GalleryError(f"{where}: cannot be read ({reason})") from error
    if begin.startswith(BINARY):
        raise GalleryError(
            f"{where}: a binary faiss index, of bits; vectors of numbers are needed here: build "
            "an index of those"
        )
    if begin[:1] != b"I":
        raise GalleryError(
            f"{where}: no faiss index, it begins with {shown(begin)}; use a file written by "
            "faiss.write_index"
        )
    if not begin.startswith(MAPPED):
        check_memory(os.path.getsize(where), where, GalleryError)


@contextmanager
def _bounded(size: int) -> Iterator[None]:
    """Let faiss refuse arrays that are larger than the file, before it makes room for them."""
    import faiss

    if not hasattr(faiss, "set_deserialization_vector_byte_limit"):
        yield
        return
    before = faiss.get_deserialization_vector_byte_limit()
    faiss.set_deserialization_vector_byte_limit(min(before or MOST_BYTES, size + TABLES))
    try:
        yield
    finally:
        faiss.set_deserialization_vector_byte_limit(before)


def _reason(error: Exception) -> str:
    """Return the end of faiss' message, which says what failed behind where it did."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.rpartition(": Error: ")[2].rpartition(".cpp:")[2][-LONGEST_REASON:]
