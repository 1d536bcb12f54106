"""What a store's vectors are: the part of a gallery's manifest that goes along with them."""

from __future__ import annotations

import json

import numpy as np

from patchrerank.errors import GalleryError, QueryError
from patchrerank.gallery import Gallery
from patchrerank.gallery.id_types import ID_TYPES
from patchrerank.gallery.identity import differences
from patchrerank.gallery.local_manifest import LocalManifest
from patchrerank.gallery.manifest import Manifest
from patchrerank.types import Floats

KEPT = ("dim", "regions", "encoder", "identity", "whitened", "id_type")
"""Entries of a manifest that say what vectors are and who may ask for them."""


def space_text(gallery: Gallery) -> str:
    """Return what is written beside a gallery's vectors, as JSON."""
    return json.dumps({name: getattr(gallery.manifest, name) for name in KEPT}, sort_keys=True)


def read_space(text: str, name: str) -> Manifest:
    """Return a manifest, as far as a store holds one.

    Args:
        text: from :func:`space_text`.
        name: of the store, for the error.

    Raises:
        GalleryError: it is none.
    """
    try:
        record = json.loads(text)
        found = Manifest(store="float32", chunk=1, **{name: record[name] for name in KEPT})
        if not isinstance(found.encoder, dict) or found.id_type not in ID_TYPES:
            raise ValueError("no record of an encoder, or unknown ids")
    except (ValueError, KeyError, TypeError) as error:
        raise GalleryError(
            f"{name}: what it says of its vectors cannot be read ({error}); push a gallery into "
            "another name"
        ) from error
    return found


def check_same(held: Manifest, given: Manifest, name: str) -> None:
    """Refuse to mix vectors of two spaces in one store.

    Raises:
        GalleryError: says what differs.
    """
    if held.identity != given.identity or held.dim != given.dim:
        how = differences(held.encoder, given.encoder) or f"{held.dim}-d then, {given.dim}-d now"
        raise GalleryError(
            f"{name} holds vectors of another encoder ({how}); push into another name"
        )
    for what in ("regions", "id_type"):
        before, now = getattr(held, what), getattr(given, what)
        if before != now:
            raise GalleryError(
                f"{name} holds images of {what.replace('_', ' ')} {before!r}, the gallery has "
                f"{now!r}; push into another name"
            )


def check_same_local(held: LocalManifest | None, given: LocalManifest, name: str) -> None:
    """Refuse to mix local descriptors of two kinds in one store.

    Raises:
        GalleryError: says what differs.
    """
    if held is None or held.plan() == given.plan():
        return
    how = differences(held.encoder, given.encoder) or f"{held.store} then, {given.store} now"
    raise GalleryError(
        f"{name} holds local descriptors that were made otherwise ({how}); push into another name"
    )


def unit_queries(vectors: Floats) -> Floats:
    """Return query vectors ``(Q, d)`` at unit norm.

    Raises:
        QueryError: one has no direction.
    """
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    if not (np.isfinite(norms) & (norms > 0)).all():
        raise QueryError("a query vector has no direction (zeros, NaN or infinite values)")
    return np.asarray(vectors / norms[:, None], dtype=np.float32)
