"""Small galleries of vectors, with what stores trip over: odd ids, ragged sets of patches."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from patchrerank.gallery import Gallery, import_gallery
from patchrerank.types import Floats, Hit, Queries

CLOSE = 1e-5
DIM = 8
COUNTS = (3, 0, 1, 7, 2)
"""Patches of each image of a made gallery; one has none."""

KINDS: dict[str, list[Any]] = {
    "text": ["a/b.jpg", 'it\'s "ö" \\ one.png', "x" * 300, "0", "%_"],
    "int": [7, 0, -3, 2**62, 12],
    "uuid": [UUID(int=number) for number in (5, 1, 2**100, 9, 3)],
}
"""Ids of each kind, of which some are traps."""


def made_gallery(
    folder: Path, kind: str = "text", store: str = "float32", *, changed: bool = False
) -> Gallery:
    """Write a gallery of random vectors: five images with ragged sets of patches.

    Args:
        folder: of the gallery.
        kind: of ids.
        store: how patches are stored.
        changed: the first image has one patch less, and the last image is gone.
    """
    source = np.random.default_rng(4)
    images, patches = len(COUNTS), sum(COUNTS)
    boxes = np.sort(source.random((patches, 2, 2)), axis=1).reshape(-1, 4).astype(np.float32)
    globals_, locals_ = _units(source, images), _units(source, patches)
    first, last = (1, images - 1) if changed else (0, images)
    counts = [COUNTS[0] - first, *COUNTS[1:last]]
    these = slice(first, first + sum(counts))
    return import_gallery(
        folder,
        KINDS[kind][:last],
        globals_[:last],
        locals_[these],
        np.array(counts),
        boxes=boxes[these],
        encoder="made",
        store=store,
        progress=False,
    )


def made_queries(number: int = 4) -> Queries:
    """Return random queries for a made gallery."""
    return Queries(_units(np.random.default_rng(5), number))


def _units(source: np.random.Generator, number: int) -> Floats:
    found = source.normal(size=(number, DIM))
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), dtype=np.float32)


def assert_same(found: list[Hit], expected: list[Hit]) -> None:
    """Compare hits by id: component scores to 1e-5, and boxes; equal scores in any order."""
    assert len(found) == len(expected)
    known = {hit.id: hit for hit in expected}
    for hit in found:
        twin = known[hit.id]
        assert hit.local_score == pytest.approx(twin.local_score, abs=CLOSE)
        assert hit.score == pytest.approx(twin.score, abs=CLOSE)
        assert hit.box == (None if twin.box is None else pytest.approx(twin.box, abs=1e-6))
        assert hit.status == twin.status
