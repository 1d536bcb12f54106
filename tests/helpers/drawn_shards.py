"""Drawn galleries with local descriptors, to be joined."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from drawn_galleries import draw_gallery
from local_twins import make_local
from patchrerank.gallery import Gallery
from patchrerank.gallery.local_manifest import LocalManifest
from patchrerank.gallery.local_writer import open_local_writer
from patchrerank.types import LocalDescriptors

GRIDS = ((5, 6), (3, 3))
COUNTS = (7, 1, 12, 5)
"""Images of each shard."""


def draw_shards(folder: Path, store="float32", local="float16", counts=COUNTS, dim=16):
    """Write galleries whose ids go on from one to the next; some images have no patches."""
    parts = []
    for number, count in enumerate(counts):
        names = [f"{number}/{image}.jpg" for image in range(count)]
        patches = (np.arange(count) * (number + 2)) % 6
        part = draw_gallery(folder / f"part-{number}", names, patches, dim, store, seed=number)
        if local is not None:
            draw_local(part, local, seed=number)
        parts.append(part.folder)
    return parts


def draw_local(gallery: Gallery, store="float16", dim=16, seed=0, fingerprint="drawn") -> None:
    """Give a gallery drawn local descriptors; some images have none."""
    drawn = make_local(np.random.default_rng(seed), np.arange(len(gallery)) % 4 * 3, GRIDS, dim)
    plan = LocalManifest(dim, store, {"spec": "drawn"}, "drawn", fingerprint, GRIDS, 16)
    with open_local_writer(gallery.folder / "local", plan) as writer:
        for row, end in enumerate(drawn.ends):
            own = slice(drawn.ends[row - 1] if row else 0, end)
            rows = np.arange(*own.indices(len(drawn.store)))
            weights = np.linspace(1, 0, len(rows), dtype=np.float32)
            held = drawn.store.decode(rows), drawn.positions[own], drawn.scales[own], weights
            writer.commit([LocalDescriptors(*held)], [gallery.ids[row]])
        writer.finish()
