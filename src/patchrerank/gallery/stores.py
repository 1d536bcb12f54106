"""How patch vectors lie in a gallery: as floats, int8, product-quantised or rotated codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchrerank.boxes import Floats
from patchrerank.errors import SettingError, near_matches
from patchrerank.gallery.arrays import Array
from patchrerank.gallery.manifest import ArrayRecord

if TYPE_CHECKING:
    from patchrerank.kernels import Store

RABITQ = {f"rabitq{bits}": bits for bits in (1, 2, 3, 4)}
"""Stores of rotated codes, and their bits a dimension."""
STORES = ("float32", "float16", "int8", "pq", *RABITQ)
CODES, EXACT = ("pq", *RABITQ), ("float16", "int8")
"""Stores beside whose rows finer ones may lie, and those: ``rabitq2+int8`` has both."""
EXACT_ARRAYS = {"patches": "exact_patches", "patch_scales": "exact_scales"}
"""Arrays of a store → those of the finer rows beside codes."""
PATCH_ARRAYS = ("patches", "patch_scales", "pq_centroids", *EXACT_ARRAYS.values())
"""All arrays that a store may consist of."""

UNTRAINED = (
    "product-quantised patches need a trained quantiser: build the gallery as float32 and "
    "compress it (patchrerank compress GALLERY OUT --store pq)"
)

NOT_EXACT = (
    "rescore says how many candidates are scored again by finer rows, and a gallery of {store} has "
    "none beside it; make one that has: patchrerank compress GALLERY OUT --store rabitq2+int8"
)

FLOATS = {"float32": "<f4", "float16": "<f2"}
MOST_BITS = 8
ROUNDS = 60
"""Of clustering with few centroids."""


def check_store(store: str) -> str:
    """Return ``store`` if there is such a store.

    Raises:
        SettingError: there is not; near matches are listed.
    """
    if not is_store(store):
        both = [f"{codes}+{exact}" for codes in CODES for exact in EXACT]
        raise SettingError(
            f"store {store!r} is unknown{near_matches(store, [*STORES, *both])}; use "
            f"{', '.join(STORES)}, or one of codes with finer rows beside it, such as {both[-3]}"
        )
    return store


def is_store(store: str) -> bool:
    """Tell the name of a store."""
    codes, exact = split_store(store)
    return store in STORES or (codes in CODES and exact in EXACT)


def split_store(store: str) -> tuple[str, str]:
    """Return the store that all candidates are scored by, and that of finer rows, if any."""
    codes, _, exact = store.partition("+")
    return codes, exact


def store_records(store: str, dim: int, m: int = 1, nbits: int = 8) -> dict[str, ArrayRecord]:
    """Return the arrays of an empty store for ``dim`` dimensions.

    Args:
        store: its name.
        dim: of the vectors.
        m: codes a row for pq.
        nbits: bits of each.
    """
    codes, exact = split_store(store)
    if exact:
        fine = store_records(exact, dim).items()
        both = {EXACT_ARRAYS[name]: record for name, record in fine}
        return {**store_records(codes, dim, m, nbits), **both}
    if store in FLOATS:
        return {"patches": ArrayRecord(FLOATS[store], (0, dim))}
    if store == "int8":
        return {"patches": ArrayRecord("|i1", (0, dim)), "patch_scales": ArrayRecord("<f4", (0,))}
    if store in RABITQ:
        packed = ArrayRecord("|u1", (0, -(-dim // 8) * RABITQ[store]))
        return {"patches": packed, "patch_scales": ArrayRecord("<f4", (0,))}
    _check_quantiser(dim, m, nbits)
    return {
        "patches": ArrayRecord("|u1", (0, (m * nbits + 7) // 8)),
        "pq_centroids": ArrayRecord("<f4", (0, 1 << nbits, dim // m)),
    }


def gallery_records(store: str, dim: int, m: int = 1, nbits: int = 8) -> dict[str, ArrayRecord]:
    """Return all arrays of a gallery without images: dtypes and shapes that are ever written.

    Args:
        store: of the patch vectors.
        dim: of the vectors.
        m: codes a row for pq.
        nbits: bits of each.
    """
    return {
        "ids": ArrayRecord("|u1", (0,)),
        "id_ends": ArrayRecord("<i8", (0,)),
        "sizes": ArrayRecord("<i4", (0, 2)),
        "globals": ArrayRecord("<f4", (0, dim)),
        **store_records(store, dim, m, nbits),
        "patch_ends": ArrayRecord("<i8", (0,)),
        "boxes": ArrayRecord("<f4", (0, 4)),
    }


def store_columns(store: str, vectors: Floats, centroids: Floats | None) -> dict[str, Array]:
    """Return what is appended to a store's arrays for vectors float32 ``(n, d)``.

    Args:
        store: its name.
        vectors: unit vectors.
        centroids: float32 ``(m, 2 ** n, d / m)`` of a product quantiser, where it is one.
    """
    from patchrerank.kernels import quantise_int8, quantise_rabitq

    coded, exact = split_store(store)
    if exact:
        fine = store_columns(exact, vectors, None).items()
        both = {EXACT_ARRAYS[name]: rows for name, rows in fine}
        return {**store_columns(coded, vectors, centroids), **both}
    if store in FLOATS:
        return {"patches": vectors}
    if store == "int8":
        codes, scales = quantise_int8(vectors)
        return {"patches": codes, "patch_scales": scales}
    if store in RABITQ:
        packed, scales = quantise_rabitq(vectors, RABITQ[store])
        return {"patches": packed, "patch_scales": scales}
    if centroids is None:
        raise SettingError(UNTRAINED)
    return {"patches": pq_encode(vectors, centroids)}


def open_store(store: str, arrays: Mapping[str, Array], rescore: int | None = None) -> Store:
    """Return a gallery's patch vectors as the scoring kernels take them.

    Args:
        store: its name.
        arrays: by name.
        rescore: how many candidates are scored again by finer rows; None: as many as is usual.

    Raises:
        SettingError: arrays that do not fit, ``rescore`` below 0, or no finer rows for it.
    """
    from patchrerank import kernels

    codes, exact = split_store(store)
    if exact:
        fine = {old: arrays[new] for old, new in EXACT_ARRAYS.items() if new in arrays}
        both: Any = open_store(codes, arrays), open_store(exact, fine)
        return kernels.RescoredStore(*both, *([] if rescore is None else [rescore]))
    if rescore is not None:
        raise SettingError(NOT_EXACT.format(store=store))
    # whatever the arrays hold: a store refuses another dtype than its own
    held: Mapping[str, npt.NDArray[Any]] = arrays
    if store == "float32":
        return kernels.Float32Store(held["patches"])
    if store == "float16":
        return kernels.Float16Store(held["patches"])
    if store == "int8":
        return kernels.Int8Store(held["patches"], held["patch_scales"])
    if store in RABITQ:
        dim = held["globals"].shape[1]
        return kernels.RabitqStore(held["patches"], held["patch_scales"], dim)
    return kernels.PQStore(held["patches"], held["pq_centroids"])


def _check_quantiser(dim: int, m: int, nbits: int) -> None:
    if m < 1 or dim % m:
        raise SettingError(f"m = {m} does not divide the {dim} dimensions of the vectors")
    if not 1 <= nbits <= MOST_BITS:
        raise SettingError(f"nbits must lie in 1 … 8, got {nbits}")


def pq_train(vectors: Floats, m: int, nbits: int, seed: int = 0) -> Floats:
    """Train a faiss product quantiser.

    Args:
        vectors: float32 ``(n, d)``, n at least ``2 ** nbits``.
        m: parts a vector is cut into; must divide d.
        nbits: 1 to 8 bits a part. Where they are fewer than 8, all vectors are trained on, in more
            rounds: there are few centroids to each part, and each counts.
        seed: of the clustering.

    Returns:
        float32 ``(m, 2 ** nbits, d / m)``.

    Raises:
        SettingError: ``m`` does not divide d, ``nbits`` out of range, or too few vectors.
    """
    import faiss

    dim = vectors.shape[1]
    _check_quantiser(dim, m, nbits)
    if len(vectors) < 1 << nbits:
        raise SettingError(
            f"{len(vectors)} training vectors are too few for {1 << nbits} centroids; take more "
            "(--train-on) or fewer bits (--nbits)"
        )
    quantiser = faiss.ProductQuantizer(dim, m, nbits)
    quantiser.cp.seed = seed + 1234
    quantiser.cp.min_points_per_centroid = 1
    if nbits < MOST_BITS:
        quantiser.cp.niter, quantiser.cp.max_points_per_centroid = ROUNDS, len(vectors)
    quantiser.train(np.ascontiguousarray(vectors, dtype=np.float32))
    trained = faiss.vector_to_array(quantiser.centroids).reshape(m, 1 << nbits, dim // m)
    return np.ascontiguousarray(trained)


def pq_encode(vectors: Floats, centroids: Floats) -> Array:
    """Return codes of vectors ``(n, d)``: each part's nearest centroid.

    uint8 ``(n, ceil(m b / 8))`` for centroids ``(m, 2 ** b, d / m)``, packed.
    """
    import faiss

    m, count, width = centroids.shape
    quantiser = faiss.ProductQuantizer(m * width, m, count.bit_length() - 1)
    faiss.copy_array_to_vector(np.ascontiguousarray(centroids).reshape(-1), quantiser.centroids)
    return np.asarray(quantiser.compute_codes(np.ascontiguousarray(vectors, dtype=np.float32)))
