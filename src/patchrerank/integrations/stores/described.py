"""What a store says of its vectors, read when it is first asked."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from patchrerank.errors import GalleryError
from patchrerank.gallery.manifest import Manifest
from patchrerank.integrations.stores.adapter import StoreAdapter
from patchrerank.integrations.stores.local import read_local_text
from patchrerank.integrations.stores.notes import (
    LOCAL,
    SAMPLE,
    WHITENED,
    read_note,
    read_sample,
    read_whitening,
)
from patchrerank.integrations.stores.space import read_space
from patchrerank.types import Floats

if TYPE_CHECKING:
    from patchrerank.encoders import Whitening
    from patchrerank.gallery.local_manifest import LocalManifest

TOLD = ("space", "gallery", "whitening", "local_manifest", "local_sample")
"""Attributes that are read anew after a push."""


class DescribedStore(StoreAdapter):
    """A store that a gallery was pushed into."""

    @cached_property
    def space(self) -> Manifest:
        """What its vectors are.

        Raises:
            GalleryError: no gallery was pushed here.
        """
        text = self._read_space()
        if text is None:
            raise GalleryError(f"{self.name}: no gallery was pushed here; call push(gallery)")
        return read_space(text, self.name)

    def _note(self, name: str) -> bytes | None:
        return read_note(name, self._kept, self.name)

    @cached_property
    def whitening(self) -> Whitening | None:
        """The whitening of the gallery that was pushed; None: its vectors are not whitened.

        Raises:
            GalleryError: no gallery was pushed, or the push was cut off before its whitening.
        """
        if not self.space.whitened:
            return None
        content = self._note(WHITENED)
        if content is None:
            raise GalleryError(f"{self.name}: lacks the whitening; push the gallery again")
        return read_whitening(content)

    @cached_property
    def local_manifest(self) -> LocalManifest | None:
        """What the local descriptors are that were pushed; None: there are none."""
        content = self._note(LOCAL) if self.holds_local else None
        return None if content is None else read_local_text(content.decode(), self.name)

    @cached_property
    def local_sample(self) -> Floats:
        """Local descriptors of the gallery, evenly spaced, float32 ``(n, D)``."""
        content = self._note(SAMPLE)
        if content is None:
            raise GalleryError(f"{self.name}: lacks the sample; push the gallery again")
        return read_sample(content)
