"""What is exported of a gallery: its arrays block by block, and what is recorded beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.errors import GalleryError, SettingError
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.identity import IMPORTED
from patchrerank.gallery.import_origin import Origin
from patchrerank.gallery.live_arrays import CUT_BY, counts_at, live_blocks, rows_at
from patchrerank.gallery.manifest_reading import check_encoder
from patchrerank.gallery.region_vectors import live_patches
from patchrerank.gallery.row_sources import Array, RowSource
from patchrerank.gallery.stores import FLOATS

BLOCK_ROWS = 1 << 14
RECORD = ("encoder", "identity", "regions")


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


def columns_of(gallery: Gallery) -> dict[str, Column]:
    """Return ``globals``, ``patches``, ``counts`` and, where there are any, ``boxes``.

    Patches that are stored as floats are exported as they are, others decoded to float32.
    """
    counts = counts_at(np.asarray(gallery.patch_ends), gallery.live)
    found = {
        "globals": _stored(gallery, "globals", len(counts)),
        "patches": _patches(gallery, int(counts.sum())),
        "counts": Column("<i8", counts.shape, lambda: iter([counts])),
    }
    boxes = {"boxes": _stored(gallery, "boxes", int(counts.sum()))} if gallery.has_boxes else {}
    return {**found, **boxes}


def _stored(gallery: Gallery, name: str, rows: int) -> Column:
    """Return the array of a gallery, or what is left of it without rows that were removed."""
    array = gallery.array(name)
    if rows == len(array):
        return Column(array.dtype, array.shape, lambda: RowSource(array, "").blocks())
    ends = [CUT_BY[name]] if name in CUT_BY else []
    arrays = {one: gallery.array(one) for one in (name, *ends)}
    blocks = partial(live_blocks, arrays, gallery.live)
    return Column(
        array.dtype, (rows, *array.shape[1:]), lambda: (block[name] for block in blocks())
    )


def _patches(gallery: Gallery, total: int) -> Column:
    if gallery.manifest.store in FLOATS:
        return _stored(gallery, "patches", total)
    store, rows = gallery.patch_store, live_patches(gallery)
    return Column(
        "<f4",
        (total, gallery.dim),
        lambda: (
            np.asarray(store.decode(np.asarray(rows[start : start + BLOCK_ROWS])))
            for start in range(0, total, BLOCK_ROWS)
        ),
    )


def packed_ids(gallery: Gallery) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None:
    """Return whole numbers as int64 ``(N,)``, UUIDs as uint8 ``(N, 16)``; None for text."""
    raw = np.asarray(gallery.array("ids")).view(np.uint8)
    kind = gallery.manifest.id_type
    if kind == "text":
        return None
    every = raw.view("<i8") if kind == "int" else raw.reshape(-1, 16)
    return rows_at(every, gallery.live)


def record_of(gallery: Gallery) -> str:
    """Return, as JSON, what made the vectors and the regions of a gallery."""
    made = gallery.manifest
    encoder: dict[str, object] = dict(made.encoder)
    if made.whitened:  # no encoder makes such vectors by itself
        name = f"{encoder.get('spec')}, whitened"
        encoder = {"spec": name, "architecture": IMPORTED, "precision": "unknown"}
    record = {"encoder": encoder, "identity": made.identity, "regions": made.regions}
    return json.dumps(record, ensure_ascii=False)


def read_record(text: str, where: str) -> tuple[Origin, str]:
    """Return who made exported vectors, and the spec of their regions.

    Raises:
        GalleryError: it is no such record; names the file.
    """
    try:
        found: Any = json.loads(text)
        encoder, identity, regions = (found[key] for key in RECORD)
        if not isinstance(encoder, Mapping) or not isinstance(identity, str):
            raise TypeError("encoder")
        check_encoder(encoder, where)
        return Origin(dict(encoder), identity), str(regions)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise GalleryError(
            f"{where}: the record of an export is damaged; say --encoder, and restore the file"
        ) from error


def check_whole(gallery: Gallery) -> None:
    """Refuse a gallery without images.

    Raises:
        SettingError: it has none.
    """
    if not gallery.live_count:
        raise SettingError(f"{gallery.folder}: holds no images, so there is nothing to export")
