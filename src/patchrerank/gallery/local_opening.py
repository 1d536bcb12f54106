"""Opening a gallery's local descriptors, and how to go on with those that are behind it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

from patchrerank.errors import GalleryError
from patchrerank.gallery.identity import index_options, is_imported, is_module
from patchrerank.gallery.local_manifest import LocalManifest, is_of, read_local_manifest
from patchrerank.gallery.local_store import COMPACTED, LocalStore
from patchrerank.gallery.manifest import BUILDING, MANIFEST, Manifest
from patchrerank.gallery.manifest_reading import read_manifest

FROM_HDF5 = "hdf5:"
"""Before the spec of descriptors from elsewhere, of which nobody knows the grids."""
NETWORK = ("spec", "weights", "pretrained", "precision")
"""Entries of a record that name a network."""


def open_local(
    folder: Path, gallery: Path, manifest: Manifest, ids_crc: Callable[[int], int]
) -> LocalStore:
    """Return the local store in a gallery's folder, if it covers all of its images.

    Args:
        folder: of the local store.
        gallery: its folder, as messages name it.
        manifest: of the gallery.
        ids_crc: :meth:`Gallery.ids_crc`.

    Raises:
        GalleryError: none, half-written, of fewer or of other images; says what to do.
    """
    store = held_local(folder, gallery, manifest, ids_crc)
    if len(store) < manifest.images:
        raise GalleryError(
            f"{folder}: covers {len(store)} of the gallery's {manifest.images} images; to go on "
            f"{how_to_go_on(gallery, manifest, store.manifest)}"
        )
    return store


def held_local(
    folder: Path, gallery: Path, manifest: Manifest, ids_crc: Callable[[int], int]
) -> LocalStore:
    """Return the local store of a gallery's first rows, be it of all of them or of fewer.

    Raises:
        GalleryError: none, half-written, or of other images.
    """
    if not folder.is_dir():
        raise GalleryError(
            f"{gallery}: has no local descriptors; make them with {_command(gallery, manifest)} "
            "(or build_local)"
        )
    if is_half_written(folder):
        made = read_local_manifest(folder / BUILDING)
        raise GalleryError(
            f"{folder}: these local descriptors are half-written; to finish them "
            f"{how_to_go_on(gallery, manifest, made)}"
        )
    store = _of_rows(folder, manifest, ids_crc)
    if store is None:
        if read_manifest(gallery / MANIFEST).numbering != manifest.numbering:
            raise GalleryError(
                f"{gallery}: was compacted since it was opened, and its local descriptors with it; "
                "open it again"
            )
        raise GalleryError(
            f"{folder}: these local descriptors are of other images than the gallery's; delete "
            "the folder and build them again"
        )
    return store


def is_half_written(folder: Path) -> bool:
    """Return whether the first build of a local store was stopped."""
    return (folder / BUILDING).is_file() and not (folder / MANIFEST).is_file()


def how_to_go_on(gallery: Path, manifest: Manifest, made: LocalManifest) -> str:
    """Return in words how the descriptors of a local store are continued, as they were made."""
    record = made.encoder
    if is_imported(record) or str(record.get("spec", "")).startswith(FROM_HDF5):
        return (
            f"is for who made them, {record.get('spec')!r}: they were imported; import all anew, "
            f"or delete {gallery / 'local'}"
        )
    options = _local_options(made)
    if options is None or is_module(record):
        return f"run build_local again, with the dense encoder of before ({record.get('spec')!r})"
    return f"run {_command(gallery, manifest, record)} {options}"


def _of_rows(folder: Path, manifest: Manifest, ids_crc: Callable[[int], int]) -> LocalStore | None:
    """Open the descriptors of a gallery's rows, also where they have just been compacted."""
    for name in (MANIFEST, COMPACTED, MANIFEST):  # the second takes the place of the first
        if name == MANIFEST or (folder / name).exists():
            store = LocalStore(folder, name)
            if is_of(store.manifest, manifest, ids_crc):
                return store
    return None


def _command(gallery: Path, made: Manifest, record: Mapping[str, object] | None = None) -> str:
    """Return the command that makes local descriptors with the network of a record.

    A gallery that is complete loads its own, of which nothing needs to be said.
    """
    own = record is None or all(record.get(k) == _defaults(made).get(k) for k in NETWORK)
    options = "" if own or record is None else f" {index_options(record)}"
    pictures = "PICTURES" if made.root is None else shlex.quote(made.root)
    return f"patchrerank index {pictures} {shlex.quote(str(gallery))} --local{options}"


def _defaults(made: Manifest) -> dict[str, object]:
    """Return a gallery's record of its encoder as a dense encoder would write it."""
    record = dict(made.encoder)
    if record.get("precision") == "fp32":
        del record["precision"]
    return record


def _local_options(made: LocalManifest) -> str | None:
    """Return the options of ``patchrerank index`` that make such descriptors; None: none do."""
    record = made.encoder
    sizes, count = record.get("sizes"), record.get("count")
    if not isinstance(sizes, list | tuple) or record.get("by") != "norm":
        return None
    if not all(height == width for height, width in sizes):
        return None
    first = sizes[0][0]
    scales = ",".join(f"{size[0] / first:.9g}" for size in sizes)
    options = [f"--local-image-size {first}"]
    options += [f"--local-scales {scales}"] * (len(sizes) > 1)
    options += [] if count is None else [f"--local-count {count}"]
    return " ".join([*options, f"--local-store {made.store}"])
