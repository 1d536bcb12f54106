"""Encoders that end their process; loaded by name in workers."""

from __future__ import annotations

import itertools
import os
import signal
from pathlib import Path
from typing import Any


def dying(encoder: Any, notes: Path, times: int, at: int) -> Any:
    """Let an encoder kill its process at its ``at``-th chunk, so many times over all processes."""
    plain, calls = encoder.encode_regions, itertools.count()

    def encode(prepared: Any) -> Any:
        if next(calls) == at and len(list(notes.iterdir())) < times:
            (notes / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(prepared)

    encoder.encode_regions = encode
    return encoder


def dead_on_arrival() -> Any:
    """Never load anything."""
    os.kill(os.getpid(), signal.SIGKILL)


def cells_of(encoder: Any) -> Any:
    """A dense encoder of means over cells, whatever the encoder of crops."""
    import torch

    from patchrerank.encoders import Preprocessing, load_dense_encoder

    return load_dense_encoder(
        torch.nn.Sequential(torch.nn.AvgPool2d(4)),
        preprocessing=Preprocessing((32, 32), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
        image_size=32,
        device="cpu",
        name="cells",
    )


def dying_spec(settings: dict[str, Any], notes: Path, times: int, at: int) -> Any:
    """Load a named encoder that does so."""
    from patchrerank.encoders import load_encoder

    return dying(load_encoder(**settings), notes, times, at)
