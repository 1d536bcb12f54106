"""Images as Qdrant's points: ids that it takes, and what a payload holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid5

import numpy as np

from patchrerank.errors import SettingError
from patchrerank.fusion import Fusion
from patchrerank.integrations.stores.records import Record
from patchrerank.types import Floats

GLOBAL, PATCHES = "global", "patches"
"""Names of the vectors."""

NAMESPACE = UUID("5e9c1c0a-3b0e-5d61-9d7c-6a1f0d2b7e11")
ABOUT = str(uuid5(NAMESPACE, "\0about"))
"""The point without vectors whose payload says what the others are."""

KEY, DIGEST, BOXES, SPACE = "key", "digest", "boxes", "space"

STEEPEST = 700.0
"""γ above which exp(−γ·s) leaves the range of numbers, which fails a whole query."""


def point_id(key: str, id_type: str) -> int | str:
    """Return what Qdrant takes for an id: unsigned numbers and UUIDs; others get a UUIDv5."""
    if id_type == "uuid":
        return key
    if id_type == "int" and not key.startswith("-"):
        return int(key)
    return str(uuid5(NAMESPACE, key))


def payload_of(record: Record) -> dict[str, Any]:
    """Return what stands beside an image's vectors."""
    return {KEY: record.key, DIGEST: record.digest, BOXES: record.boxes.tolist()}


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
    return Record(payload[KEY], vector, patches, boxes, payload[DIGEST])


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
