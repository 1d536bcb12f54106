"""What is exported of a gallery: its arrays block by block, and what is recorded beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.errors import GalleryError, SettingError
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.identity import IMPORTED
from patchrerank.gallery.import_origin import Origin
from patchrerank.gallery.manifest_reading import check_encoder
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
    counts = np.diff(np.asarray(gallery.patch_ends), prepend=0)
    found = {
        "globals": _stored(gallery.array("globals")),
        "patches": _patches(gallery),
        "counts": Column("<i8", counts.shape, lambda: iter([counts])),
    }
    return {**found, **({"boxes": _stored(gallery.array("boxes"))} if gallery.has_boxes else {})}


def _stored(array: Array) -> Column:
    return Column(array.dtype, array.shape, lambda: RowSource(array, "").blocks())


def _patches(gallery: Gallery) -> Column:
    if gallery.manifest.store in FLOATS:
        return _stored(gallery.patches)
    store, total = gallery.patch_store, gallery.manifest.patches
    starts = range(0, total, BLOCK_ROWS)
    return Column(
        "<f4",
        (total, gallery.dim),
        lambda: (
            np.asarray(store.decode(np.arange(start, min(start + BLOCK_ROWS, total))))
            for start in starts
        ),
    )


def packed_ids(gallery: Gallery) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None:
    """Return whole numbers as int64 ``(N,)``, UUIDs as uint8 ``(N, 16)``; None for text."""
    raw = np.asarray(gallery.array("ids")).view(np.uint8)
    kind = gallery.manifest.id_type
    if kind == "text":
        return None
    return raw.view("<i8") if kind == "int" else raw.reshape(-1, 16)


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
    if not len(gallery):
        raise SettingError(f"{gallery.folder}: holds no images, so there is nothing to export")
