"""What is exported of a gallery: its arrays block by block, and what is recorded beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.errors import EncoderError, GalleryError, SettingError
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.identity import combined_identity
from patchrerank.gallery.import_origin import Origin
from patchrerank.gallery.live_arrays import CUT_BY, counts_at, live_blocks, rows_at
from patchrerank.gallery.local_store import LocalStore
from patchrerank.gallery.local_vectors import LocalOrigin
from patchrerank.gallery.manifest import WhiteningRecord
from patchrerank.gallery.manifest_reading import check_encoder
from patchrerank.gallery.mapped import MappedFolder
from patchrerank.gallery.removed_rows import items_of
from patchrerank.gallery.row_sources import Array, RowSource
from patchrerank.gallery.stores import FLOATS
from patchrerank.records import from_json
from patchrerank.types import Floats, Rows

BLOCK_ROWS = 1 << 14
RECORD = ("encoder", "identity", "regions")
WHITENING_ARRAYS = ("mean", "matrix")


@dataclass(frozen=True)
class Column:
    """One array of an export.

    Attributes:
        dtype: of its values.
        shape: of all of it.
        blocks: gives its rows, from the first to the last.
    """

    dtype: npt.DTypeLike
    shape: tuple[int, ...]
    blocks: Callable[[], Iterator[Array]]

    @property
    def nbytes(self) -> int:
        """Bytes of all of it."""
        return int(np.dtype(self.dtype).itemsize * np.prod(self.shape, dtype=np.int64))


def columns_of(gallery: Gallery, *, local: bool = True) -> dict[str, Column]:
    """Return ``globals``, ``patches``, ``counts``, and ``boxes``, ``sizes`` and local descriptors.

    The last three only where there are any; local ones are ``local/vectors``, ``local/places``
    (float32 ``(L, 4)``: x, y, scale, weight) and ``local/counts``. What is stored as floats is
    exported as it is, else decoded to float32.

    Args:
        gallery: open.
        local: whether local descriptors are wanted.

    Raises:
        GalleryError: local descriptors that do not cover the gallery.
    """
    live, made = gallery.live, gallery.manifest
    counts = counts_at(np.asarray(gallery.patch_ends), live)
    total = int(counts.sum())
    found = {
        "globals": _stored(gallery, live, "globals", len(live)),
        "patches": _vectors(gallery, live, "patches", total, made.store, gallery.patch_store),
        "counts": _whole(counts),
    }
    if gallery.has_boxes:
        found["boxes"] = _stored(gallery, live, "boxes", total)
    if np.any(gallery.sizes):
        found["sizes"] = _stored(gallery, live, "sizes", len(live))
    return {**found, **(_local_columns(gallery.local, live) if local and gallery.has_local else {})}


def _local_columns(local: LocalStore, live: Rows) -> dict[str, Column]:
    counts = counts_at(np.asarray(local.ends), live)
    total, store = int(counts.sum()), local.manifest.store
    names = ("positions", "scales", "weights", "ends")
    blocks = partial(live_blocks, {name: local.array(name) for name in names}, live)
    return {
        "local/vectors": _vectors(local, live, "descriptors", total, store, local.store),
        "local/places": Column(
            "<f4",
            (total, 4),
            lambda: (np.column_stack([block[name] for name in names[:3]]) for block in blocks()),
        ),
        "local/counts": _whole(counts),
    }


def _whole(counts: Rows) -> Column:
    return Column("<i8", counts.shape, lambda: iter([counts]))


def _stored(folder: MappedFolder, live: Rows, name: str, rows: int) -> Column:
    """Return an array, or what is left of it without rows that were removed."""
    array = folder.array(name)
    if rows == len(array):
        return Column(array.dtype, array.shape, lambda: RowSource(array, "").blocks())
    ends = [CUT_BY[name]] if name in CUT_BY else []
    arrays = {one: folder.array(one) for one in (name, *ends)}
    blocks = partial(live_blocks, arrays, live)
    return Column(
        array.dtype, (rows, *array.shape[1:]), lambda: (block[name] for block in blocks())
    )


def _vectors(
    folder: MappedFolder, live: Rows, name: str, total: int, store: str, held: Any
) -> Column:
    """Return vectors as they are stored if that is as floats, others decoded."""
    if store in FLOATS:
        return _stored(folder, live, name, total)
    every = total == len(folder.array(name))
    rows = range(total) if every else items_of(np.asarray(folder.array(CUT_BY[name])), live)
    return Column(
        "<f4",
        (total, folder.manifest.dim),
        lambda: (
            np.asarray(held.decode(np.asarray(rows[start : start + BLOCK_ROWS])))
            for start in range(0, total, BLOCK_ROWS)
        ),
    )


def _in_blocks(total: int, read: Callable[[int, int], Array]) -> Iterator[Array]:
    for start in range(0, total, BLOCK_ROWS):
        yield np.asarray(read(start, min(start + BLOCK_ROWS, total)))


def packed_ids(gallery: Gallery) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None:
    """Return whole numbers as int64 ``(N,)``, UUIDs as uint8 ``(N, 16)``; None for text."""
    raw = np.asarray(gallery.array("ids")).view(np.uint8)
    kind = gallery.manifest.id_type
    if kind == "text":
        return None
    every = raw.view("<i8") if kind == "int" else raw.reshape(-1, 16)
    return rows_at(every, gallery.live)


def record_of(gallery: Gallery, columns: Collection[str]) -> str:
    """Return, as JSON, what made the exported columns of a gallery.

    Whitening is named by its fingerprint; :func:`whitening_of` has the rest of it.
    """
    made = gallery.manifest
    record: dict[str, object] = {name: getattr(made, name) for name in RECORD}
    if gallery.whitening is not None:
        learned = None if made.whitening is None else asdict(made.whitening)
        record["whitening"] = {"fingerprint": gallery.whitening.fingerprint, "learned": learned}
    if "local/vectors" in columns:
        local = gallery.local.manifest
        keys = [item.name for item in fields(LocalOrigin)]
        record["local"] = {key: getattr(local, key) for key in keys}
    return json.dumps(record, ensure_ascii=False)


def whitening_of(gallery: Gallery) -> dict[str, Floats]:
    """Return what is applied behind the encoder: ``mean`` and ``matrix``; nothing where none is."""
    held = gallery.whitening
    return {} if held is None else {name: getattr(held, name) for name in WHITENING_ARRAYS}


@dataclass(frozen=True)
class Record:
    """What made exported vectors.

    Attributes:
        origin: of the vectors; None: not known.
        regions: spec of the patches' regions; None: not known.
        local: what made local descriptors; None: not known.
    """

    origin: Origin | None = None
    regions: str | None = None
    local: LocalOrigin | None = None


def read_record(text: str, where: str, whitening: Callable[[], Mapping[str, Array]]) -> Record:
    """Return what made exported vectors.

    Args:
        text: the record.
        where: its file, for messages.
        whitening: returns what :func:`whitening_of` gave, empty if it is not there.

    Raises:
        GalleryError: it is no such record, or its whitening is missing or another; names the file.
    """
    try:
        found: Any = json.loads(text)
        encoder, identity, regions = (found[key] for key in RECORD)
        if not isinstance(encoder, Mapping) or not isinstance(identity, str):
            raise TypeError("encoder")
        check_encoder(encoder, where)
        local = found.get("local")
        made = None if local is None else from_json(LocalOrigin, local, f"{where}: local")
        origin = Origin(dict(encoder), identity)
        if found.get("whitening") is not None:
            origin = _whitened(origin, found["whitening"], whitening(), where)
        return Record(origin, str(regions), made)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, SettingError) as error:
        raise GalleryError(
            f"{where}: the record of an export is damaged; say --encoder, and restore the file"
        ) from error


def _whitened(origin: Origin, said: Any, arrays: Mapping[str, Array], where: str) -> Origin:
    from patchrerank.encoders import Whitening

    lacking = [name for name in WHITENING_ARRAYS if name not in arrays]
    if lacking:
        raise GalleryError(
            f"{where}: its vectors are whitened, but the whitening is not there ({lacking[0]}); "
            "restore the export, or take them as vectors that only you can make: --encoder TEXT"
        )
    try:
        held = Whitening(*(np.asarray(arrays[name]) for name in WHITENING_ARRAYS))
    except EncoderError as error:
        raise GalleryError(f"{where}: {error}") from error
    fingerprint = origin.encoder.get("fingerprint")
    whole = combined_identity(fingerprint, held) if isinstance(fingerprint, str) else None
    if held.fingerprint != said["fingerprint"] or whole not in (None, origin.identity):
        raise GalleryError(f"{where}: the whitening is not that of its vectors; export them again")
    learned = said.get("learned")
    record = None if learned is None else from_json(WhiteningRecord, learned, f"{where}: learned")
    return replace(origin, whitening=held, learned=record)


def check_whole(gallery: Gallery) -> None:
    """Refuse a gallery without images.

    Raises:
        SettingError: it has none.
    """
    if not gallery.live_count:
        raise SettingError(f"{gallery.folder}: holds no images, so there is nothing to export")
