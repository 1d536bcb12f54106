"""Build a gallery while being killed at random moments; run by test_killed_builds.

Arguments: folder of photos, folder to write, number of kills of a run, seeds, one a run. Forks
before torch starts any thread, so that each child is cheap.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from children import in_child
from patchrerank.encoders import Preprocessing, load_encoder
from patchrerank.gallery import BuildOptions, build_gallery
from patchrerank.regions import GridPyramid

PREPROCESSING = Preprocessing((32, 32), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "area")


class Slow(torch.nn.Module):
    """Changes nothing and takes its time, so that there is time to be killed in."""

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        time.sleep(0.015)
        return crops


def build(photos: Path, out: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        Slow(),
        torch.nn.Conv2d(3, 32, 5),
        torch.nn.ReLU(),
        torch.nn.Conv2d(32, 32, 5),
        torch.nn.AdaptiveAvgPool2d(2),
        torch.nn.Flatten(),
    )
    encoder = load_encoder(module, preprocessing=PREPROCESSING, device="cpu", name="killed")
    build_gallery(out, photos, encoder, GridPyramid(2), BuildOptions(progress=False))


def main() -> None:
    PREPROCESSING.prepare(Image.new("RGB", (9, 9)), [[0, 0, 1, 1]])  # compile before forking
    photos, out, (kills, *seeds) = Path(sys.argv[1]), Path(sys.argv[2]), map(int, sys.argv[3:])
    _, seconds = in_child(partial(build, photos, out / "whole"), None)
    print(*(run(photos, out / f"pieces-{seed}", kills, seed, seconds) for seed in seeds))


def run(photos: Path, pieces: Path, kills: int, seed: int, seconds: float) -> int:
    """Build a gallery that a quiet run makes in ``seconds``; return how often it was killed."""
    again = partial(build, photos, pieces)
    rng = np.random.default_rng(seed)
    killed = 0
    for _ in range(kills):
        was_killed, _ = in_child(again, rng.uniform(0.08, 0.3) * seconds)
        killed += was_killed
        if not (pieces / "building.json").exists() and (pieces / "manifest.json").exists():
            break
    if not (pieces / "manifest.json").exists():
        in_child(again, None)
    return killed


if __name__ == "__main__":
    main()
