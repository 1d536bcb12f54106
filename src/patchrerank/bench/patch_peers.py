"""Who competes for the best patch of each candidate of one query."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.bench.rounds import Contestant, require
from patchrerank.kernels import (
    Float16Store,
    Float32Store,
    Int8Store,
    PQStore,
    RabitqStore,
    SingleStore,
    patch_max,
    quantise_int8,
)
from patchrerank.kernels.packed_codes import MOST_BITS
from patchrerank.types import Floats, Rows


def ours(query: Floats, store: SingleStore, patches: int) -> Contestant:
    """Return our own kernel, straight from the store."""
    ends = np.arange(patches, len(store) + 1, patches, dtype=np.int64)
    return Contestant(
        "patchrerank", lambda rows: patch_max(query[None], store, ends, rows[None])[0][0]
    )


def peers_of(query: Floats, store: SingleStore, patches: int) -> list[Contestant]:
    """Return who else can do the job on this kind of store; none of them keeps the arg-max."""
    if isinstance(store, RabitqStore) or (isinstance(store, PQStore) and store.bits < MOST_BITS):
        return [Contestant("numpy, decoded", _numpy_decoded(query, store, patches))]
    if isinstance(store, PQStore):
        return _peers_of_codes(query, store, patches)
    if isinstance(store, Int8Store):
        whole = store.codes.reshape(-1, patches, store.dim)
        codes = quantise_int8(query[None])[0][0]
        return [
            Contestant("simsimd loop, int8 query", _simsimd(codes, whole), compare=False),
            Contestant("numpy loop, widened", _numpy_loop_int8(query, store, patches)),
        ]
    if isinstance(store, Float16Store):
        halves = store.data.reshape(-1, patches, store.dim)
        half = query.astype(np.float16)
        return [
            Contestant("simsimd loop, half query", _simsimd(half, halves), tolerance=0.05),
            Contestant("numpy loop, widened", _numpy_loop(query, halves)),
        ]
    table = store.data.reshape(-1, patches, store.dim)
    return [
        Contestant("numpy loop", _numpy_loop(query, table)),
        Contestant("numpy gather", lambda rows: (table[rows] @ query).max(axis=1)),
        Contestant("simsimd loop", _simsimd(query, table)),
        Contestant("torch gather, buffer reused", _torch_gather(query, table)),
        Contestant("torch einsum", _torch_einsum(query, table)),
        Contestant("faiss inner products by index", _faiss_by_index(query, store, patches)),
        Contestant("faiss flat index, id selector", _faiss_selector(query, store, patches)),
    ]


def _numpy_loop(query: Floats, table: npt.NDArray[Any]) -> Any:
    return lambda rows: [(table[row].astype(np.float32, copy=False) @ query).max() for row in rows]


def _numpy_decoded(query: Floats, store: SingleStore, patches: int) -> Any:
    def run(rows: Rows) -> Any:
        wanted = (rows[:, None] * patches + np.arange(patches)).ravel()
        return (store.decode(wanted) @ query).reshape(-1, patches).max(axis=1)

    return run


def _numpy_loop_int8(query: Floats, store: Int8Store, patches: int) -> Any:
    def run(rows: Rows) -> list[Any]:
        spans = [slice(row * patches, (row + 1) * patches) for row in rows]
        return [
            ((store.codes[span].astype(np.float32) @ query) * store.scales[span]).max()
            for span in spans
        ]

    return run


def _simsimd(query: npt.NDArray[Any], table: npt.NDArray[Any]) -> Any:
    def run(rows: Rows) -> list[Any]:
        dot = require("simsimd").dot
        return [np.asarray(dot(query, table[row])).max() for row in rows]

    return run


def _torch_gather(query: Floats, table: Floats) -> Any:
    buffers: dict[int, Any] = {}

    def run(rows: Rows) -> Any:
        torch = require("torch")
        if len(rows) not in buffers:
            buffers[len(rows)] = torch.empty(len(rows), *table.shape[1:])
        taken = buffers[len(rows)]
        torch.index_select(torch.from_numpy(table), 0, torch.from_numpy(rows), out=taken)
        return (taken @ torch.from_numpy(query)).amax(dim=1).numpy()

    return run


def _torch_einsum(query: Floats, table: Floats) -> Any:
    def run(rows: Rows) -> Any:
        torch = require("torch")
        taken = torch.from_numpy(table)[torch.from_numpy(rows)]
        return torch.einsum("d,kpd->kp", torch.from_numpy(query), taken).amax(dim=1).numpy()

    return run


def _faiss_by_index(query: Floats, store: Float32Store, patches: int) -> Any:
    def run(rows: Rows) -> Any:
        faiss = require("faiss")
        ids = (rows[:, None] * patches + np.arange(patches)).ravel()
        out = np.empty(len(ids), dtype=np.float32)
        pointers = [faiss.swig_ptr(array) for array in (out, query, store.data, ids)]
        faiss.fvec_inner_products_by_idx(*pointers, store.dim, 1, len(ids))
        return out.reshape(-1, patches).max(axis=1)

    return run


def _faiss_selector(query: Floats, store: Float32Store, patches: int) -> Any:
    built: list[Any] = []

    def run(rows: Rows) -> Any:
        faiss = require("faiss")
        if not built:
            built.append(faiss.IndexFlatIP(store.dim))
            built[0].add(store.data)
        ids = np.sort((rows[:, None] * patches + np.arange(patches)).ravel())
        bits = np.zeros(len(store), dtype=bool)
        bits[ids] = True
        chosen = faiss.IDSelectorBitmap(np.packbits(bits, bitorder="little"))
        options = faiss.SearchParameters(sel=chosen)
        scores, found = built[0].search(query[None], len(ids), params=options)
        images, first = np.unique(found[0] // patches, return_index=True)
        return scores[0][first][np.searchsorted(images, rows)]

    return run


def _peers_of_codes(query: Floats, store: PQStore, patches: int) -> list[Contestant]:
    parts = store.codes.shape[1]
    table = store.codes.reshape(-1, patches, parts)

    def look_up() -> Floats:
        pieces = query.reshape(parts, -1, 1)
        return np.ascontiguousarray(np.matmul(store.centroids, pieces)[:, :, 0])

    def with_numpy(rows: Rows) -> Any:
        found = look_up()[np.arange(parts), table[rows]]
        return found.sum(axis=2).max(axis=1)

    def with_torch(rows: Rows) -> Any:
        torch = require("torch")
        taken = torch.from_numpy(table)[torch.from_numpy(rows)].view(-1, parts)
        places = taken.int() + torch.arange(0, 256 * parts, 256, dtype=torch.int32)
        flat = torch.from_numpy(look_up()).view(-1)
        values = torch.index_select(flat, 0, places.view(-1)).view(-1, patches, parts)
        return values.sum(dim=2).amax(dim=1).numpy()

    return [
        Contestant("torch table look-up", with_torch),
        Contestant("numpy table look-up", with_numpy),
        Contestant("faiss IndexPQ on gathered codes", _faiss_codes(query, store, patches)),
    ]


def _faiss_codes(query: Floats, store: PQStore, patches: int) -> Any:
    """All scores are asked for: the best of each image may stand anywhere in the list."""
    built: list[Any] = []

    def run(rows: Rows) -> Any:
        faiss = require("faiss")
        parts = store.codes.shape[1]
        if not built:
            built.append(faiss.IndexPQ(store.dim, parts, 8, faiss.METRIC_INNER_PRODUCT))
            faiss.copy_array_to_vector(store.centroids.ravel(), built[0].pq.centroids)
            built[0].is_trained = True
        index = built[0]
        taken = store.codes.reshape(-1, patches * parts)[rows]
        faiss.copy_array_to_vector(taken.ravel(), index.codes)
        index.ntotal = len(rows) * patches
        scores, found = index.search(query[None], len(rows) * patches)
        images, first = np.unique(found[0] // patches, return_index=True)
        return scores[0][first][np.argsort(images)]

    return run
