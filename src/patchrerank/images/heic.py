"""HEIC and HEIF: what iPhones write, read where the package pillow-heif is installed."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from typing import TYPE_CHECKING

from patchrerank.errors import MissingExtraError

if TYPE_CHECKING:
    from PIL import Image

HEIC_SUFFIXES = (".heic", ".heif", ".hif")

HEAD = 32
"""Bytes at the start of a file that tell HEIC from everything else."""

BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
REMEDY = 'pip install "patchrerank[heic]"'


def can_read_heic() -> bool:
    """Return whether pillow-heif is installed."""
    return importlib.util.find_spec("pillow_heif") is not None


def is_heic(head: bytes) -> bool:
    """Return whether a file that begins so is HEIC or HEIF, but not AVIF, which Pillow reads."""
    return head[4:8] == b"ftyp" and head[8:12] in BRANDS and b"avif" not in head[8:]


def open_heic(file: Path | io.BytesIO, name: str) -> Image.Image:
    """Open a file without decoding it; the decoder turns it upright, whatever its EXIF said.

    Raises:
        MissingExtraError: pillow-heif is not installed.
    """
    try:
        from pillow_heif.as_plugin import HeifImageFile
    except ImportError as error:
        raise MissingExtraError(
            f"{name}: HEIC needs the package pillow-heif; install it with: {REMEDY}"
        ) from error
    opened: Image.Image = HeifImageFile(file)
    return opened
