"""Pictures in requests: data URIs, base64, or addresses that may be fetched."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Any

from patchrerank.errors import shown
from patchrerank.images import PictureBytes, upright_size
from patchrerank.serving.refusals import RequestError

BASE64_HEADS = ("/9j/", "iVBORw0KGgo", "UklGR", "R0lGOD", "SUkq", "TU0AK", "Qk")
"""How JPEG, PNG, WebP, GIF, TIFF and BMP begin."""

SHORTEST = 200
"""Characters of base64 that are taken for a picture where words or ids might stand."""


SHORTEST_URI = 40
"""Characters of a data URI that can be one of a picture."""


@dataclass(frozen=True)
class Sent:
    """A picture as it was sent.

    Attributes:
        text: a data URI, base64, or an address.
        name: what messages call it.
    """

    text: str
    name: str

    @property
    def is_address(self) -> bool:
        """Whether it must be fetched."""
        return self.text[:8].lower().startswith(("http://", "https://"))


def is_picture(text: str) -> bool:
    """Tell a picture from words and ids."""
    if text.startswith("data:"):
        return True
    return len(text) >= SHORTEST and text.startswith(BASE64_HEADS)


def sent_picture(value: Any, name: str) -> Sent:
    """Return a picture that stands where only a picture can.

    Raises:
        RequestError: it is no text.
    """
    if not isinstance(value, str) or not value:
        raise RequestError(
            f"{name}: a picture is a data URI, base64 or an address, not a {_of(value)}"
        )
    return Sent(value, name)


def decoded(sent: Sent) -> bytes:
    """Return the bytes of a data URI or of base64.

    Raises:
        RequestError: it is none.
    """
    text = sent.text
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise RequestError(f"{sent.name}: its data URI is not 'data:image/…;base64,…'")
    try:
        return base64.b64decode("".join(text.split()) if "\n" in text else text, validate=True)
    except (binascii.Error, ValueError):
        raise RequestError(
            f"{sent.name}: {shown(text[:40])} is neither a data URI nor base64 nor an address"
        ) from None


def checked(content: bytes, name: str, max_pixels: int) -> PictureBytes:
    """Return a picture whose header was read: it is one, and not too large.

    Raises:
        ImageError: it is none, or declares more pixels.
    """
    held = PictureBytes(content, name)
    upright_size(held, max_pixels=max_pixels)
    return held


def digest_of(content: bytes) -> str:
    """Return what a picture is known by."""
    return hashlib.sha256(content).hexdigest()


def _of(value: Any) -> str:
    return "text of no characters" if value == "" else type(value).__name__
