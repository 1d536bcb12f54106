"""Building, saving and opening a faiss index over all patches of a gallery."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from patchrerank.boxes import Floats
from patchrerank.errors import GalleryError, SettingError
from patchrerank.files import write_whole, writing, written_beside
from patchrerank.gallery import Gallery

INDEX_FILE = "patches.faiss"
RECORD_FILE = "patches.json"
OURS = re.compile(r"patches\.(faiss|json)(\.tmp)?")
ADD_ROWS = 100_000
PUBLISHED = "IVF4096,PQ64"
"""Patchify's published setting: nlist 4096, m = 64, 8 bits a code."""


@dataclass(frozen=True)
class IndexRecord:
    """What an index was built over; an index of another gallery is refused.

    Attributes:
        identity: the gallery's encoder identity.
        patches: number of vectors.
        patches_crc32: checksum of the gallery's patch vectors.
        factory: faiss index-factory string.
        train_on: what the quantisers were trained on.
    """

    identity: str
    patches: int
    patches_crc32: int
    factory: str
    train_on: str


def build_patch_index(
    gallery: Gallery,
    folder: str | Path,
    factory: str = PUBLISHED,
    *,
    train: Floats | None = None,
    train_on: str = "all patches",
    seed: int = 0,
    progress: bool = True,
) -> Path:
    """Train a faiss index, add all patch vectors in chunks, and save it.

    Args:
        gallery: whose patches are indexed, in row order.
        folder: where ``patches.faiss`` and ``patches.json`` are written (atomically).
        factory: faiss index-factory string: ``Flat``, ``IVF4096,PQ64``, ``HNSW32``, …; inner
            product is the metric.
        train: float32 ``(n, d)`` training vectors; None takes the patches themselves.
        train_on: how the record names them.
        seed: of the sample that faiss is trained on, where there are more patches than it uses.
        progress: show a progress bar.

    Returns:
        The path of the index file.

    Raises:
        SettingError: faiss does not know the factory string or has too few training vectors, or
            the index cannot be written.
        GalleryError: the folder holds something else.
    """
    import faiss

    target = Path(folder)
    _take_folder(target)
    try:
        index = faiss.index_factory(gallery.dim, factory, faiss.METRIC_INNER_PRODUCT)
        if not index.is_trained:
            index.train(_training_vectors(gallery, train, seed))
        _add_all(index, gallery, progress=progress)
    except RuntimeError as error:
        raise SettingError(
            f"faiss cannot build {factory!r} over {gallery.manifest.patches} patches of "
            f"{gallery.dim} dimensions: {str(error).splitlines()[0]}"
        ) from error
    with written_beside(target / INDEX_FILE, scratch_name=f"{INDEX_FILE}.tmp") as scratch:
        _save(index, scratch)
    record = json.dumps(asdict(_record(gallery, factory, train_on)), indent=1)
    write_whole(target / RECORD_FILE, record.encode(), scratch_name=f"{RECORD_FILE}.tmp")
    return target / INDEX_FILE


def _take_folder(folder: Path) -> None:
    """Make the folder; one that is there must be empty but for an index."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        foreign = [path.name for path in folder.iterdir() if not OURS.fullmatch(path.name)]
    if foreign:
        raise GalleryError(
            f"{folder}: is no patch index but holds {foreign[0]!r}; choose an empty folder"
        )


def _save(index: Any, path: Path) -> None:
    import faiss

    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1][:200]
        raise SettingError(f"{path.parent}: the index cannot be written ({reason})") from error


def open_patch_index(gallery: Gallery, folder: str | Path) -> tuple[Any, IndexRecord]:
    """Open a saved index, memory-mapped where faiss can.

    Raises:
        GalleryError: nothing there, damaged, or built over another gallery.
    """
    import faiss

    target = Path(folder)
    try:
        content = json.loads((target / RECORD_FILE).read_text(encoding="utf-8"))
        record = IndexRecord(**content)
        index = faiss.read_index(str(target / INDEX_FILE), faiss.IO_FLAG_MMAP)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise GalleryError(
            f"{target}: no usable patch index ({reason}); build it with build_patch_index"
        ) from error
    if record != _record(gallery, record.factory, record.train_on):
        raise GalleryError(
            f"{target}: this index was built over other patches than those of {gallery.folder}; "
            "build it again"
        )
    return index, record


def patch_vectors(gallery: Gallery, start: int, stop: int) -> Floats:
    """Return patch vectors as float32, whatever the store."""
    return gallery.patch_store.decode(np.arange(start, min(stop, gallery.manifest.patches)))


def _training_vectors(gallery: Gallery, train: Floats | None, seed: int) -> Floats:
    if train is not None:
        if train.ndim != 2 or train.shape[1] != gallery.dim:
            raise SettingError(
                f"training vectors have the shape {train.shape}, expected (n, {gallery.dim})"
            )
        return np.ascontiguousarray(train, dtype=np.float32)
    count, most = gallery.manifest.patches, 1_000_000
    rows = np.arange(count)
    if count > most:
        rows = np.sort(np.random.default_rng(seed).choice(count, most, replace=False))
    return gallery.patch_store.decode(rows)


def _add_all(index: Any, gallery: Gallery, *, progress: bool) -> None:
    total = gallery.manifest.patches
    with tqdm(total=total, unit="patch", desc="add", disable=not progress) as bar:
        for start in range(0, total, ADD_ROWS):
            block = patch_vectors(gallery, start, start + ADD_ROWS)
            index.add(block)
            bar.update(len(block))


def _record(gallery: Gallery, factory: str, train_on: str) -> IndexRecord:
    made = gallery.manifest
    crc = made.arrays["patches"].crc32
    return IndexRecord(made.identity, made.patches, crc, factory, train_on)
