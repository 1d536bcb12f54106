"""Pictures that come as open files, and texts that name no file."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

from patchrerank.errors import ImageError, short_reason, shortened

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
EXPECTED = "the path of a picture, its bytes, an open binary file or a PIL picture"


def held(source: Any) -> Any:
    """Return a picture's source that can be read again: of an open file its bytes.

    A file is read from its beginning, as Pillow does, and left where it stood; one that cannot
    seek is read to its end. Sources of other kinds come back as they are.

    Raises:
        ImageError: the file is open as text, closed, or cannot be read.
    """
    if isinstance(source, bytearray | memoryview):
        return bytes(source)
    return _content(source) if hasattr(source, "read") else source


def why_missing(name: str) -> str:
    """Return what an error says of a text that is no file: what it looks like instead."""
    shown = shortened(name)
    if name.startswith("data:"):
        return f"{shown}: a data URI is not read; pass its bytes, base64.b64decode(…)"
    if ADDRESS.match(name):
        return f"{shown}: addresses are not fetched; pass {EXPECTED}"
    try:
        if Path(name).is_dir():
            return f"{shown}: no such file, it is a folder; pass {EXPECTED}"
    except PermissionError as error:
        return f"{shown}: cannot be read ({error.strerror})"
    except OSError:  # too long for any path
        return f"{shown}: no such file, and too long a name for one; pass {EXPECTED}"
    if not Path(name).suffix:
        return f"{shown}: no such file; pass {EXPECTED}, not words"
    return f"{shown}: no such file"


def _content(stream: Any) -> bytes:
    name = shortened(str(getattr(stream, "name", None) or f"<{type(stream).__name__}>"))
    if isinstance(stream, io.TextIOBase):
        raise ImageError(f"{name}: is open as text; open it as bytes, open(path, 'rb')")
    try:
        content = _whole(stream)
    except Exception as error:  # files of any library raise whatever they like
        raise ImageError(f"{name}: cannot be read ({short_reason(error)})") from error
    if isinstance(content, bytes | bytearray | memoryview):
        return bytes(content)
    if hasattr(content, "close"):  # a coroutine that nobody will wait for
        content.close()
    raise ImageError(f"{name}: read() gave a {type(content).__name__}, not bytes; pass its bytes")


def _whole(stream: Any) -> object:
    if not (hasattr(stream, "seek") and hasattr(stream, "tell") and _can_seek(stream)):
        return stream.read()
    where = stream.tell()
    stream.seek(0)
    try:
        return stream.read()
    finally:
        stream.seek(where)


def _can_seek(stream: Any) -> bool:
    return bool(stream.seekable()) if hasattr(stream, "seekable") else True
