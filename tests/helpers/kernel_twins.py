"""Slow, obviously right twins of the kernels."""

from __future__ import annotations

import numpy as np

from patchrerank.kernels import (
    Float16Store,
    Float32Store,
    Int8Store,
    PQStore,
    RabitqStore,
    quantise_int8,
    quantise_rabitq,
)
from patchrerank.kernels.rabitq import PLANES, rotate

KINDS = (
    *("float32", "float16", "int8", "pq", "pq4", "pq3"),
    *("rabitq1", "rabitq2", "rabitq3", "rabitq4"),
)


def make_store(kind, vectors, rng):
    if kind == "float32":
        return Float32Store(vectors)
    if kind == "float16":
        return Float16Store(vectors.astype(np.float16))
    if kind == "int8":
        return Int8Store(*quantise_int8(vectors))
    if kind.startswith("rabitq"):
        return RabitqStore(*quantise_rabitq(vectors, int(kind[-1])), vectors.shape[1])
    rows, dim = vectors.shape
    parts = next(parts for parts in (8, 5, 4, 3, 2, 1) if dim % parts == 0)
    bits = int(kind[2:] or 8)
    centroids = rng.standard_normal((parts, 1 << bits, dim // parts), dtype=np.float32)
    width = (parts * bits + 7) // 8
    return PQStore(rng.integers(0, 256, (rows, width), dtype=np.uint8), centroids)


def owned(image, ends):
    return slice(ends[image - 1] if image else 0, ends[image])


def patch_max_twin(queries, store, ends, rows):
    """One image at a time, in float64; also the gap between the best and the second patch."""
    scores = np.full(rows.shape, -np.inf, dtype=np.float32)
    patches = np.full(rows.shape, -1, dtype=np.int64)
    gaps = np.full(rows.shape, np.inf)
    vectors = store.decode(np.arange(len(store))).astype(np.float64)
    for (query, slot), image in np.ndenumerate(rows):
        found = vectors[owned(image, ends)] @ queries[query] if image >= 0 else np.empty(0)
        if found.size:
            scores[query, slot], patches[query, slot] = found.max(), found.argmax()
            gaps[query, slot] = found.max() - np.delete(found, found.argmax()).max(initial=-np.inf)
    return scores, patches, gaps


def chamfer_twin(query, store, ends, rows):
    """Best value and place ``(K, n)`` for one query set and shortlist ``(K,)``, in float64."""
    best = np.full((len(rows), len(query)), -np.inf)
    where = np.full((len(rows), len(query)), -1)
    vectors = store.decode(np.arange(len(store))).astype(np.float64)
    for slot, image in enumerate(rows):
        block = vectors[owned(image, ends)] if image >= 0 else vectors[:0]
        if len(block):
            table = block @ query.T
            best[slot], where[slot] = table.max(axis=0), table.argmax(axis=0)
    return best, where


def table_ranges(store, query):
    """The range of what each code of a row adds to a score, as codes are looked up."""
    if isinstance(store, RabitqStore):
        sizes, left, found = np.abs(rotate(query[None])[0]), store.bits, []
        for width in PLANES[store.bits]:
            left -= width
            found.append((sizes * ((1 << width) - 1) * (1 << left), 4 // width, 8 // width))
    else:
        parts = np.einsum(
            "mcw,mw->mc", store.centroids, query.reshape(store.centroids.shape[0], -1)
        )
        each = 4 // store.bits if store.bits in (1, 2, 4) else 1
        found = [(np.ptp(parts, axis=1), each, 2 * each)]
    padded = [
        np.pad(sizes, (0, -len(sizes) % whole)).reshape(-1, each) for sizes, each, whole in found
    ]
    return np.concatenate([ranges.sum(axis=1) for ranges in padded])


def rounded(store, queries):
    """By how much the whole numbers of look-up tables may change a score: half a step a code."""
    if not isinstance(store, (PQStore, RabitqStore)) or not (len(store) and len(queries)):
        return 0.0
    scale = float(store.scales.max()) if isinstance(store, RabitqStore) else 1.0
    ranges = np.array([table_ranges(store, query) for query in queries])
    whole = isinstance(store, RabitqStore) or store.bits in (1, 2, 4)
    most = (1 << (14 if whole else 16)) - 1
    return float(ranges.shape[1] / 2 * ranges.max() / most * scale)


def shortlists(rng, queries, width, images):
    return rng.integers(-1, images, (queries, width))


def gallery(rng, images, dim, most=9):
    counts = rng.integers(0, most, images)
    ends = np.cumsum(counts, dtype=np.int64)
    return rng.standard_normal((int(counts.sum()), dim), dtype=np.float32), ends
