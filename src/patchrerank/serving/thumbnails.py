"""Small versions of a gallery's own pictures."""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from typing import Any

from patchrerank.images import read_image
from patchrerank.serving.engine import Engine

SIZES = 16, 1024
"""Longest side of a thumbnail, in pixels: least and most."""

USUAL = 256
QUALITY = 85
MOST_BYTES = 64 << 20


class Thumbnails:
    """JPEG thumbnails, the last ones kept.

    Args:
        engine: whose pictures they are.
        most: bytes that are kept.
    """

    def __init__(self, engine: Engine, most: int = MOST_BYTES) -> None:
        self._engine, self._most = engine, most
        self._kept: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, image_id: Any, side: int = USUAL) -> bytes:
        """Return the JPEG of a gallery's picture, upright, its longest side cut to ``side``.

        Raises:
            ShortlistError: the gallery does not hold the id.
            ImageError: the picture is not there, or cannot be read.
        """
        side = min(max(side, SIZES[0]), SIZES[1])
        now = self._engine.current
        key = (now.stamp, now.row_of(image_id), side)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = _thumbnail(now.gallery.pictures[key[1]], side)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self._bytes += len(made)
            while self._bytes > self._most:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return made


def side_of(text: str | None) -> int:
    """Return the side that an address asks for; what is no number counts as none."""
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 6:
        return USUAL
    return int(text)


def tag_of(content: bytes) -> str:
    """Return what tells one thumbnail from another, as ``ETag`` has it."""
    return f'"{hashlib.sha256(content).hexdigest()[:24]}"'


def _thumbnail(source: Any, side: int) -> bytes:
    picture = read_image(source, min_size=(side, side))
    picture.thumbnail((side, side))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
