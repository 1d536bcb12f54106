"""The jobs that are measured: who competes, on what, and what the machine itself allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from patchrerank.bench.data import filled, make_store, memory_of, quantise, unit
from patchrerank.bench.engines import engines
from patchrerank.bench.machine import GEMM, GEMM_SIZE, READ, multipliers, reader
from patchrerank.bench.patch_peers import ours, peers_of
from patchrerank.bench.rounds import Contestant, Job, Row, compete, one_thread, require
from patchrerank.bench.sizes import Sizes
from patchrerank.errors import SettingError, near_matches
from patchrerank.kernels import Float32Store, Int8Store, chamfer, chamfer_rescored, patch_max
from patchrerank.types import Rows


def run_bench(jobs: Sequence[str] | None = None, sizes: Sizes | None = None) -> Iterator[Row]:
    """Yield the rows of each job (all of ``JOBS`` if none are named), measured on one thread.

    Libraries with threads of their own are held to it by :func:`one_core` alone. Results are
    compared before anything is timed; contestants that are not installed are reported with a note.

    Raises:
        SettingError: an unknown job, or sizes that do not fit each other.
        PatchRerankError: two contestants disagree.
    """
    names = list(JOBS) if jobs is None else list(jobs)
    for name in names:
        if name not in JOBS:
            raise SettingError(
                f"job {name!r} is unknown; known: {', '.join(JOBS)}{near_matches(name, JOBS)}"
            )
    wanted = sizes or Sizes()
    for name in names:
        with one_thread():
            rows = compete(JOBS[name](wanted), wanted.rounds)
        yield from rows


def single(sizes: Sizes, kind: str) -> Job:
    """One query against its shortlist, rows stored as ``kind``; the limit is reading them."""
    generator = np.random.default_rng(0)
    store = make_store(kind, sizes, generator)
    query = unit(generator.standard_normal((1, sizes.dim), dtype=np.float32))[0]
    used = sizes.candidates * sizes.patches * store.bytes_per_row
    contestants = [
        ours(query, store, sizes.patches),
        reader(memory_of(store), used),
        *peers_of(query, store, sizes.patches),
    ]
    return Job(
        f"patch_max {kind}, {sizes.candidates} × {sizes.patches} × {sizes.dim}",
        contestants,
        _draw(len(store) // sizes.patches, sizes.candidates),
        READ,
    )


def batch(sizes: Sizes) -> Job:
    """Queries whose shortlists come from one pool of 2.5 K images: each is wanted by many."""
    generator = np.random.default_rng(0)
    store = make_store("float32", sizes, generator)
    ends = np.arange(sizes.patches, len(store) + 1, sizes.patches, dtype=np.int64)
    queries = unit(generator.standard_normal((sizes.queries, sizes.dim), dtype=np.float32))
    pool = _draw(len(ends), min(len(ends), sizes.candidates * 5 // 2))

    def draw(number: int) -> Rows:
        rng, images = np.random.default_rng(number), pool(number)
        return np.stack([rng.permutation(images)[: sizes.candidates] for _ in queries])

    def one_by_one(rows: Rows) -> Any:
        pairs = zip(queries, rows, strict=True)
        return np.stack([patch_max(q[None], store, ends, r[None])[0][0] for q, r in pairs])

    contestants = [
        Contestant("patchrerank, grouped", lambda rows: patch_max(queries, store, ends, rows)[0]),
        Contestant("patchrerank, query by query", one_by_one, tolerance=0.0),
    ]
    title = f"patch_max batch, {sizes.queries} queries × {sizes.candidates} of a shared pool"
    return Job(title, contestants, draw)


def sets(asked: Sizes, dim: int | None = None) -> Job:
    """Descriptors of a query against those of its shortlist; the limit is a matrix product."""
    sizes = replace(asked, dim=dim, parts=1) if dim else asked
    each = sizes.descriptors
    generator = np.random.default_rng(0)
    vectors = filled(sizes.store_mib << 20, each, sizes.dim, generator)
    exact, small = Float32Store(vectors), Int8Store(*quantise(vectors))
    ends = np.arange(each, len(vectors) + 1, each, dtype=np.int64)
    query = unit(generator.standard_normal((each, sizes.dim), dtype=np.float32))
    stop = np.array([each])

    def fast_maxsim(rows: Rows) -> Any:
        taken = [vectors[row * each : (row + 1) * each] for row in rows]
        return require("fast_maxsim").maxsim_scores_variable(query, taken)

    def rescored(rows: Rows) -> Any:
        return chamfer_rescored(query, stop, small, exact, ends, rows[None], reduce="sum")[0]

    def float32(rows: Rows) -> Any:
        return chamfer(query, stop, exact, ends, rows[None], reduce="sum")[0]

    contestants = [
        Contestant("patchrerank float32", float32),
        Contestant("patchrerank int8, best 40 rescored", rescored, tolerance=0.02 * each),
        *multipliers(),
        Contestant("fast-maxsim", fast_maxsim, tolerance=1e-3 * each),
    ]
    return Job(
        f"chamfer, {sizes.candidates} × ({each} × {each} × {sizes.dim})",
        contestants,
        _draw(len(ends), sizes.candidates),
        GEMM,
        sizes.candidates * each * each * sizes.dim / GEMM_SIZE**3,
    )


JOBS: dict[str, Callable[[Sizes], Job]] = {
    "float32": partial(single, kind="float32"),
    "float16": partial(single, kind="float16"),
    "int8": partial(single, kind="int8"),
    "pq": partial(single, kind="pq"),
    "pq4": partial(single, kind="pq4"),
    "rabitq1": partial(single, kind="rabitq1"),
    "rabitq2": partial(single, kind="rabitq2"),
    "batch": batch,
    "chamfer": sets,
    "chamfer-128": partial(sets, dim=128),
    "engines": engines,
}
"""Name → what makes the job; the first contestant of each is ours."""


def _draw(images: int, candidates: int) -> Callable[[int], Rows]:
    if candidates > images:
        raise SettingError(
            f"{candidates} candidates do not fit a store of {images} images; raise store_mib"
        )
    return lambda number: np.random.default_rng(number).permutation(images)[:candidates]
