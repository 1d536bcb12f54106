"""What is measured on a device: scoring and encoding, beside the CPU and the device's bounds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from patchrerank.bench.data import filled, make_store, unit
from patchrerank.bench.device_indexing import indexing
from patchrerank.bench.device_machine import MEMORY, PRODUCT, memory_bounds, product_bounds
from patchrerank.bench.device_pairs import pairs
from patchrerank.bench.rounds import Contestant, Job, Row, compete
from patchrerank.bench.sizes import Sizes
from patchrerank.errors import SettingError, near_matches
from patchrerank.kernels import Float16Store, chamfer, patch_max
from patchrerank.kernels.copies import fetched
from patchrerank.kernels.devices import Device
from patchrerank.kernels.on_device import best_on_device, products_on_device
from patchrerank.types import Floats, Rows

DEVICE_SIZES = {"candidates": 1000, "queries": 256, "store_mib": 4096}
"""Where nobody asks for others: enough for a GPU."""


@dataclass(frozen=True)
class OnDevice:
    """Where it is measured, and with which network pictures are encoded.

    Attributes:
        name: as :meth:`patchrerank.rerankers.Ranker.on_device` takes it.
        encoder: spec of the network of the job ``index``; its weights are random.
        precision: of that network.
    """

    name: str
    encoder: str = "timm:vit_base_patch16_224"
    precision: str = "bf16"


def run_device_bench(jobs: Sequence[str] | None, sizes: Sizes, where: OnDevice) -> Iterator[Row]:
    """Yield the rows of each job (all of ``DEVICE_JOBS`` if none are named).

    Raises:
        SettingError: an unknown job or device, or sizes that do not fit each other.
        PatchRerankError: the device and the CPU disagree.
    """
    names = list(DEVICE_JOBS) if jobs is None else list(jobs)
    for name in names:
        if name not in DEVICE_JOBS:
            raise SettingError(
                f"job {name!r} is unknown on a device; known: {', '.join(DEVICE_JOBS)}"
                f"{near_matches(name, DEVICE_JOBS)}"
            )
    for name in names:
        yield from compete(DEVICE_JOBS[name](sizes, where), sizes.rounds)


def rows(sizes: Sizes, where: OnDevice, *, kind: str) -> Job:
    """The best patches of a batch of queries, each with a shortlist of its own."""
    generator = np.random.default_rng(0)
    store = make_store(kind, sizes, generator)
    ends = np.arange(sizes.patches, len(store) + 1, sizes.patches, dtype=np.int64)
    queries = unit(generator.standard_normal((sizes.queries, sizes.dim), dtype=np.float32))
    held = Device(where.name).hold(store, ends)
    threads = torch.get_num_threads()

    def there(asked: Rows) -> Any:
        return fetched(held.device, best_on_device(held, queries, asked).scores)[0]

    used = sizes.queries * sizes.candidates * sizes.patches * store.bytes_per_row
    contestants = [
        Contestant("patchrerank on the device", there),
        *memory_bounds(held.device, used),
        Contestant(
            f"patchrerank on the CPU, threads: {threads}",
            lambda asked: patch_max(queries, store, ends, asked, threads=threads)[0],
        ),
    ]
    title = f"patch_max {kind}, {sizes.queries} × {sizes.candidates} × {sizes.patches}"
    return Job(f"{title} × {sizes.dim}", contestants, _draw(len(ends), sizes), MEMORY)


def maxsim(sizes: Sizes, where: OnDevice) -> Job:
    """Descriptor sets of a batch of queries against those of their shortlists."""
    each, generator = sizes.descriptors, np.random.default_rng(0)
    vectors = filled(sizes.store_mib << 20, each, sizes.dim, generator).astype(np.float16)
    store = Float16Store(vectors)
    ends = np.arange(each, len(vectors) + 1, each, dtype=np.int64)
    asked = unit(generator.standard_normal((sizes.queries * each, sizes.dim), dtype=np.float32))
    sets, stops = np.split(asked, sizes.queries), np.arange(1, sizes.queries + 1) * each
    held = Device(where.name).hold(store, ends)
    threads = torch.get_num_threads()

    def there(shortlists: Rows) -> Floats:
        found = torch.zeros(shortlists.size, device=held.device)
        with torch.inference_mode():
            for block in products_on_device(held, sets, shortlists):
                found[block.slots] = block.best()[0].sum(dim=1)
        return np.asarray(fetched(held.device, found)[0].reshape(shortlists.shape))

    def here(shortlists: Rows) -> Floats:
        given = asked, stops, store, ends, shortlists
        return chamfer(*given, reduce="sum", threads=threads)

    bounds, size = product_bounds(held.device)
    return Job(
        f"maxsim float16, {sizes.queries} × {sizes.candidates} × ({each} × {each} × {sizes.dim})",
        [
            Contestant("patchrerank on the device", there, tolerance=1e-3 * each),
            *bounds,
            Contestant(f"patchrerank on the CPU, threads: {threads}", here, tolerance=1e-3 * each),
        ],
        _draw(len(ends), sizes),
        PRODUCT,
        sizes.queries * sizes.candidates * each * each * sizes.dim / size**3,
    )


def index(sizes: Sizes, where: OnDevice) -> Job:
    """Pictures into a gallery at grid:3, beside the network on tensors that are ready."""
    return indexing(where.name, where.encoder, where.precision, sizes.images, os.cpu_count() or 1)


DEVICE_JOBS: dict[str, Callable[[Sizes, OnDevice], Job]] = {
    "float16": partial(rows, kind="float16"),
    "int8": partial(rows, kind="int8"),
    "maxsim": maxsim,
    "ames": lambda sizes, where: pairs("ames", sizes, where.name),
    "elvis": lambda sizes, where: pairs("elvis", sizes, where.name),
    "index": index,
}
"""Name → what makes the job; the first contestant of each is ours, on the device."""


def _draw(images: int, sizes: Sizes) -> Callable[[int], Rows]:
    if sizes.candidates > images:
        raise SettingError(
            f"{sizes.candidates} candidates do not fit a store of {images} images; raise store_mib"
        )

    def draw(number: int) -> Rows:
        rng = np.random.default_rng(number)
        return np.stack([rng.permutation(images)[: sizes.candidates] for _ in range(sizes.queries)])

    return draw
