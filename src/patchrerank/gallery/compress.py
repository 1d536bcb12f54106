"""Rewriting a gallery with smaller patch vectors."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from tqdm import tqdm

from patchrerank.boxes import Floats
from patchrerank.errors import GalleryError, whose_vectors
from patchrerank.gallery.arrays import ArrayWriter
from patchrerank.gallery.backgrounds import BACKGROUNDS
from patchrerank.gallery.compress_learning import (
    CompressOptions,
    Trained,
    train,
    whitened,
)
from patchrerank.gallery.compression import Compression, compare
from patchrerank.gallery.folder import check_empty, lock_folder, writing
from patchrerank.gallery.fresh_folder import clear
from patchrerank.gallery.gallery import LOCAL, WHITENING, Gallery
from patchrerank.gallery.id_table import ID_TABLE, write_table
from patchrerank.gallery.leftovers import PARTS
from patchrerank.gallery.live_arrays import live_blocks, rows_at
from patchrerank.gallery.live_folder import copy_local, live_manifest
from patchrerank.gallery.manifest import MANIFEST, REMOVED, ArrayRecord
from patchrerank.gallery.merging import write_set
from patchrerank.gallery.recording_files import joined_files
from patchrerank.gallery.region_vectors import decoded_patches, live_patches, named_patches
from patchrerank.gallery.removed_rows import Flags
from patchrerank.gallery.stores import PATCH_ARRAYS, split_store, store_columns, store_records
from patchrerank.gallery.whitening import Learned, whitened_manifest

if TYPE_CHECKING:
    from patchrerank.encoders import Whitening

BLOCK_ROWS = 16_384
SHARDS = "shards"
"""Folder of the shards of what was one of shards."""
NOT_WHITENED = "; leave its picture out of the gallery, or whiten to more dimensions"


class Rewriting(NamedTuple):
    """One shard to rewrite: from where, without which of its rows, to where, and how."""

    folder: Path
    removed: Flags
    target: Path
    options: CompressOptions
    trained: Trained


Rewrite: TypeAlias = Callable[[Path, Flags, Path, CompressOptions, Trained], None]
Run: TypeAlias = Callable[[Rewrite, Sequence[Rewriting]], None]
"""Does all of some jobs."""


def one_by_one(work: Rewrite, jobs: Sequence[Rewriting]) -> None:
    """Do jobs here, one behind the other."""
    for job in jobs:
        work(*job)


def compress(
    gallery: Gallery, out: str | Path, options: CompressOptions, run: Run = one_by_one
) -> Compression:
    """Write a copy of a gallery whose patch vectors are stored another way.

    The copy appears whole or not at all: its manifest is written last. Local descriptors, where
    there are any, are copied as they are. One of shards becomes one of shards again, which lie
    in ``out`` and have one quantiser and whitening, learned on patches of all.

    Args:
        gallery: of floats.
        out: the folder.
        options: see :class:`CompressOptions`.
        run: does the jobs of shards, once whitening and quantiser are learned.

    Raises:
        GalleryError: ``out`` exists and is not empty, or the gallery is already quantised.
        SettingError: impossible store settings, or too few training vectors.
        VectorError: a vector is NaN, infinite or all zeros, there or once whitened; names the
            image and the region.
    """
    target = Path(out)
    _check_target(gallery, target)
    with lock_folder(target):
        check_empty(target)
        clear(target)
        with writing(target):
            trained = train(gallery, options)
            if gallery.shards is None:
                _rewrite(gallery, target, options, trained)
            else:
                _rewrite_shards(gallery, target, options, trained, run)
    return compare(gallery, Gallery(target), options.seed)


def _rewrite_shards(
    gallery: Gallery, target: Path, options: CompressOptions, trained: Trained, run: Run
) -> None:
    shards = list(gallery.shards or ())
    folders = [f"{number:05d}" for number in range(len(shards))]
    removed = np.split(gallery.removed, np.cumsum([len(shard) for shard in shards])[:-1])
    plain = replace(options, train=None)
    run(
        rewrite_folder,
        [
            Rewriting(shard.place, flags, target / PARTS / folder, plain, trained)
            for shard, flags, folder in zip(shards, removed, folders, strict=True)
        ],
    )
    (target / PARTS).rename(target / SHARDS)
    parts = [Gallery(target / SHARDS / folder) for folder in folders]
    write_set(target, parts, [part.removed for part in parts], None)


def rewrite_folder(
    folder: Path, removed: Flags, target: Path, options: CompressOptions, trained: Trained
) -> None:
    """Rewrite one shard, from the beginning if this was begun before."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    shard = Gallery(folder)
    shard.__dict__ |= {"removed": removed, "live_count": int((~removed).sum())}
    _rewrite(shard, target, options, trained)


