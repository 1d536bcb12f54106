"""The encoder and regions that a gallery's own record names, and whether others are as good."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from patchrerank.errors import EncoderError, GalleryError, QueryError, SettingError, described
from patchrerank.gallery.identity import (
    UNKNOWN,
    differences,
    identity_of,
    is_imported,
    is_module,
    loading_call,
)
from patchrerank.gallery.manifest import GIVEN_REGIONS, NO_REGIONS
from patchrerank.regions import Regions, parse_regions
from patchrerank.regions.parsing import ONE_PASS

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder
    from patchrerank.gallery.build_options import OnError
    from patchrerank.gallery.gallery import Gallery


def load_own_encoder(gallery: Gallery, device: str = "auto") -> Encoder:
    """Load the encoder of a gallery's queries: its spec, image size, precision and weights.

    Args:
        gallery: whose record says all of it; its whitening is applied when queries are encoded.
        device: see :func:`patchrerank.encoders.load_encoder`.

    Raises:
        EncoderError: it cannot be loaded, or not by its record (it was a torch module).
        QueryError: what is loaded by that name today has other weights than the gallery's, or
            the gallery was imported.
    """
    from patchrerank.encoders import load_encoder

    record: Mapping[str, Any] = gallery.manifest.encoder
    if is_imported(record):
        raise QueryError(
            f"{gallery.folder}: was imported, with vectors of {record['spec']!r}, which only you "
            "can run: encode the query with it and pass the vector in place of the picture"
        )
    if is_module(record):
        raise EncoderError(
            f"{gallery.folder}: was encoded by a torch module ({record['spec']}), which no record "
            "can load again; pass encoder=load_encoder(module, preprocessing=…), or ready vectors"
        )
    encoder = load_encoder(
        str(record["spec"]),
        image_size=tuple(record["preprocessing"]["image_size"]),
        precision=record["precision"],
        pretrained=bool(record.get("pretrained", True)),
        device=device,
    )
    check_encoder(gallery, encoder)
    return encoder


def load_index_encoder(gallery: Gallery, device: str = "auto") -> Encoder:
    """Load the encoder that a gallery's pictures were encoded with, which pools as it did.

    Raises:
        EncoderError, QueryError: see :func:`load_own_encoder`.
    """
    from patchrerank.encoders import load_one_pass

    encoder, views = load_own_encoder(gallery, device), gallery.manifest.encoder.get("one_pass")
    return encoder if views is None else load_one_pass(encoder, str(views).partition(":")[2])


def check_encoder(gallery: Gallery, encoder: Encoder) -> None:
    """Refuse an encoder whose queries would not live in a gallery's space.

    Raises:
        SettingError: it is no encoder.
        QueryError: says which setting differs, and how the gallery's own encoder is loaded.
    """
    if not hasattr(encoder, "fingerprint"):
        raise SettingError(
            f"the encoder is {described(encoder)}; pass what load_encoder(…) returns, None for "
            "ready vectors, or use load_reranker(…), which opens the gallery's own"
        )
    made = gallery.manifest
    if identity_of(encoder, gallery.whitening) != made.identity:
        other = differences(made.encoder, encoder.describe()) or UNKNOWN
        raise QueryError(
            f"{gallery.folder}: the gallery was encoded otherwise than this encoder does: {other}; "
            f"use {loading_call(made.encoder)}"
        )


def own_regions(
    gallery: Gallery,
    given: Regions | str | None = None,
    *,
    most: int | None = None,
    on_error: OnError = "raise",
) -> Regions:
    """Return the region strategy of a gallery's record, or the one that is given.

    Raises:
        GalleryError: they were read from a file, which no record keeps.
        RegionError: as :func:`patchrerank.regions.parse_regions`.
    """
    if given is not None and not isinstance(given, str):
        return given
    spec = given or gallery.manifest.regions.partition(ONE_PASS)[0]
    if given is None and (spec.startswith("boxes:") or spec in (NO_REGIONS, GIVEN_REGIONS)):
        raise GalleryError(
            f"{gallery.folder}: its regions were read from a file; name the file as it is now with "
            "regions=… (--regions boxes:FILE.json, coco:FILE.json)"
        )
    return parse_regions(spec, most=most, on_error=on_error)
