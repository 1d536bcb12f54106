"""Building, saving and opening a faiss index over all patches of a gallery."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from patchrerank.boxes import Floats
from patchrerank.errors import GalleryError, SettingError, short_reason
from patchrerank.files import write_whole, writing, written_beside
from patchrerank.first_stage.factory_strings import check_factory
from patchrerank.gallery import Gallery
from patchrerank.gallery.arrays import crc_of
from patchrerank.gallery.region_vectors import decoded_patches, live_patches
from patchrerank.json_files import read_json
from patchrerank.records import from_json
from patchrerank.types import Rows

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
        patches: number of the gallery's vectors.
        patches_crc32: checksum of the gallery's patch vectors.
        factory: faiss index-factory string.
        train_on: what the quantisers were trained on.
        indexed: number of vectors in the index, where those of removed images were left out and
            labels are numbers of patches; None: all, in their order.
        index_bytes: size of the index file; None in indexes of earlier versions.
        index_crc32: its checksum, likewise.
    """

    identity: str
    patches: int
    patches_crc32: int
    factory: str
    train_on: str
    indexed: int | None = None
    index_bytes: int | None = None
    index_crc32: int | None = None


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
        gallery: whose patches are indexed, in row order; those of removed images are left out.
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
        VectorError: a patch vector is NaN, infinite or all zeros; names the image and region.
    """
    patches = live_patches(gallery)
    count = len(patches)
    check_factory(factory, gallery.dim, count if train is None else len(train))
    if not count and factory != "Flat":
        raise SettingError(f"{gallery.folder}: holds no patches to build {factory!r} of; use Flat")
    import faiss

    target = Path(folder)
    _take_folder(target)
    try:
        index = faiss.index_factory(gallery.dim, factory, faiss.METRIC_INNER_PRODUCT)
        if not index.is_trained:
            index.train(_training_vectors(gallery, patches, train, seed))
        index = _add_all(index, gallery, patches, progress=progress)
    except (RuntimeError, MemoryError) as error:
        raise SettingError(
            f"faiss cannot build {factory!r} over {count} patches of {gallery.dim} dimensions: "
            f"{short_reason(error)}"
        ) from error
    with written_beside(target / INDEX_FILE) as scratch:
        _save(index, scratch)
        size = scratch.stat().st_size
        made = replace(
            _record(gallery, factory, train_on),
            indexed=count if count < gallery.manifest.patches else None,
            index_bytes=size,
            index_crc32=crc_of(scratch, size),
        )
    write_whole(target / RECORD_FILE, json.dumps(asdict(made), indent=1).encode())
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

    The whole file is read once and compared with its checksum first, since faiss follows what
    stands in there; indexes of earlier versions have no checksum and are believed.

    Raises:
        GalleryError: nothing there, damaged, or built over another gallery.
    """
    import faiss

    target = Path(folder)
    try:
        content = read_json(target / RECORD_FILE)
        record = from_json(IndexRecord, content, str(target / RECORD_FILE), complete=False)
        _check_file(target / INDEX_FILE, record)
        index = faiss.read_index(str(target / INDEX_FILE), faiss.IO_FLAG_MMAP)
    except (OSError, SettingError, RuntimeError, MemoryError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise GalleryError(
            f"{target}: no usable patch index ({reason}); build it with build_patch_index"
        ) from error
    expected = _record(gallery, record.factory, record.train_on)
    count = gallery.manifest.patches if record.indexed is None else record.indexed
    other = (index.d, index.ntotal) != (gallery.dim, count)
    if other or replace(record, indexed=None, index_bytes=None, index_crc32=None) != expected:
        raise GalleryError(
            f"{target}: this index was built over other patches than those of {gallery.folder}; "
            "build it again"
        )
    return index, record


def _check_file(path: Path, record: IndexRecord) -> None:
    size = path.stat().st_size
    if record.index_bytes is not None and size != record.index_bytes:
        raise SettingError(f"{path}: has {size} bytes, {RECORD_FILE} says {record.index_bytes}")
    if record.index_crc32 is not None and crc_of(path, size) != record.index_crc32:
        raise SettingError(f"{path}: the checksum differs from that in {RECORD_FILE}")


def _training_vectors(
    gallery: Gallery, rows: Rows | range, train: Floats | None, seed: int
) -> Floats:
    if train is not None:
        if train.ndim != 2 or train.shape[1] != gallery.dim:
            raise SettingError(
                f"training vectors have the shape {train.shape}, expected (n, {gallery.dim})"
            )
        return np.ascontiguousarray(train, dtype=np.float32)
    count, most = len(rows), 1_000_000
    kept = np.asarray(rows)
    if count > most:
        kept = kept[np.sort(np.random.default_rng(seed).choice(count, most, replace=False))]
    return decoded_patches(gallery, kept)


def _add_all(index: Any, gallery: Gallery, rows: Rows | range, *, progress: bool) -> Any:
    """Add patches; return the index, which has labels of its own where some are left out."""
    numbered = len(rows) < gallery.manifest.patches
    index = _with_labels(index) if numbered else index
    with tqdm(total=len(rows), unit="patch", desc="add", disable=not progress) as bar:
        for start in range(0, len(rows), ADD_ROWS):
            some = np.asarray(rows[start : start + ADD_ROWS])
            block = decoded_patches(gallery, some)
            if numbered:
                index.add_with_ids(block, some)
            else:
                index.add(block)
            bar.update(len(block))
    return index


def _with_labels(index: Any) -> Any:
    """Return an index that takes labels: an inverted file has them, others are wrapped."""
    import faiss

    plain = faiss.downcast_index(index)
    while isinstance(plain, faiss.IndexPreTransform):
        plain = faiss.downcast_index(plain.index)
    if isinstance(plain, faiss.IndexIVF):
        return index
    return faiss.IndexIDMap(index)


def _record(gallery: Gallery, factory: str, train_on: str) -> IndexRecord:
    made = gallery.manifest
    crc = made.arrays["patches"].crc32
    return IndexRecord(made.identity, made.patches, crc, factory, train_on)
