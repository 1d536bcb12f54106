"""The hot loops beside their peers, one thread, a group a job; skipped unless asked for:

    pytest tests/benchmarks --benchmark-only --override-ini addopts=--import-mode=importlib

Every call gets a shortlist of its own, and results are compared first. For interleaved rounds,
ratios and the machine's own limits use ``patchrerank.bench.run_bench``.
"""

from __future__ import annotations

from functools import cache
from itertools import count

import pytest

from patchrerank.bench import JOBS, Sizes
from patchrerank.bench.rounds import agreeing, one_thread

SIZES = Sizes(store_mib=300)
TINY = Sizes(4, 3, 16, 4, 3, 5, store_mib=1)
CONTESTANTS = [
    (name, contestant.name) for name, make in JOBS.items() for contestant in make(TINY).contestants
]


@cache
def prepared(name):
    job = JOBS[name](SIZES)
    return job, *agreeing(job)


@pytest.mark.parametrize(("name", "contestant"), CONTESTANTS)
def test_hot_loop(benchmark, name, contestant):
    benchmark.group = name
    with one_thread():
        job, fit, absent = prepared(name)
        if contestant in absent:
            pytest.skip(absent[contestant])
        run = next(one.run for one in fit if one.name == contestant)
        numbers = count(1)
        benchmark.pedantic(
            run, setup=lambda: ((job.draw(next(numbers)),), {}), rounds=15, warmup_rounds=1
        )
