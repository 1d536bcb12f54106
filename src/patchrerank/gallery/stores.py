"""How patch vectors lie in a gallery: float32, float16, int8 or product-quantised."""

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

STORES = ("float32", "float16", "int8", "pq")
PATCH_ARRAYS = ("patches", "patch_scales", "pq_centroids")
"""All arrays that a store may consist of."""

UNTRAINED = (
    "product-quantised patches need a trained quantiser: build the gallery as float32 and "
    "compress it (patchrerank compress GALLERY OUT --store pq)"
)

FLOATS = {"float32": "<f4", "float16": "<f2"}


def check_store(store: str) -> str:
    """Return ``store`` if there is such a store.

    Raises:
        SettingError: there is not; near matches are listed.
    """
    if store not in STORES:
        raise SettingError(
            f"store {store!r} is unknown{near_matches(store, STORES)}; use {', '.join(STORES)}"
        )
    return store


def store_records(store: str, dim: int, m: int = 1) -> dict[str, ArrayRecord]:
    """Return the arrays of an empty store for ``dim`` dimensions (``m`` codes a row for pq)."""
    if store in FLOATS:
        return {"patches": ArrayRecord(FLOATS[store], (0, dim))}
    if store == "int8":
        return {"patches": ArrayRecord("|i1", (0, dim)), "patch_scales": ArrayRecord("<f4", (0,))}
    if dim % m:
        raise SettingError(f"m = {m} does not divide the {dim} dimensions of the vectors")
    return {
        "patches": ArrayRecord("|u1", (0, m)),
        "pq_centroids": ArrayRecord("<f4", (0, 256, dim // m)),
    }


def gallery_records(store: str, dim: int, m: int = 1) -> dict[str, ArrayRecord]:
    """Return all arrays of a gallery without images: dtypes and shapes that are ever written.

    Args:
        store: of the patch vectors.
        dim: of the vectors.
        m: codes a row for pq.
    """
    return {
        "ids": ArrayRecord("|u1", (0,)),
        "id_ends": ArrayRecord("<i8", (0,)),
        "sizes": ArrayRecord("<i4", (0, 2)),
        "globals": ArrayRecord("<f4", (0, dim)),
        **store_records(store, dim, m),
        "patch_ends": ArrayRecord("<i8", (0,)),
        "boxes": ArrayRecord("<f4", (0, 4)),
    }


def store_columns(store: str, vectors: Floats, centroids: Floats | None) -> dict[str, Array]:
    """Return what is appended to a store's arrays for vectors float32 ``(n, d)``.

    Args:
        store: its name.
        vectors: unit vectors.
        centroids: float32 ``(m, 256, d / m)`` of a product quantiser, where it is one.
    """
    from patchrerank.kernels import quantise_int8

    if store in FLOATS:
        return {"patches": vectors}
    if store == "int8":
        codes, scales = quantise_int8(vectors)
        return {"patches": codes, "patch_scales": scales}
    if centroids is None:
        raise SettingError(UNTRAINED)
    return {"patches": pq_encode(vectors, centroids)}


def open_store(store: str, arrays: Mapping[str, Array]) -> Store:
    """Return a gallery's patch vectors as the scoring kernels take them."""
    from patchrerank import kernels

    # whatever the arrays hold: a store refuses another dtype than its own
    held: Mapping[str, npt.NDArray[Any]] = arrays
    if store == "float32":
        return kernels.Float32Store(held["patches"])
    if store == "float16":
        return kernels.Float16Store(held["patches"])
    if store == "int8":
        return kernels.Int8Store(held["patches"], held["patch_scales"])
    return kernels.PQStore(held["patches"], held["pq_centroids"])


def pq_train(vectors: Floats, m: int, nbits: int, seed: int = 0) -> Floats:
    """Train a faiss product quantiser.

    Args:
        vectors: float32 ``(n, d)``, n at least ``2 ** nbits``.
        m: parts a vector is cut into; must divide d.
        nbits: 1 to 8 bits a part; a code takes one byte in any case.
        seed: of the clustering.

    Returns:
        float32 ``(m, 256, d / m)``; behind the first ``2 ** nbits`` centroids all are NaN-free
        copies of the first and never used.

    Raises:
        SettingError: ``m`` does not divide d, ``nbits`` out of range, or too few vectors.
    """
    import faiss

    dim = vectors.shape[1]
    if m < 1 or dim % m:
        raise SettingError(f"m = {m} does not divide the {dim} dimensions of the vectors")
    if not 1 <= nbits <= 8:
        raise SettingError(f"nbits must lie in 1 … 8, got {nbits}")
    if len(vectors) < 1 << nbits:
        raise SettingError(
            f"{len(vectors)} training vectors are too few for {1 << nbits} centroids; take more "
            "(--train-on) or fewer bits (--nbits)"
        )
    quantiser = faiss.ProductQuantizer(dim, m, nbits)
    quantiser.cp.seed = seed + 1234
    quantiser.cp.min_points_per_centroid = 1
    quantiser.train(np.ascontiguousarray(vectors, dtype=np.float32))
    trained = faiss.vector_to_array(quantiser.centroids).reshape(m, 1 << nbits, dim // m)
    padding = np.repeat(trained[:, :1], 256 - (1 << nbits), axis=1)
    return np.ascontiguousarray(np.concatenate([trained, padding], axis=1))


def pq_encode(vectors: Floats, centroids: Floats) -> Array:
    """Return uint8 codes ``(n, m)`` of vectors ``(n, d)``: each part's nearest centroid."""
    import faiss

    m, _, width = centroids.shape
    quantiser = faiss.ProductQuantizer(m * width, m, 8)
    faiss.copy_array_to_vector(np.ascontiguousarray(centroids).reshape(-1), quantiser.centroids)
    return np.asarray(quantiser.compute_codes(np.ascontiguousarray(vectors, dtype=np.float32)))
