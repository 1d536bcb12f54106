"""Checking a local store byte by byte and value by value."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from patchrerank.gallery.checks import check_ends, check_files, found_by
from patchrerank.gallery.identity import is_imported
from patchrerank.gallery.local_manifest import CODES
from patchrerank.gallery.local_opening import FROM_HDF5
from patchrerank.gallery.local_store import LocalStore
from patchrerank.types import Rows

BLOCK_ROWS = 16_384
NORM_TOLERANCE = {"float32": 1e-3, "float16": 5e-3, "int8": 5e-2, "binary": 1e-3}


def verify_local(store: LocalStore) -> list[str]:
    """Check sizes, checksums, counts, NaN/Inf, norms, positions and weights of a local store.

    Returns:
        One sentence for each thing that is wrong, naming the array and the first bad row; empty
        if all is well.
    """
    checks = [
        _check_files,
        _check_ends,
        _check_grids,
        _check_vectors,
        _check_places,
        _check_weights,
    ]
    return [sentence for check in checks for sentence in found_by(check, store)]


def _check_files(store: LocalStore) -> Iterator[str]:
    yield from check_files(store.folder, store.manifest.arrays)


def _check_ends(store: LocalStore) -> Iterator[str]:
    made = store.manifest
    yield from check_ends("ends", store.array("ends"), made.images, made.descriptors)


def _check_grids(store: LocalStore) -> Iterator[str]:
    made = store.manifest.encoder
    spec = str(made.get("spec", ""))
    if not store.grids and not is_imported(made) and not spec.startswith(FROM_HDF5):
        yield f"grids: none are recorded, but {spec!r} has some"


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
    positions, scales = np.asarray(store.positions), np.asarray(store.scales, dtype=np.int64)
    inside = ((positions >= 0) & (positions <= 1)).all(axis=1)
    if not inside.all():
        row = int(np.argmin(inside))
        yield f"positions: row {row} is {positions[row].tolist()}, outside [0, 1]"
    most = len(store.grids) or int(np.iinfo(np.int16).max)
    unknown = np.flatnonzero(scales.clip(0, most - 1) != scales)
    if unknown.size:
        yield f"scales: row {unknown[0]} is of scale {scales[unknown[0]]}, there are {most}"


def _check_weights(store: LocalStore) -> Iterator[str]:
    weights, total = np.asarray(store.weights), store.manifest.descriptors
    if not np.isfinite(weights).all():
        yield f"weights: NaN or infinite value in row {int(np.argmin(np.isfinite(weights)))}"
        return
    rising = np.diff(weights, prepend=np.inf) > 0
    starts: Rows = np.asarray(store.array("ends"), dtype=np.int64)[:-1]
    rising[starts[(starts >= 0) & (starts < total)]] = False
    if rising.any():
        yield f"weights: row {int(np.argmax(rising))} is stronger than the one before it"
