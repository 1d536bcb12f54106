"""Giving back the bytes of removed images: all arrays written anew without them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from patchrerank.errors import GalleryError
from patchrerank.gallery.folder import lock_folder
from patchrerank.gallery.gallery import LOCAL, Gallery
from patchrerank.gallery.id_table import ID_TABLE, write_table
from patchrerank.gallery.live_folder import write_live, write_live_local
from patchrerank.gallery.local_manifest import LocalManifest, is_of, read_local_manifest
from patchrerank.gallery.local_store import COMPACTED, LocalStore
from patchrerank.gallery.manifest import BUILDING, MANIFEST
from patchrerank.gallery.removed_rows import sweep
from patchrerank.gallery.removing import changing


def compact(folder: str | os.PathLike[str]) -> Gallery:
    """Write a gallery anew without the rows that were removed, its local descriptors with it.

    Rows are numbered anew, in their order. Until the last moment the folder holds what it held:
    a run that is killed changes nothing for readers, and the same call again begins anew or, where
    the new state was reached, tidies up. Whoever has the gallery open keeps what it had. While it
    runs, the disk holds both.

    A patch index, codes of a learned reranker and score tables made before name other rows: they
    are refused and must be made again.

    Args:
        folder: of the gallery.

    Returns:
        The gallery, opened again.

    Raises:
        GalleryError: no gallery, or one of shards; images or local descriptors are being added,
            or adding them was interrupted; it cannot be written (a full disk).
    """
    if Gallery(folder).shards is not None:
        raise GalleryError(
            f"{os.fspath(folder)}: is a gallery of shards; join them into one folder without the "
            f"rows that were removed: patchrerank merge NEW {os.fspath(folder)} --copy"
        )
    with changing(folder) as gallery, _with_local(gallery) as local:
        if gallery.live_count < len(gallery):
            _compact(gallery, local)
        _tidy(gallery.folder)
    return Gallery(folder)


def _compact(gallery: Gallery, local: LocalStore | None) -> None:
    folder = gallery.folder
    try:
        if local is not None:
            beside = write_live_local(gallery, local, local.folder)
            beside.write(local.folder / COMPACTED)
        table = gallery.manifest.arrays.get(ID_TABLE)
        write_table(folder, write_live(gallery), table).write(folder / MANIFEST)
    except BaseException:
        _tidy(folder)
        raise


@contextmanager
def _with_local(gallery: Gallery) -> Iterator[LocalStore | None]:
    """Give the local descriptors of a gallery's rows, if there are any, with their lock."""
    folder = gallery.folder / LOCAL
    if not (folder / MANIFEST).exists() and not (folder / BUILDING).exists():
        yield None
        return
    with lock_folder(folder):
        if (folder / BUILDING).exists():
            raise GalleryError(
                f"{folder}: storing local descriptors was interrupted; run the same index command "
                "again to finish it first, or delete the folder"
            )
        _settle(gallery, folder)
        store = LocalStore(folder)
        yield store if is_of(store.manifest, gallery.manifest, gallery.ids_crc) else None


def _settle(gallery: Gallery, folder: Path) -> None:
    """Bring to its end what a run that was killed began."""
    pending = folder / COMPACTED
    if not pending.exists():
        return
    if is_of(read_local_manifest(pending), gallery.manifest, gallery.ids_crc):
        pending.replace(folder / MANIFEST)
    else:
        pending.unlink()


def _tidy(folder: Path) -> None:
    """Let local descriptors follow their gallery, and delete the files that nothing names."""
    gallery, local = Gallery(folder), folder / LOCAL
    if (local / MANIFEST).exists():
        _settle(gallery, local)
        made: LocalManifest = read_local_manifest(local / MANIFEST)
        sweep(local, made.arrays)
    sweep(folder, gallery.manifest.arrays)
