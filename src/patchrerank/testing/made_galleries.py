"""Small galleries of vectors, with what stores trip over: odd ids, ragged sets of patches."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from patchrerank.gallery import Gallery, LocalVectors, import_gallery
from patchrerank.types import Floats, Hit, LocalDescriptors, LocalQueries, Queries, Rows

CLOSE = 1e-5
DIM = 8
COUNTS = (3, 0, 1, 7, 2)
"""Patches of each image of a made gallery; one has none."""
LOCAL_COUNTS = (5, 16, 0, 9, 12)
"""Local descriptors of each."""
LOCAL_BY = "made densely"

KINDS: dict[str, list[Any]] = {
    "text": ["a/b.jpg", 'it\'s "ö" \\ one.png', "x" * 300, "0", "%_"],
    "int": [7, 0, -3, 2**62, 12],
    "uuid": [UUID(int=number) for number in (5, 1, 2**100, 9, 3)],
}
"""Ids of each kind, of which some are traps."""


def made_gallery(
    folder: Path,
    kind: str = "text",
    store: str = "float32",
    *,
    changed: bool = False,
    rows: slice = slice(None),
    local: str | None = None,
) -> Gallery:
    """Write a gallery of random vectors: five images with ragged sets of patches.

    Args:
        folder: of the gallery.
        kind: of ids.
        store: how patches are stored.
        changed: the first image has one patch less, and the last image is gone.
        rows: which of the images.
        local: how local descriptors are stored; None: there are none.
    """
    source = np.random.default_rng(4)
    images, patches = len(COUNTS), sum(COUNTS)
    boxes = np.sort(source.random((patches, 2, 2)), axis=1).reshape(-1, 4).astype(np.float32)
    globals_, locals_ = _units(source, images), _units(source, patches)
    of_image = np.repeat(np.arange(images), COUNTS)
    kept = np.arange(images)[rows]
    if changed:
        kept, of_image[0] = kept[:-1], -1
    these = np.flatnonzero(np.isin(of_image, kept))
    return import_gallery(
        folder,
        [KINDS[kind][image] for image in kept],
        globals_[kept],
        locals_[these],
        np.bincount(of_image[these], minlength=images)[kept],
        boxes=boxes[these],
        sizes=[(640 + 100 * image, 480) for image in kept],
        local=None if local is None else _descriptors(kept),
        local_store=local or "float16",
        local_encoder=None if local is None else LOCAL_BY,
        encoder="made",
        store=store,
        progress=False,
    )


def _descriptors(kept: Rows) -> LocalVectors:
    """Return ragged sets of local descriptors on a grid of 4 × 4 cells; one image has none."""
    source = np.random.default_rng(6)
    sets = [source.permutation(16)[:count] for count in LOCAL_COUNTS]
    vectors = [_units(source, count) for count in LOCAL_COUNTS]
    cells = np.concatenate([sets[image] for image in kept])
    places = np.stack([cells % 4 + 0.5, cells // 4 + 0.5, 0 * cells], axis=1) / (4, 4, 1)
    counts = np.array([LOCAL_COUNTS[image] for image in kept])
    chosen = np.concatenate([vectors[image] for image in kept])
    return LocalVectors(chosen, places.astype(np.float32), counts)


def made_queries(number: int = 4) -> Queries:
    """Return random queries for a made gallery, with local descriptors."""
    source = np.random.default_rng(5)
    vectors, local = _units(source, number), []
    for count in range(3, 3 + number):
        places = source.random((count, 2), dtype=np.float32)
        scales, weights = np.zeros(count, dtype=np.int16), np.ones(count, dtype=np.float32)
        local.append(LocalDescriptors(_units(source, count), places, scales, weights))
    aspects = np.linspace(0.5, 2.0, number, dtype=np.float32)
    return Queries(vectors, local=LocalQueries(local, LOCAL_BY), aspects=aspects)


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
