"""An import beside ``cp`` of the same files: 1,000,000 images × 30 patches × 64, float16.

``pytest tests/benchmarks/test_import_benchmark.py -m slow -s --benchmark-enable``: some minutes, 12
GB of disk; ``IMPORT_IMAGES=200000`` for fewer. Each reads files that were written just before,
mostly from the page cache, and waits until the disk has what was written.
Kernels are loaded before (0.6 s, once a process).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

IMAGES, PATCHES, DIM = int(os.environ.get("IMPORT_IMAGES", "1000000")), 30, 64
MOST_RESIDENT = 500 << 20
LEAST_SHARE = 0.5
BLOCK = 10_000

IMPORT = """
import sys, time
import numpy as np
from patchrerank.gallery import import_gallery
folder, source = sys.argv[1:]
ones = np.full((2, 4), 0.5, np.float16)
import_gallery(folder + ".small", [1, 2], ones, ones[:, None], encoder="drawn", progress=False)
files = [f"{source}/{name}.npy" for name in ("ids", "globals", "patches")]
begun = time.perf_counter()
import_gallery(folder, *files, encoder="drawn", progress=False)
spent = time.perf_counter() - begun
(peak,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM:")]
print(spent, int(peak.split()[1]) * 1024)
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vectors")
    rng = np.random.default_rng(0)
    np.save(folder / "ids.npy", np.arange(IMAGES))
    for name, shape in (("globals", (DIM,)), ("patches", (PATCHES, DIM))):
        out = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float16, (IMAGES, *shape))
        for start in range(0, IMAGES, BLOCK):
            count = min(BLOCK, IMAGES - start)
            drawn = rng.standard_normal((count, *shape), dtype=np.float32)
            out[start : start + count] = drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)
        del out
    return folder


def copied(source, target):
    begun = time.perf_counter()
    subprocess.run(["cp", "-r", source, target], check=True)
    for file in target.iterdir():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
    return time.perf_counter() - begun


@pytest.mark.slow
def test_an_import_is_half_as_fast_as_cp_and_holds_little(source, tmp_path):
    size = sum(file.stat().st_size for file in source.iterdir())
    spent = {"cp": [], "import": []}
    for number in range(3):
        spent["cp"].append(copied(source, tmp_path / "cp"))
        shutil.rmtree(tmp_path / "cp")
        command = [sys.executable, "-c", IMPORT, tmp_path / f"g{number}", source]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        seconds, resident = map(float, told.split())
        spent["import"].append(seconds)
        shutil.rmtree(tmp_path / f"g{number}")
    copy, made = (sorted(times)[1] for times in spent.values())
    print(
        f"\n{size / 1e9:.2f} GB: cp {size / copy / 1e6:.0f} MB/s, import {size / made / 1e6:.0f} "
        f"MB/s ({copy / made:.2f} of cp), {resident / 2**20:.0f} MiB resident at most"
    )
    assert resident < MOST_RESIDENT
    assert copy / made > LEAST_SHARE
