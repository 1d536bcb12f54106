"""The rerankers AMES and ELViS beside their networks run plainly; skipped unless asked for:

    pytest tests/benchmarks/test_learned_benchmark.py --benchmark-only -s \
        --override-ini addopts=--import-mode=importlib

Published architectures (128 dimensions, AMES of 5 layers, 768-d descriptors), random weights,
100 × 100 descriptors, one query. Plain: one pair at a time through the network's forward, nothing
kept between pairs, with as many threads as torch takes by itself and with one. All contestants
take turns in every round; the last test's ``extra_info`` has the medians of the rounds' ratios.
"""

from __future__ import annotations

import time
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
import torch

from patchrerank.gallery import LocalVectors, import_gallery
from patchrerank.rerankers import (
    AMES,
    AmesSettings,
    ELViS,
    ElvisSettings,
    Execution,
    compact_local,
)
from patchrerank.rerankers.networks.ames_network import AmesNetwork
from patchrerank.rerankers.networks.elvis_network import ElvisNetwork
from patchrerank.types import LocalDescriptors, Queries, Shortlist

DESCRIPTORS, DIM, CANDIDATES, ROUNDS = 100, 768, 40, 5
THREADS = torch.get_num_threads()
NAMES = [
    "plain, 1 thread",
    f"plain, {THREADS} threads",
    "reranker, 1 thread",
    f"reranker, {THREADS} threads",
    f"reranker on codes, {THREADS} threads",
    f"openvino on codes, {THREADS} threads",
]


CELLS = np.stack(np.meshgrid(*[(np.arange(10, dtype=np.float32) + 0.5) / 10] * 2), -1).reshape(
    -1, 2
)


def built(folder, vectors):
    """A gallery of nothing but descriptors, in a regular grid."""
    ids = [f"image {number}" for number in range(CANDIDATES)]
    local = LocalVectors(vectors.reshape(CANDIDATES, DESCRIPTORS, DIM), [CELLS] * CANDIDATES)
    globals_ = np.eye(CANDIDATES, dtype=np.float32)
    how = {"local": local, "local_store": "float16", "encoder": "drawn", "progress": False}
    return import_gallery(folder, ids, globals_, sizes=np.full((CANDIDATES, 2), 320), **how)


