"""What stands beside vectors, of any length, in stores of short texts: a whitening, a sample."""

from __future__ import annotations

import base64
import binascii
import io
import json
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from patchrerank.errors import GalleryError
from patchrerank.gallery import Gallery
from patchrerank.gallery.gallery import WHITENING
from patchrerank.integrations.stores.local import local_text
from patchrerank.numpy_files import read_npy
from patchrerank.types import Floats

if TYPE_CHECKING:
    from patchrerank.encoders import Whitening

WHITENED, LOCAL, SAMPLE = "whitening", "local", "local-sample"
"""Names of notes."""

PIECE = 60_000
"""Characters of a text; Milvus takes 65,535."""
AT_ONCE = 64
"""Texts that are written or asked for at once."""

Keep = Callable[[Mapping[str, str]], None]
Kept = Callable[[Sequence[str]], Mapping[str, str]]


def notes_of(gallery: Gallery, *, local: bool) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of a gallery's notes: its whitening; what its local descriptors are.

    Raises:
        GalleryError: it has no local descriptors.
    """
    if gallery.manifest.whitened:
        yield WHITENED, (gallery.place / WHITENING).read_bytes()
    if local:
        sample = gallery.local.sample()
        halves = sample.astype(np.float16)
        exact = gallery.local.manifest.store == "float16" and (halves == sample).all()
        stream = io.BytesIO()
        np.save(stream, halves if exact else sample, allow_pickle=False)
        yield SAMPLE, stream.getvalue()
        yield LOCAL, local_text(gallery.local).encode()


def write_note(name: str, content: bytes, keep: Keep, kept: Kept) -> None:
    """Write a note in pieces, what names their number and sum last; not if it is there."""
    text = base64.b64encode(content).decode()
    head = json.dumps({"length": len(text), "crc32": zlib.crc32(content)})
    if kept([name]).get(name) == head:
        return
    names = _pieces(name, len(text))
    pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    found = dict(zip(names, pieces, strict=True))
    for start in range(0, len(names), AT_ONCE):
        keep({piece: found[piece] for piece in names[start : start + AT_ONCE]})
    keep({name: head})


def read_note(name: str, kept: Kept, store: str) -> bytes | None:
    """Return what :func:`write_note` wrote; None: nothing.

    Args:
        name: of the note.
        kept: gives the texts of names that are there.
        store: its name, for the error.

    Raises:
        GalleryError: it is damaged, or a push that was to replace it was cut off.
    """
    head = kept([name]).get(name)
    if head is None:
        return None
    try:
        known = json.loads(head)
        names, parts = _pieces(name, known["length"]), ""
        for start in range(0, len(names), AT_ONCE):
            some = names[start : start + AT_ONCE]
            found = kept(some)
            parts += "".join(found[piece] for piece in some)
        content = base64.b64decode(parts, validate=True)
        if zlib.crc32(content) != known["crc32"]:
            raise ValueError("another sum")
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise GalleryError(
            f"{store}: what it says of its {name} is damaged, or a push was cut off; push the "
            "gallery again"
        ) from error
    return content


def _pieces(name: str, length: int) -> list[str]:
    return [f"{name}/{number}" for number in range(-(-length // PIECE))]


def read_whitening(content: bytes) -> Whitening:
    """Return the whitening of a note."""
    from patchrerank.encoders import Whitening

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / WHITENING
        path.write_bytes(content)
        return Whitening.load(path)


def read_sample(content: bytes) -> Floats:
    """Return the descriptors of a note, float32 ``(n, D)``."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sample.npy"
        path.write_bytes(content)
        return np.asarray(read_npy(path, GalleryError), dtype=np.float32)
