"""Learned rerankers on a device, beside two cores of the processor."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from patchrerank.bench.data import unit
from patchrerank.bench.rounds import Contestant, Job
from patchrerank.bench.sizes import Sizes
from patchrerank.gallery import Gallery, LocalVectors, import_gallery
from patchrerank.rerankers import AMES, AmesSettings, ELViS, ElvisSettings, Execution
from patchrerank.rerankers.networks.ames_network import AmesNetwork
from patchrerank.rerankers.networks.configs import AmesConfig, ElvisConfig
from patchrerank.rerankers.networks.elvis_network import ElvisNetwork
from patchrerank.types import Floats, LocalDescriptors, Queries, Rows, Shortlist

QUERIES, CANDIDATES, CORES = 4, 100, 2
"""At most: two cores take seconds for so many pairs."""


def pairs(method: str, sizes: Sizes, device: str) -> Job:
    """Score pairs by a network of the published architecture with random weights."""
    queries, each = min(sizes.queries, QUERIES), sizes.descriptors
    candidates = min(sizes.candidates, CANDIDATES)
    generator = np.random.default_rng(0)
    gallery = _gallery(candidates, each, sizes.dim, generator)
    cpu = _reranker(method, gallery, sizes)
    there = cpu.on_device(device if device != "cpu" else "torch:cpu")
    asked = Queries(_units(generator, queries, sizes.dim), local=_sets(generator, queries, sizes))

    def score(reranker: AMES | ELViS, rows: Rows) -> Floats:
        scores = np.tile(np.linspace(1, 0, candidates, dtype=np.float32), (queries, 1))
        return reranker.score(asked, Shortlist(rows, scores)).scores

    def draw(number: int) -> Rows:
        rng = np.random.default_rng(number)
        return np.stack([rng.permutation(candidates) for _ in range(queries)])

    contestants = [
        Contestant("patchrerank on the device", lambda rows: score(there, rows), tolerance=0.05),
        Contestant(f"patchrerank, {CORES} cores", lambda rows: score(cpu, rows), tolerance=0.05),
    ]
    title = f"{method}, {queries} × {candidates} pairs of {each} × {each} × {sizes.dim}"
    return Job(title, contestants, draw)


def _reranker(method: str, gallery: Gallery, sizes: Sizes) -> AMES | ELViS:
    each, how = sizes.descriptors, Execution(threads=CORES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if method == "ames":
            network = AmesNetwork(AmesConfig(sizes.dim)).eval()
            return AMES(gallery, network=network, settings=AmesSettings(each, each), execution=how)
        votes = ElvisNetwork(ElvisConfig(sizes.dim)).eval()
        return ELViS(gallery, network=votes, settings=ElvisSettings(each, each), execution=how)


def _units(generator: np.random.Generator, *shape: int) -> Floats:
    flat = generator.standard_normal((int(np.prod(shape[:-1])), shape[-1]), dtype=np.float32)
    return unit(flat).reshape(shape)


def _gallery(images: int, each: int, dim: int, generator: np.random.Generator) -> Gallery:
    folder = tempfile.mkdtemp(prefix="patchrerank-bench-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    places = generator.random((images, each, 2), dtype=np.float32)
    how: dict[str, Any] = {"encoder": "bench", "store": "float16", "progress": False}
    return import_gallery(
        Path(folder) / "gallery",
        list(range(images)),
        _units(generator, images, dim),
        _units(generator, images, 1, dim),
        local=LocalVectors(_units(generator, images, each, dim), places),
        local_store="float16",
        **how,
    )


def _sets(generator: np.random.Generator, queries: int, sizes: Sizes) -> list[LocalDescriptors]:
    each = sizes.descriptors
    side, scale = np.full((each, 2), 0.5, dtype=np.float32), np.zeros(each, dtype=np.int16)
    weight = np.ones(each, dtype=np.float32)
    vectors = (_units(generator, each, sizes.dim) for _ in range(queries))
    return [LocalDescriptors(own, side, scale, weight) for own in vectors]
