"""Pictures indexed with the network on a device, beside that network alone."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from patchrerank.bench.device_machine import wait_for
from patchrerank.bench.rounds import Contestant, Job
from patchrerank.encoders import load_encoder
from patchrerank.encoders.loading import network_from_spec
from patchrerank.encoders.network import Request
from patchrerank.gallery import BuildOptions, build_gallery
from patchrerank.regions import GridPyramid

NETWORK = "the network alone, on ready tensors"
SIDE = 512
"""Of the drawn pictures, in pixels."""


def indexing(device: str, spec: str, precision: Any, images: int, workers: int) -> Job:
    """Return the job; the limit is the network without decoding, cutting, copying and writing.

    Raises:
        EncoderError: the network cannot be loaded, or not there.
    """
    name = device.removeprefix("torch:")
    how = {"device": name, "precision": precision, "pretrained": False, "backend": "eager"}
    encoder, regions = load_encoder(spec, **how), GridPyramid(3)
    folder = _pictures(images)
    options = BuildOptions(progress=False, backgrounds=0, workers=workers)
    crops = images * len(regions.boxes("", SIDE, SIDE))

    def build(number: int) -> None:
        out = folder / f"gallery-{number}"
        build_gallery(out, folder / "pictures", encoder, regions, options)
        shutil.rmtree(out)

    module, batch = _module(spec, name, precision, encoder.batch_size)

    def alone(_: int) -> None:
        with torch.inference_mode():
            for start in range(0, crops, len(batch)):
                module(batch[: min(len(batch), crops - start)])
        wait_for(batch.device)

    contestants = [
        Contestant("index --regions grid:3", build, compare=False),
        Contestant(NETWORK, alone, compare=False),
    ]
    return Job(f"{images} images, {spec}, {precision}", contestants, lambda n: n, NETWORK)


def _module(
    spec: str, device: str, precision: str, size: int
) -> tuple[torch.nn.Module, torch.Tensor]:
    """Return the network as the encoder runs it, and a batch of its input."""
    network = network_from_spec(spec, Request(pretrained=False))
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    layout = torch.channels_last if network.channels_last else torch.contiguous_format
    module = network.module.eval().requires_grad_(False).to(device, dtype)
    batch = torch.zeros(size, 3, *network.preprocessing.image_size, device=device, dtype=dtype)
    return module.to(memory_format=layout), batch.contiguous(memory_format=layout)


def _pictures(count: int) -> Path:
    """Draw JPEGs: coarse noise, enlarged, with some grain."""
    folder = Path(tempfile.mkdtemp(prefix="patchrerank-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "pictures").mkdir()
    for number in range(count):
        rng = np.random.default_rng(number)
        coarse = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.int16)
        grain = rng.integers(-12, 13, smooth.shape, dtype=np.int16)
        picture = Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8))
        picture.save(folder / "pictures" / f"{number:05d}.jpg", quality=90)
    return folder
