"""Checking a local store byte by byte and value by value."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from patchrerank.gallery.checks import check_ends, check_files
from patchrerank.gallery.local_manifest import CODES
from patchrerank.gallery.local_store import LocalStore

BLOCK_ROWS = 16_384
NORM_TOLERANCE = {"float32": 1e-3, "float16": 5e-3, "int8": 5e-2, "binary": 1e-3}


def verify_local(store: LocalStore) -> list[str]:
    """Check sizes, checksums, counts, NaN/Inf, norms, positions and weights of a local store.

    Returns:
        One sentence for each thing that is wrong, naming the array and the first bad row; empty
        if all is well.
    """
    made = store.manifest
    return [
        *check_files(store.folder, made.arrays),
        *check_ends("ends", store.ends, made.images, made.descriptors),
        *_check_vectors(store),
        *_check_places(store),
    ]


def _check_vectors(store: LocalStore) -> Iterator[str]:
    made = store.manifest
    tolerance = np.inf if CODES in made.encoder else NORM_TOLERANCE[made.store]
    for start in range(0, len(store.store), BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, len(store.store))
        block = store.store.decode(np.arange(start, stop))
        finite = np.isfinite(block).all(axis=1)
        if not finite.all():
            yield f"descriptors: NaN or infinite values in row {start + int(np.argmin(finite))}"
        off = np.abs(np.linalg.norm(np.nan_to_num(block), axis=1) - 1) > tolerance
        if (off & finite).any():
            yield f"descriptors: row {start + int(np.argmax(off & finite))} has not unit norm"


def _check_places(store: LocalStore) -> Iterator[str]:
    total = store.manifest.descriptors
    for name in ("positions", "scales", "weights"):
        if len(store.array(name)) != total:
            yield f"{name}: {len(store.array(name))} rows for {total} descriptors"
            return
    positions, weights = np.asarray(store.positions), np.asarray(store.weights)
    inside = ((positions >= 0) & (positions <= 1)).all(axis=1)
    if not inside.all():
        row = int(np.argmin(inside))
        yield f"positions: row {row} is {positions[row].tolist()}, outside [0, 1]"
    if not np.isfinite(weights).all():
        yield f"weights: NaN or infinite value in row {int(np.argmin(np.isfinite(weights)))}"
    rising = np.diff(weights, prepend=np.inf) > 0
    starts = np.asarray(store.ends)[:-1]
    rising[starts[starts < total]] = False
    if rising.any():
        yield f"weights: row {int(np.argmax(rising))} is stronger than the one before it"
