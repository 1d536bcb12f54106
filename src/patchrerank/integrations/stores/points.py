"""Images as Qdrant's points: ids that it takes, and what a payload holds."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid5

import numpy as np

from patchrerank.errors import SettingError
from patchrerank.fusion import Fusion
from patchrerank.gallery.id_types import MOST
from patchrerank.integrations.stores.records import Record
from patchrerank.types import Floats

GLOBAL, PATCHES = "global", "patches"
"""Names of the vectors."""

NAMESPACE = UUID("5e9c1c0a-3b0e-5d61-9d7c-6a1f0d2b7e11")
SPACE = "about"
"""The note, a point without vectors, whose text says what the others are; written first."""

KEY, DIGEST, BOXES, SIZE, LOCAL, TEXT = "key", "digest", "boxes", "size", "local", "space"
IMAGE = [KEY, DIGEST, BOXES, SIZE]
"""What is fetched beside vectors: not local descriptors."""

STEEPEST = 700.0
"""γ above which exp(−γ·s) leaves the range of numbers, which fails a whole query."""


def point_id(key: str, id_type: str) -> int | str:
    """Return what Qdrant takes for an id: unsigned numbers and UUIDs; others get a UUIDv5."""
    if id_type == "uuid":
        return key
    if id_type == "int" and 0 <= int(key) < MOST:
        return int(key)
    return str(uuid5(NAMESPACE, key))


def note_id(name: str) -> str:
    """Return the id of a note's point, which is no image's."""
    return str(uuid5(NAMESPACE, f"\0{name}"))


def payload_of(record: Record) -> dict[str, Any]:
    """Return what stands beside an image's vectors; local descriptors as base64."""
    known = {KEY: record.key, DIGEST: record.digest, BOXES: record.boxes.tolist()}
    local = {} if record.local is None else {LOCAL: base64.b64encode(record.local).decode()}
    return {**known, SIZE: list(record.size), **local}


def local_of(payload: Mapping[str, Any]) -> tuple[str, bytes]:
    """Return an image's key and its local descriptors."""
    return payload[KEY], base64.b64decode(payload[LOCAL])


def vectors_of(record: Record) -> dict[str, Any]:
    """Return an image's vectors by name; no multivector is empty, it is left out."""
    found: dict[str, Any] = {GLOBAL: record.vector.tolist()}
    if len(record.patches):
        found[PATCHES] = record.patches.tolist()
    return found


def record_of(payload: Mapping[str, Any], vectors: Mapping[str, Any]) -> Record:
    """Return the image of a point."""
    vector = np.asarray(vectors[GLOBAL], dtype=np.float32)
    patches = np.asarray(vectors.get(PATCHES, ()), dtype=np.float32).reshape(-1, len(vector))
    boxes: Floats = np.asarray(payload[BOXES], dtype=np.float32).reshape(-1, 4)
    width, height = payload[SIZE]
    return Record(payload[KEY], vector, patches, boxes, (width, height), None, payload[DIGEST])


def check_formula(fusion: Fusion) -> None:
    """Refuse a fusion that Qdrant's formulas cannot compute.

    Raises:
        SettingError: γ is too large.
    """
    if fusion.gamma > STEEPEST:
        raise SettingError(
            f"gamma is {fusion.gamma:g}; Qdrant's formulas take at most {STEEPEST:g}; rerank with "
            "StorePatchify or StoreReranker"
        )