def unit(rng, count):
    vectors = rng.standard_normal((count, DIM), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def drawn(rng, asked):
    """Candidates' descriptors, more and more like the query's from one candidate to the next."""
    shares = np.linspace(0, 0.9, CANDIDATES, dtype=np.float32)[:, None, None]
    noise = unit(rng, CANDIDATES * DESCRIPTORS).reshape(CANDIDATES, DESCRIPTORS, DIM)
    vectors = (shares * asked + (1 - shares) * noise).reshape(-1, DIM)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


METHODS = {
    "AMES": (AMES, AmesNetwork, AmesSettings(DESCRIPTORS, DESCRIPTORS)),
    "ELViS": (ELViS, ElvisNetwork, ElvisSettings(DESCRIPTORS, DESCRIPTORS)),
}


def random_network(kind):
    generator = torch.Generator().manual_seed(0)
    network = kind()
    with torch.no_grad():
        for weight in network.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(noise / weight.shape[-1] ** 0.5 if weight.ndim > 1 else weight)
        if kind is ElvisNetwork:  # without an offset the layer norm behind it hides the match
            network.f[0].bias.normal_(generator=generator)
    return network.eval()


@cache
def prepared(method):
    """The contestants, after their scores were compared."""
    kind, network_kind, settings = METHODS[method]
    rng = np.random.default_rng(0)
    network, asked = random_network(network_kind), unit(rng, DESCRIPTORS)
    gallery = built(Path(mkdtemp()) / "g", drawn(rng, asked))
    local, codes = gallery.local, compact_local(gallery, network, progress=False)
    nothing = np.zeros(DESCRIPTORS, np.float32)
    query = LocalDescriptors(asked, np.stack([nothing] * 2, 1), nothing.astype(np.int16), nothing)
    queries = Queries(np.eye(1, CANDIDATES, dtype=np.float32), local=[query])
    rows = rng.permutation(CANDIDATES)[None]
    shortlist = Shortlist(rows, np.linspace(1, 0, CANDIDATES, dtype=np.float32)[None])

    def plain(threads):
        torch.set_num_threads(threads)
        try:
            with torch.inference_mode():
                return np.array([score_pair(network, query, local, row) for row in rows[0]])
        finally:
            torch.set_num_threads(THREADS)

    def reranker(threads, backend="eager", local=local):
        how = Execution(threads=threads, backend=backend)
        made = kind(gallery, network=network, settings=settings, execution=how, local=local)
        return lambda: made.score(queries, shortlist).scores[0]

    contestants = {
        "plain, 1 thread": lambda: plain(1),
        f"plain, {THREADS} threads": lambda: plain(THREADS),
        "reranker, 1 thread": reranker(1),
        f"reranker, {THREADS} threads": reranker(THREADS),
        f"reranker on codes, {THREADS} threads": reranker(THREADS, local=codes),
    }
    if find_spec("openvino") is not None:
        contestants[f"openvino on codes, {THREADS} threads"] = reranker(THREADS, "openvino", codes)
    expected = contestants["plain, 1 thread"]()
    assert expected.std() > 0.05, "weights that show"
    for name, run in contestants.items():
        rounded = method == "ELViS" and "codes" in name  # its codes have 16 bits, its network 32
        np.testing.assert_allclose(run(), expected, rtol=1e-3 * rounded, atol=1e-4)
    return contestants


def score_pair(network, query, local, row):
    begin = row * DESCRIPTORS
    found = local.store.decode(np.arange(begin, begin + DESCRIPTORS))
    pair = torch.from_numpy(query.vectors)[None], torch.from_numpy(found)[None]
    return float(network(*pair)[0])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", METHODS)
def test_pairs(benchmark, method, name):
    benchmark.group = f"{method}, {CANDIDATES} pairs of {DESCRIPTORS} × {DESCRIPTORS} descriptors"
    if name not in prepared(method):
        pytest.skip("openvino is absent")
    benchmark.pedantic(prepared(method)[name], rounds=ROUNDS, warmup_rounds=1)
    benchmark.extra_info["pairs_per_second"] = CANDIDATES / benchmark.stats.stats.median


@pytest.mark.parametrize("method", METHODS)
def test_ratio(benchmark, method):
    """Everybody in turn, round by round: what is reported holds on a busy machine too."""
    contestants = prepared(method)
    seconds, work = ({name: [] for name in contestants} for _ in range(2))

    def take_turns():
        for name, run in contestants.items():
            start, busy = time.perf_counter(), time.process_time()
            run()
            seconds[name].append(time.perf_counter() - start)
            work[name].append(time.process_time() - busy)

    benchmark.group = f"{method}, everybody in turn"
    benchmark.pedantic(take_turns, rounds=ROUNDS)
    ours = np.array(seconds[f"reranker, {THREADS} threads"])
    for name, times in seconds.items():
        benchmark.extra_info[f"pairs/s, {name}"] = round(CANDIDATES / float(np.median(times)), 1)
        ratio = float(np.median(np.array(times) / ours))
        benchmark.extra_info[f"time of {name} over ours"] = round(ratio, 2)
    alone = [np.median(work[f"{who}, 1 thread"]) for who in ("plain", "reranker")]
    benchmark.extra_info["CPU time, plain over ours, 1 thread"] = round(alone[0] / alone[1], 2)
    print(
        f"\n{method}\n"
        + "\n".join(f"{key}: {value}" for key, value in benchmark.extra_info.items())
    )
    assert benchmark.extra_info["CPU time, plain over ours, 1 thread"] > 1
