"""What it costs to encode an image's regions, by one way or another."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from patchrerank.gallery.preparing import prepare_image
from patchrerank.images import ImageSource
from patchrerank.regions import Regions

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder


def seconds_per_image(
    images: Sequence[tuple[str, ImageSource]],
    ways: Mapping[str, tuple[Encoder, Regions]],
    *,
    rounds: int = 5,
    block: int = 8,
) -> dict[str, float]:
    """Return the median seconds an image of each way, in turns, so that ratios can be trusted.

    Counted are decoding, finding and cutting regions, and the network, one after another; a
    gallery's build overlaps them.

    Args:
        images: ``(id, image)``; each round takes the next ``block`` of them, from the start
            again where they end.
        ways: name → encoder and regions.
        rounds: measured ones; one more warms up.
        block: images encoded together.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        chosen = [images[(number * block + item) % len(images)] for item in range(block)]
        for name, (encoder, regions) in ways.items():
            begun = time.perf_counter()
            prepared = [prepare_image(encoder, regions, *image).cuts for image in chosen]
            encoder.encode_regions(prepared)
            times[name].append((time.perf_counter() - begun) / block)
    return {name: float(np.median(found[1:])) for name, found in times.items()}
