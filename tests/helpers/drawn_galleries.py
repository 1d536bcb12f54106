"""Galleries of any size, written directly: drawn vectors, no pictures and no encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from patchrerank.gallery import Gallery
from patchrerank.gallery.arrays import ArrayFiles
from patchrerank.gallery.id_table import write_table
from patchrerank.gallery.id_types import ID_TYPES
from patchrerank.gallery.manifest import MANIFEST, Manifest
from patchrerank.gallery.stores import gallery_records, store_columns

ENCODER = {
    "spec": "drawn",
    "architecture": "drawn",
    "precision": "fp32",
    "preprocessing": {"image_size": [224, 224]},
}
BLOCK = 5000


def draw_gallery(folder, ids, patches, dim, store="float16", id_type="text", seed=0) -> Gallery:
    """Write a gallery; ``patches`` says how many each image has: one number, or one an image."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    counts = np.broadcast_to(np.asarray(patches, dtype=np.int64), len(ids))
    files = ArrayFiles(folder, gallery_records(store, dim))
    rng = np.random.default_rng(seed)
    for start in range(0, len(ids), BLOCK):
        part, held = ids[start : start + BLOCK], counts[start : start + BLOCK]
        files.append(_columns(part, held, dim, store, id_type, rng, files))
    files.flush(durable=False)
    made = Manifest(dim, store, "grid:3", dict(ENCODER), "drawn", 16, id_type=id_type)
    write_table(folder, made.with_arrays(files.records), None).write(folder / MANIFEST)
    files.close()
    return Gallery(folder)


def _columns(ids, counts, dim, store, id_type, rng, files):
    total = int(counts.sum())
    vectors = rng.standard_normal((total + len(ids), dim), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    raw = [ID_TYPES[id_type].packed([item]) for item in ids]
    names = [item[: int(stops[0])] for item, stops, _ in raw]
    corners = rng.uniform(0, 0.5, (total, 2)).astype(np.float32)
    return {
        "ids": np.frombuffer(b"".join(names), dtype=np.uint8),
        "id_ends": np.cumsum([len(item) for item in names]) + files.rows("ids"),
        "sizes": np.full((len(ids), 2), 1000, dtype=np.int32),
        "globals": vectors[total:],
        **store_columns(store, vectors[:total], None),
        "patch_ends": np.cumsum(counts) + files.rows("patches"),
        "boxes": np.concatenate([corners, corners + np.float32(0.5)], axis=1),
    }
