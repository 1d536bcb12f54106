"""An import beside ``cp`` of the same files: 1,000,000 images × 30 patches × 64, float16.

``pytest tests/benchmarks/test_import_benchmark.py -m slow -s --benchmark-enable``: some minutes, 9
GB of disk; ``IMPORT_IMAGES=200000`` for fewer. Whole processes, ``patchrerank import`` and bare
``cp``, take turns; between two the disk has taken all that was written. Sources are in the page
cache (``cached``), or the kernel is asked to drop them before each turn (``dropped``). The import
waits until the disk has its gallery, bare ``cp`` does not; ``cp`` and ``sync`` of its files stands
beside it.
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
ROUNDS = int(os.environ.get("IMPORT_ROUNDS", "5"))
MOST_RESIDENT = 500 << 20
LEAST_SHARE = 0.5
BLOCK = 10_000


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vectors")
    rng = np.random.default_rng(0)
    np.save(folder / "ids.npy", np.arange(IMAGES))
    for name, shape in (("globals", (DIM,)), ("patches", (PATCHES, DIM))):
        header = {"descr": "<f2", "fortran_order": False, "shape": (IMAGES, *shape)}
        with (folder / f"{name}.npy").open("wb") as out:
            np.lib.format.write_array_header_1_0(out, header)
            for start in range(0, IMAGES, BLOCK):
                count = min(BLOCK, IMAGES - start)
                drawn = rng.standard_normal((count, *shape), dtype=np.float32)
                drawn /= np.linalg.norm(drawn, axis=-1, keepdims=True)
                out.write(drawn.astype(np.float16).data)
    os.sync()
    yield folder
    shutil.rmtree(folder)


def prepare(source, state):
    """Bring the source's files into the page cache, or out of it, and let the disk rest."""
    os.sync()
    for file in source.iterdir():
        with file.open("rb", buffering=0) as opened:
            if state == "dropped":
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while state == "cached" and opened.read(1 << 22):
                pass


def timed(command, target, *, sync=False):
    """Return the seconds that a process took, those of processors, and its resident bytes."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    for file in target.iterdir() if sync else ():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
    spent = time.perf_counter() - begun
    assert status == 0
    shutil.rmtree(target)
    resident = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return spent, used.ru_utime + used.ru_stime, resident


def commands(source, folder):
    files = [word for name in ("ids", "globals", "patches") for word in (f"--{name}", name)]
    files = [word if word.startswith("--") else str(source / f"{word}.npy") for word in files]
    ours = [sys.executable, "-m", "patchrerank.cli.main", "import", str(folder / "g"), *files]
    ours += ["--encoder", "drawn", "--quiet"]
    copy = ["cp", "-r", str(source), str(folder / "cp")]
    return {
        "cp": (copy, folder / "cp", False),
        "import": (ours, folder / "g", False),
        "cp and sync": (copy, folder / "cp", True),
    }


@pytest.mark.slow
@pytest.mark.parametrize("state", ["cached", "dropped"])
def test_an_import_is_half_as_fast_as_cp_and_holds_little(source, tmp_path, state):
    size = sum(file.stat().st_size for file in source.iterdir())
    spent, busy = ({name: [] for name in commands(source, tmp_path)} for _ in range(2))
    most = 0
    for number in range(ROUNDS):
        turns = list(commands(source, tmp_path).items())
        for name, (command, target, sync) in turns[:: -1 if number % 2 else 1]:
            prepare(source, state)
            seconds, processor, resident = timed(command, target, sync=sync)
            spent[name].append(seconds)
            busy[name].append(processor)
            most = max(most, resident if name == "import" else 0)
    for name, times in spent.items():
        middle = sorted(times)[len(times) // 2]
        told = ", ".join(f"{one:.1f}" for one in times)
        processor = sorted(busy[name])[len(times) // 2]
        print(f"\n{state}, {name}: {size / middle / 1e6:.0f} MB/s ({told} s), ", end="")
        print(f"{processor:.1f} s of processors", end="")
    shares = [a / b for a, b in zip(spent["cp"], spent["import"], strict=True)]
    share = sorted(shares)[len(shares) // 2]
    print(f"\n{size / 1e9:.2f} GB, {state}: import at {share:.2f} of bare cp ", end="")
    print(f"({', '.join(f'{one:.2f}' for one in shares)}), {most / 2**20:.0f} MiB resident at most")
    assert most < MOST_RESIDENT
    assert share > LEAST_SHARE
