"""Build a local store while being killed at random moments; run by test_local_store.

Arguments: gallery to copy from, folder to work in, number of kills, seed. Forks before torch
starts any thread, so that each child is cheap.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch

from patchrerank.encoders import Preprocessing, load_dense_encoder
from patchrerank.gallery import Gallery, LocalOptions, build_local

PREPROCESSING = Preprocessing((32, 32), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "area")


def build(folder: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 48, 5), torch.nn.ReLU(), torch.nn.Conv2d(48, 24, 5, stride=8)
    )
    encoder = load_dense_encoder(
        module, preprocessing=PREPROCESSING, image_size=64, device="cpu", name="killed"
    )
    build_local(Gallery(folder), encoder, LocalOptions(store="int8", progress=False))


def images_in(folder: Path) -> int:
    """Return how many images are committed in a store under way."""
    path = folder / "local" / "building.json"
    return json.loads(path.read_text())["images"] if path.exists() else 0


def build_in_child(folder: Path, rng: np.random.Generator | None) -> bool:
    """Build in a child; with ``rng``, kill it some commits and milliseconds later."""
    child = os.fork()
    if child == 0:
        build(folder)
        os._exit(0)
    if rng is not None:
        goal = images_in(folder) + rng.integers(0, 40)
        while images_in(folder) < goal and os.waitpid(child, os.WNOHANG) == (0, 0):
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.03))
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    try:
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    except ChildProcessError:  # it had finished
        return False


def main() -> None:
    origin, out, kills, seed = Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:])
    for name in ("whole", "pieces"):
        shutil.copytree(origin, out / name)
    build_in_child(out / "whole", None)
    rng = np.random.default_rng(seed)
    killed = 0
    done = out / "pieces" / "local" / "manifest.json"
    while killed < kills and not done.exists():
        killed += build_in_child(out / "pieces", rng)
    if not done.exists():
        build_in_child(out / "pieces", None)
    print(killed)


if __name__ == "__main__":
    main()
