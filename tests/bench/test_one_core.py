from __future__ import annotations

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from command_line import run
from patchrerank.bench import Contestant, Job, one_core, rounds
from patchrerank.bench.rounds import compete

SMALL = ["--candidates", 4, "--patches", 3, "--dim", 16, "--parts", 4, "--queries", 3]
SMALL += ["--descriptors", 5, "--store-mib", 1, "--rounds", 2]

pins = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="pins no process")


@pins
def test_threads_that_run_and_those_that_start_are_kept_on_one_core_until_the_end(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("RAYON_NUM_THREADS", raising=False)
    before = os.sched_getaffinity(0)
    with ThreadPoolExecutor(1) as running:
        running.submit(threading.get_ident).result()
        with one_core() as core, ThreadPoolExecutor(1) as later:
            pools = (running, later)
            seen = [pool.submit(os.sched_getaffinity, 0).result() for pool in pools]
            assert seen == [{core}, {core}] and core in before
            assert os.environ["OMP_NUM_THREADS"] == os.environ["RAYON_NUM_THREADS"] == "1"
        assert running.submit(os.sched_getaffinity, 0).result() == before
    assert os.sched_getaffinity(0) == before
    assert os.environ["OMP_NUM_THREADS"] == "7" and "RAYON_NUM_THREADS" not in os.environ


def test_a_system_that_pins_no_process_is_told_apart(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    with one_core() as core:
        assert core is None and os.environ["OMP_NUM_THREADS"] == "1"


def test_who_works_on_several_cores_is_marked(monkeypatch):
    seconds, busy = iter([0, 0.010] * 2), iter([0, 0.009, 0, 0.031])
    clock = SimpleNamespace(perf_counter=lambda: next(seconds), process_time=lambda: next(busy))
    monkeypatch.setattr(rounds, "time", clock)
    found = compete(Job("job", [Contestant(name, int) for name in ("we", "they")], int), 1)
    assert [row.several_cores for row in found] == [False, True]
    assert found[1].processor_ms == pytest.approx(31)


def test_the_fastest_measure_of_the_machine_is_the_bound_and_says_so():
    def waits(seconds):
        return lambda _: time.sleep(seconds) or 0

    contestants = [
        Contestant("we", waits(0.004)),
        Contestant("product, numpy", waits(0.004), compare=False),
        Contestant("product, torch", waits(0.001), compare=False),
    ]
    rows = compete(Job("job", contestants, int, "product", 2.0), 3)
    assert [row.contestant for row in rows][1:] == ["product, numpy", "product, torch (the bound)"]
    assert rows[0].bound_ratio == pytest.approx(rows[0].median_ms / (2 * rows[2].median_ms))


def test_the_command_names_the_processor_and_the_core():
    found = json.loads(run("bench", "--job", "chamfer", *SMALL, "--json").stdout)
    assert found["core"] in ([None] if not hasattr(os, "sched_getaffinity") else range(4096))
    assert "(" in found["processor"]
    assert sum("the bound" in row["contestant"] for row in found["rows"]) == 1
    table = run("bench", "--job", "float32", *SMALL).stdout
    assert "processor ms" in table and found["processor"][:20] in table
