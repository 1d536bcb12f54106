"""A build by two workers of Ray, on two simulated nodes, beside one in one process.

``pytest tests/benchmarks/test_ray_benchmark.py -m slow -s``: minutes. The 1,055
pictures of composite-dev at 128 pixels, grid:1. Both have two threads for the network: two workers
of one each, or one process of two. Loading, and compiling what is compiled at first use, is apart:
what is timed begins when all workers have their encoder, and ends with the gallery. In turns; wall
time depends on what else the machine does, processor time hardly.
"""

from __future__ import annotations

import os
import statistics
import time
from functools import partial
from pathlib import Path

import pytest

from composite_pictures import composite_dev
from patchrerank.gallery import BuildOptions, build_gallery

pytest.importorskip("ray")

from patchrerank.distributed import RayOptions, build_gallery_with_ray
from patchrerank.distributed.pool import Pool
from ray_cluster import nodes
from warmed import warmed

HOW = {"spec": "efficientnet_lite0", "image_size": 128, "device": "cpu"}
OPTIONS = BuildOptions(progress=False, backgrounds=0)
WORKERS, ROUNDS, IMAGES, LEAST = 2, 3, 1055, 0.9
TICK = os.sysconf("SC_CLK_TCK")


def worker_seconds() -> float:
    """Processor time of all workers of Ray on this machine."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, rest = stat.read_text().rsplit(")", 1)
        except (OSError, ValueError):
            continue
        if "(ray::" in name:
            total += sum(map(int, rest.split()[11:13])) / TICK
    return total


class Timed(Pool):
    """Waits for all workers; notes wall and processor time from then on until they end."""

    def wait(self, workers: int = 1) -> int:
        chunk = super().wait(WORKERS)
        self.begun = time.perf_counter(), worker_seconds()
        return chunk

    def __exit__(self, *error: object) -> None:
        Timed.spent = worker_seconds() - self.begun[1]
        Timed.start = self.begun[0]
        super().__exit__(*error)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_images_a_second(tmp_path, monkeypatch):
    import torch

    import patchrerank.distributed.building as building

    monkeypatch.setattr(building, "Pool", Timed)
    pictures, numbers = composite_dev(), iter(range(100))
    threads = torch.get_num_threads()
    torch.set_num_threads(WORKERS)
    encoder = warmed(HOW)
    torch.set_num_threads(threads)

    def on_ray() -> tuple[float, float]:
        folder = tmp_path / str(next(numbers))
        own = time.process_time()
        build_gallery_with_ray(
            folder, pictures, partial(warmed, HOW), "grid:1", OPTIONS,
            RayOptions(workers=WORKERS),
        )  # fmt: skip
        return time.perf_counter() - Timed.start, Timed.spent + time.process_time() - own

    def in_one_process() -> tuple[float, float]:
        begun = time.perf_counter(), time.process_time()
        build_gallery(tmp_path / str(next(numbers)), pictures, encoder, "grid:1", OPTIONS)
        return time.perf_counter() - begun[0], time.process_time() - begun[1]

    runs: dict[str, list[tuple[float, float]]] = {"ray": [], "local": []}

    def round_of_both() -> None:
        for name, run in (("local", in_one_process), ("ray", on_ray)):
            runs[name].append(run())
            wall, spent = runs[name][-1]
            print(f"{name}: {IMAGES / wall:.1f} images/s, {1000 * spent / IMAGES:.1f} CPU ms/image")

    with nodes(WORKERS):
        for _ in range(ROUNDS):
            round_of_both()
    found = {}
    for which, what in enumerate(("wall", "processor")):
        ratios = [a[which] / b[which] for a, b in zip(runs["local"], runs["ray"], strict=True)]
        found[what] = statistics.median(ratios)
        print(f"{what}: {statistics.median(ratios):.2f} of the local build's images a second")
    assert found["processor"] >= LEAST
