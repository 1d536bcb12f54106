"""Shared: a tiny encoder, drawn photographs, a gallery of them."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from networks_once import networks_once

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each of many processes compiles all modules
sys.dont_write_bytecode = False
gc.disable()  # while thousands of modules are imported, of which nothing is garbage
settings.register_profile("thorough", deadline=None, max_examples=500)
settings.register_profile("patchrerank", deadline=None, max_examples=50)  # kernels are compiled
settings.load_profile("patchrerank")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Start workers with one thread each: those of a BLAS spin while they wait for a core.

    They take halves, so that few fixtures are built twice, and then from each other.
    """
    if not getattr(config.option, "numprocesses", None):
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if config.option.dist == "no":
        config.option.dist = "worksteal"


def pytest_collection_finish() -> None:
    """Look for garbage from now on, and not among all that was imported."""
    gc.freeze()
    gc.enable()
    networks_once()


@pytest.fixture(scope="module", autouse=True)
def no_power_cuts():
    """Let nothing wait for the disk here; processes that are killed on purpose still do."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda file: None)
        yield


def draw_photo(seed: int, width: int = 96, height: int = 72) -> Image.Image:
    """A smooth random picture: coarse noise, enlarged."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def make_tiny_encoder(seed: int = 0, batch_size: int = 32, side: int = 16):
    import torch

    from patchrerank.encoders import Preprocessing, load_encoder

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = torch.nn.Sequential(
            torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(48, 16)
        )
    preprocessing = Preprocessing((side, side), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "area")
    return load_encoder(
        module, preprocessing=preprocessing, device="cpu", batch_size=batch_size, name="tiny"
    )


@pytest.fixture(scope="session")
def tiny_encoder():
    return make_tiny_encoder()


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    (folder / "sub").mkdir()
    for number in range(40):
        name = f"sub/{number:02d}.png" if number % 5 == 0 else f"{number:02d}.png"
        draw_photo(number, 60 + number, 50 + 2 * number).save(folder / name)
    return folder


@pytest.fixture(scope="session")
def tiny_gallery(tmp_path_factory, photo_folder, tiny_encoder):
    from patchrerank.gallery import BuildOptions, build_gallery
    from patchrerank.regions import GridPyramid

    folder = tmp_path_factory.mktemp("gallery") / "g"
    quiet = BuildOptions(progress=False)
    return build_gallery(folder, photo_folder, tiny_encoder, GridPyramid(2), quiet)


@pytest.fixture
def quiet():
    from patchrerank.gallery import BuildOptions

    return BuildOptions(progress=False, backgrounds=4)


@pytest.fixture(scope="session")
def other_encoder():
    """The tiny encoder with other weights."""
    return make_tiny_encoder(seed=1)


@pytest.fixture(scope="session")
def larger_encoder():
    """The tiny encoder at another image size."""
    return make_tiny_encoder(side=24)
