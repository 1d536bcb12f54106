"""Scoring and encoding on CUDA beside its own bounds; skipped without it, and unless asked for:

    pytest tests/benchmarks/test_device_benchmark.py --benchmark-only -s \\
        --override-ini addopts=--import-mode=importlib

The jobs of ``patchrerank bench --device cuda`` at its sizes; the card's name is in ``extra_info``.
"""

from __future__ import annotations

import pytest
import torch

from patchrerank.bench.device_jobs import DEVICE_SIZES, OnDevice, run_device_bench
from patchrerank.bench.device_machine import device_name
from patchrerank.bench.sizes import Sizes

LEAST_BANDWIDTH = 0.70
"""Of the card's memory, that patch_max reaches: float16, 256 queries, K = 1,000, 30 × 768."""
LEAST_SHARE = 0.85
"""Of the bare network's images a second, that an index at grid:3 reaches: ViT-B/16, bf16."""
LEAST_GAIN = 10
"""Times as fast as two cores, that AMES and ELViS are."""

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def measured(benchmark, job, **other):
    """The rows of a job, by contestant; they are printed with the card's name."""
    sizes, found = Sizes(**{**DEVICE_SIZES, "rounds": 7, **other}), []
    run = lambda: found.extend(run_device_bench([job], sizes, OnDevice("cuda")))  # noqa: E731
    benchmark.pedantic(run, rounds=1)
    benchmark.extra_info["card"] = device_name("cuda")
    for row in found:
        said = f"{row.median_ms:.3f} ms, × bound {row.bound_ratio:.2f}"
        benchmark.extra_info[row.contestant] = said
    print(f"\n{found[0].job}: {benchmark.extra_info}")
    return found


def test_best_patches_near_the_bandwidth(benchmark):
    ours, *_ = measured(benchmark, "float16")
    assert 1 / ours.bound_ratio >= LEAST_BANDWIDTH


def test_maxsim(benchmark):
    measured(benchmark, "maxsim", candidates=400, queries=32)


@pytest.mark.parametrize("method", ["ames", "elvis"])
def test_networks_of_pairs_beside_two_cores(benchmark, method):
    _, cores = measured(benchmark, method)
    assert cores.ratio >= LEAST_GAIN


def test_an_index_beside_the_bare_network(benchmark):
    ours, _ = measured(benchmark, "index", images=512)
    assert 1 / ours.bound_ratio >= LEAST_SHARE