def _rewrite(gallery: Gallery, target: Path, options: CompressOptions, trained: Trained) -> None:
    whitening, centroids = trained.whitening, trained.centroids
    dim = gallery.dim if whitening is None else whitening.matrix.shape[1]
    records = _records(gallery, options, dim)
    writers = {name: ArrayWriter(target, name, record) for name, record in records.items()}
    if centroids is not None:
        writers["pq_centroids"].append(centroids)
    kept = {name: gallery.array(name) for name in set(records) - {*PATCH_ARRAYS, "globals"}}
    for arrays in live_blocks(kept, gallery.live):
        for name, rows in arrays.items():
            writers[name].append(rows)
    whole = rows_at(gallery.global_vectors, gallery.live)
    with whose_vectors(lambda row: repr(gallery.ids[gallery.live[row]]), NOT_WHITENED):
        writers["globals"].append(whitened(whole, whitening))
    for block in _blocks(gallery, whitening, progress=options.progress):
        for name, rows in store_columns(options.store, block, centroids).items():
            writers[name].append(rows)
    for writer in writers.values():
        writer.flush(durable=True)
        writer.close()
    _copy_backgrounds(gallery, target)
    joined_files([gallery], target)
    partial = target / f"{LOCAL}.tmp"
    if gallery.has_local:
        copy_local(gallery, partial)
    _write_manifest(gallery, target, options, trained.found, writers)
    if gallery.has_local:
        partial.rename(target / LOCAL)


def _copy_backgrounds(gallery: Gallery, target: Path) -> None:
    """Copy the backgrounds that are not of pictures that were removed."""
    gone = {str(gallery.ids[row]) for row in np.flatnonzero(gallery.removed).tolist()}
    if not gallery.has_backgrounds or not gone:
        gallery.copy_backgrounds(target)
    elif len(kept := gallery.backgrounds.without(gone)):
        kept.save(target / BACKGROUNDS)


def _check_target(gallery: Gallery, target: Path) -> None:
    if gallery.manifest.store not in ("float32", "float16"):
        raise GalleryError(
            f"{gallery.folder}: is already {gallery.manifest.store}; compress the float gallery "
            "(that of index --store float32)"
        )
    if (target / MANIFEST).exists():
        raise GalleryError(f"{target}: there is a gallery already; choose another folder")


def _records(gallery: Gallery, options: CompressOptions, dim: int) -> dict[str, ArrayRecord]:
    kept = {
        name: ArrayRecord(record.dtype, (0, *record.shape[1:]))
        for name, record in gallery.manifest.arrays.items()
        if name not in {*PATCH_ARRAYS, ID_TABLE, REMOVED}
    }
    kept["globals"] = ArrayRecord("<f4", (0, dim))
    return {**kept, **store_records(options.store, dim, options.m, options.nbits)}


def _blocks(gallery: Gallery, whitening: Whitening | None, *, progress: bool) -> Iterator[Floats]:
    every = live_patches(gallery)
    with tqdm(total=len(every), unit="patch", desc="compress", disable=not progress) as bar:
        for start in range(0, len(every), BLOCK_ROWS):
            rows = np.asarray(every[start : start + BLOCK_ROWS])
            vectors = decoded_patches(gallery, rows)
            with named_patches(gallery, rows, NOT_WHITENED):
                vectors = whitened(vectors, whitening)
            yield vectors
            bar.update(len(rows))


def _write_manifest(
    gallery: Gallery,
    target: Path,
    options: CompressOptions,
    found: Learned | None,
    writers: dict[str, ArrayWriter],
) -> None:
    made = live_manifest(gallery)
    if found is not None:
        found[0].save(target / WHITENING)
        made = whitened_manifest(made, found)
    elif made.whitened:
        shutil.copyfile(gallery.folder / WHITENING, target / WHITENING)
    made = replace(made, store=options.store, trained_on=_trained_on(options))
    whole = made.with_arrays({name: w.record for name, w in writers.items()})
    write_table(target, whole, None).write(target / MANIFEST)


def _trained_on(options: CompressOptions) -> str:
    return options.train_on if split_store(options.store)[0] == "pq" else ""
