"""What a worker does: loads the encoder once, then makes a shard of each block that it is given."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchrerank.distributed.options import LocalWork
from patchrerank.gallery import BuildOptions, build_gallery, build_local
from patchrerank.gallery.block import Block
from patchrerank.gallery.builder import MIN_CHUNK, chunk_size, loaded_encoder
from patchrerank.regions import Regions

if TYPE_CHECKING:
    from patchrerank.encoders import DenseEncoder, Encoder


@dataclass(frozen=True)
class Recipe:
    """What a worker is made with.

    Attributes:
        encoder: as ``build_gallery`` takes it, or a function that loads it.
        regions: a strategy.
        local: local descriptors, if any are made.
        threads: of the network, and that decode and cut.
    """

    encoder: Encoder | str | Callable[[], Encoder]
    regions: Regions
    local: LocalWork | None
    threads: int


@dataclass(frozen=True)
class Task:
    """One shard to make.

    Attributes:
        folder: the shard's.
        block: its images.
        options: how it is built.
        local: whether it gets local descriptors.
    """

    folder: Path
    block: Block
    options: BuildOptions
    local: bool

    def __str__(self) -> str:
        return f"its block of {self.block.length:,} images ({self.block})"

    @property
    def remedy(self) -> str:
        """What to do where it ends its workers."""
        return (
            "look for a picture that crashes the decoder, or give workers more memory; the same "
            "command goes on"
        )


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes:
        images: in the shard.
        skipped: ids, and why; of local descriptors, too.
    """

    images: int
    skipped: tuple[tuple[str, str], ...]


class Worker:
    """Holds one encoder; the methods run in a process of their own."""

    _recipe: Recipe
    _encoder: Encoder
    _dense: DenseEncoder | None = None

    def load(self, recipe: Recipe) -> int:
        """Load the encoder; return how many images are encoded together.

        Raises:
            EncoderError: it cannot be loaded.
        """
        os.environ["OMP_NUM_THREADS"] = str(recipe.threads)
        import torch

        torch.set_num_threads(recipe.threads)
        given: Any = recipe.encoder
        made = isinstance(given, str) or hasattr(given, "encode_regions")
        self._recipe, self._encoder = recipe, loaded_encoder(given if made else given())
        chunk = chunk_size(self._encoder, recipe.regions)
        if recipe.local is None:
            return chunk
        self._dense = recipe.local.load(self._encoder)
        return math.lcm(chunk, max(MIN_CHUNK, self._dense.batch_size))

    def run(self, task: Task) -> Outcome:
        """Make a shard, or finish one that another worker has begun.

        Raises:
            PatchRerankError: see :func:`patchrerank.gallery.build_gallery`.
        """
        made = build_gallery(
            task.folder, task.block, self._encoder, self._recipe.regions, task.options
        )
        skipped = made.manifest.skipped
        if task.local and self._dense is not None and self._recipe.local is not None:
            found = build_local(made, self._dense, self._recipe.local.options)
            skipped = (*skipped, *found.manifest.skipped)
        return Outcome(len(made), skipped)
