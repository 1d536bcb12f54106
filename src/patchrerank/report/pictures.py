"""Thumbnails of a report: every distinct picture is stored once, as one CSS class."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING

from patchrerank.errors import ImageError
from patchrerank.images import read_image

if TYPE_CHECKING:
    from PIL import Image

JPEG_QUALITY = 78


class PictureSheet:
    """Collects thumbnails and writes them as CSS classes.

    A class carries the picture as its background and the picture's shape, so an element that
    wears it inside a square frame has exactly the picture's borders: what is placed in it by
    relative coordinates sits where it belongs.

    Args:
        long_side: pixels; larger pictures are reduced to it, smaller ones are kept.
    """

    def __init__(self, long_side: int) -> None:
        self._long_side = long_side
        self._names: dict[str | int, str] = {}
        self._rules: dict[str, str] = {}

    def add(self, image: Path | Image.Image, where: str) -> str:
        """Store ``image`` unless it is known, and return its class name.

        Picture objects are known again by identity, so they must live as long as the sheet.

        Raises:
            ImageError: it cannot be read; ``where`` says who wanted it.
        """
        key = _key(image)
        if key not in self._names:
            try:
                picture = read_image(image, min_size=(2 * self._long_side,) * 2)
            except ImageError as error:
                raise ImageError(f"{where}: {error}") from error
            body = _rule_body(picture, self._long_side)
            self._names[key] = self._rules.setdefault(body, f"p{len(self._rules)}")
        return self._names[key]

    def name(self, image: Path | Image.Image) -> str:
        """Return the class name of a picture that was added."""
        return self._names[_key(image)]

    def css(self) -> str:
        """Return one rule for each distinct picture."""
        return "\n".join(f".{name}{{{body}}}" for body, name in self._rules.items())


def _key(image: Path | Image.Image) -> str | int:
    return str(image) if isinstance(image, Path | str) else id(image)


def _rule_body(picture: Image.Image, long_side: int) -> str:
    """Shrink ``picture``; return its share of the frame's width, its shape and pixels as CSS."""
    picture.thumbnail((long_side, long_side))
    width, height = picture.size
    share = 100 * width / max(width, height)
    return (
        f"width:{share:.4g}%;aspect-ratio:{width}/{height};"
        f"background-image:url(data:image/jpeg;base64,{_jpeg(picture)})"
    )


def _jpeg(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True, comment=b"")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
