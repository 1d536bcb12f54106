"""Compiling kernels before they are needed, by doing in small what users do."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from patchrerank.gallery import CompressOptions, Gallery, LocalVectors, compress, import_gallery
from patchrerank.gallery.merging import merge
from patchrerank.gallery.removing import remove
from patchrerank.gallery.stores import RABITQ
from patchrerank.kernels.patches import best_rows
from patchrerank.pipeline import load_reranker
from patchrerank.types import Floats, LocalDescriptors, LocalQueries, Queries, Shortlist

IMAGES, PATCHES, DIM = 4, 256, 8
"""Of the small gallery; a product quantiser is trained on no fewer patches."""

LOCAL = 16
BY_LOCAL = ("chamfer", "dense_correlation", "patchify+refine", "chamfer+refine")
BY_PATCHES = ("patchify", "patchify:2:0:1", "patchify+refine-patches")
LOCAL_STORES = ("float32", "float16", "int8", "binary")


@dataclass(frozen=True)
class Warmed:
    """What is ready now.

    Attributes:
        processor: what kernels are compiled for.
        kernels: how many there are.
        compiled: forms of them that were compiled now, one for each kernel and types of
            arguments; 0: all were found.
        folders: where they lie; empty: no folder can be written.
        seconds: how long it took.
    """

    processor: str
    kernels: int
    compiled: int
    folders: tuple[str, ...]
    seconds: float


def warm_up() -> Warmed:
    """Compile every kernel that lies in no cache yet, for this processor.

    They are kept where they always are: in ``NUMBA_CACHE_DIR``, beside the modules, or in the
    user's cache folder, the first of them that can be written.
    """
    from patchrerank.kernels.jit import KERNELS, kept_in, target_processor

    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="patchrerank-warm-up-") as folder:
        _use_galleries(Path(folder))
    _use_tuning()
    _use_arrays()
    compiled = sum(sum(kernel.stats.cache_misses.values()) for kernel in KERNELS)
    seconds = time.perf_counter() - begun
    found = target_processor(), len(KERNELS), compiled, kept_in()
    return Warmed(*found, seconds)


def _units(*shape: int) -> Floats:
    found = np.random.default_rng(0).normal(size=(*shape, DIM))
    return np.asarray(found / np.linalg.norm(found, axis=-1, keepdims=True), dtype=np.float32)


def _use_galleries(folder: Path) -> None:
    for number, opened in enumerate(_galleries(folder)):
        stages = (*BY_PATCHES, *(BY_LOCAL if opened.has_local else ()))
        for stage in stages if number < 2 or opened.has_local else stages[:1]:
            _ask(opened, stage)
        vectors, store = np.array(opened.global_vectors[:2]), opened.patch_store
        best_rows(vectors, store, opened.patch_ends, np.zeros((2, 1), np.int64))
        if number < 3:
            _search(opened, folder / f"index{number}")


def _galleries(folder: Path) -> Iterator[Gallery]:
    """Yield one of each store, kind of ids and local store, one of shards, one of removed rows."""
    text, numbers = [f"image {n}" for n in range(IMAGES)], list(range(IMAGES))
    for store in ("float32", "float16", "int8"):
        yield _made(folder / store, text, store)
    codes = CompressOptions("pq", m=4), CompressOptions("pq", m=4, nbits=4)
    for how in (*codes, *map(CompressOptions, RABITQ)):
        out = folder / f"{how.store}-{how.nbits}"
        compress(Gallery(folder / "float32"), out, replace(how, progress=False))
        yield Gallery(out)
    for store in LOCAL_STORES:
        yield _made(folder / f"local-{store}", numbers, "float16", store)
    other = _made(folder / "other", [f"other {n}" for n in range(IMAGES)], "float32")
    yield merge(folder / "shards", [Gallery(folder / "float32"), other], progress=False)
    yield remove(folder / "other", ["other 0"])


def _made(folder: Path, ids: list[Any], store: str, local: str | None = None) -> Gallery:
    side = np.linspace(0.1, 0.9, 4, dtype=np.float32)
    places = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    each = None
    if local is not None:
        each = LocalVectors(_units(IMAGES, LOCAL), np.tile(places, (IMAGES, 1, 1)))
    corners = np.random.default_rng(0).uniform(0, 0.4, (IMAGES, PATCHES, 2)).astype(np.float32)
    return import_gallery(
        folder,
        ids,
        _units(IMAGES),
        _units(IMAGES, PATCHES),
        boxes=np.concatenate([corners, corners + np.float32(0.5)], axis=-1),
        sizes=np.full((IMAGES, 2), 64),
        local=each,
        local_store=local or "float16",
        encoder="warm-up",
        store=store,
        progress=False,
    )


def _ask(opened: Gallery, stages: str) -> None:
    """Rank for one query, for two that share their candidates, and on two threads."""
    ranker = load_reranker(opened, stages)
    ids = list(islice(opened.ids.living(), 2))
    vector = np.array(opened.global_vectors[0])
    if not opened.has_local:
        ranker.rank(vector, ids)
        ranker.rank_batch([vector] * 2, [ids] * 2)
    side = np.full((LOCAL, 2), 0.5, dtype=np.float32)
    scale, weight = np.zeros(LOCAL, dtype=np.int16), np.ones(LOCAL, dtype=np.float32)
    one = LocalDescriptors(_units(LOCAL), side, scale, weight)
    for count in (1, 2):
        queries = Queries(np.stack([vector] * count), local=LocalQueries([one] * count))
        ranker.rerank(queries, Shortlist.from_ids(opened, [ids] * count))


def _search(opened: Gallery, index: Path) -> None:
    from patchrerank.first_stage import PatchSearch, build_patch_index

    build_patch_index(opened, index, "Flat", progress=False)
    PatchSearch(opened, index).search(Queries(np.array(opened.global_vectors[:1])), 2)


def _use_tuning() -> None:
    from patchrerank.metrics import FULL, ames_convention, ilias_at
    from patchrerank.tuning.fused.exact_lambda import exact_lambdas
    from patchrerank.tuning.fused.fused_ap import fused_average_precisions

    rng, shape = np.random.default_rng(0), (3, 6)
    scores = -np.sort(-rng.random(shape), axis=1).astype(np.float32)
    local = rng.standard_normal(shape).astype(np.float32)
    relevant, junk = np.tile(np.arange(6) % 3 == 1, (3, 1)), np.tile(np.arange(6) == 2, (3, 1))
    lists = scores, local, relevant, junk, relevant.sum(axis=1)
    for rule in (FULL, ilias_at(), ames_convention(cutoff=4)):
        for weights in (None, np.ones(shape, dtype=np.float32)):
            fused_average_precisions(*lists, [0.0, 0.5, 1.0], [0.0, 1.0], [0, 3, 6], rule, weights)
            exact_lambdas(*lists, [0.5, 1.0], [3, 6], rule, weights)


def _use_arrays() -> None:
    """What pictures and imported vectors need, and MaxSim on int8."""
    from patchrerank.kernels import Float32Store, Int8Store, chamfer_rescored, quantise_int8
    from patchrerank.kernels.norms import squared_norms
    from patchrerank.kernels.overlay import overlay
    from patchrerank.kernels.resize import resize

    for shape, new in (((40, 30, 3), (16, 16, 3)), ((16, 64, 3), (32, 32, 3))):
        pixels = np.zeros(shape, dtype=np.uint8)
        fixed = np.frombuffer(pixels.tobytes(), dtype=np.uint8).reshape(shape)
        for cut in (pixels, pixels[1:-1, 1:-1], fixed, fixed[1:-1, 1:-1]):
            resize(cut, np.empty(new, dtype=np.uint8), "box")
    piece = np.frombuffer(bytes(64), dtype=np.uint8).reshape(4, 4, 4)
    ground, cover = np.zeros((8, 8, 3), dtype=np.uint8), np.zeros((8, 8), dtype=np.float32)
    overlay(piece, np.zeros((2, 3)), ground, ground.copy(), cover)
    vectors, ends = _units(4), np.array([2, 4])
    squared_norms(vectors.astype(np.float16))
    stores = Int8Store(*quantise_int8(vectors)), Float32Store(vectors)
    chamfer_rescored(vectors, np.array([4]), *stores, ends, np.array([[0, 1]]))
