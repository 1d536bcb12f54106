"""Images of a gallery that have other vectors now, which somebody made elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from patchrerank.errors import GalleryError
from patchrerank.gallery.arrays import Array, ArrayFiles
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.id_table import ID_TABLE, write_table
from patchrerank.gallery.ids import Ids
from patchrerank.gallery.import_checks import VectorChecks
from patchrerank.gallery.import_counts import counts_of
from patchrerank.gallery.import_ids import PackedIds, pack_ids
from patchrerank.gallery.import_regions import ImportBoxes
from patchrerank.gallery.manifest import BUILDING, GIVEN_REGIONS, MANIFEST, NO_REGIONS, REMOVED
from patchrerank.gallery.removed_rows import sweep, write_flags
from patchrerank.gallery.removing import changing
from patchrerank.gallery.row_sources import RowSource, open_rows
from patchrerank.gallery.stamps import STAMPS
from patchrerank.gallery.stores import store_columns
from patchrerank.gallery.superseded import superseded
from patchrerank.regions.parsing import ONE_PASS
from patchrerank.types import Rows


def replace_vectors(
    folder: str | os.PathLike[str],
    ids: Any,
    global_vectors: Any,
    patches: Any,
    counts: Any = None,
    *,
    boxes: Any = None,
    normalise: bool = False,
    append: bool = False,
) -> Gallery:
    """Give images of a gallery other vectors, made by what made the gallery's.

    For readers, the old vectors go and the new ones come in one moment, of all images at once. A
    run that is killed changes nothing; the same call again begins anew. The old rows take their
    bytes until :func:`patchrerank.gallery.compact`.

    Args:
        folder: of the gallery.
        ids: of its images, N of its kind of ids; as for
            :func:`patchrerank.gallery.import_gallery`, which says the same of what follows.
        global_vectors: ``(N, d)``, as they are stored.
        patches: ``(N, P, d)``, or ``(T, d)`` with ``counts``.
        counts: how many patches each image has.
        boxes: where the gallery's have boxes that follow from no rule; otherwise None.
        normalise: divide each vector by its norm.
        append: ids that the gallery does not hold are added.

    Returns:
        The gallery, opened again.

    Raises:
        ShortlistError: an id that the gallery does not hold, without ``append``.
        GalleryError: arrays that do not fit; vectors that ``import_gallery`` would refuse; images
            are being added, or adding them was interrupted; it cannot be written.
    """
    with changing(folder) as gallery:
        if gallery.manifest.pictures is not None:
            raise GalleryError(
                f"{gallery.folder}: its pictures lie in tar shards or Parquet files, and vectors "
                "say nothing of where; use replace, which encodes pictures, or another folder"
            )
        given = _Given.of(gallery, ids, global_vectors, patches, counts, boxes, normalise)
        gallery.rows_of(list(given.ids(gallery)), strict=not append)
        gallery.manifest.write(gallery.folder / BUILDING)
        try:
            _append(gallery, given)
        except BaseException:
            ArrayFiles(gallery.folder, _growing(gallery)).close()  # what was written is cut off
            (gallery.folder / BUILDING).unlink()
            raise
        (gallery.folder / BUILDING).unlink()
    return Gallery(folder)


@dataclass(frozen=True)
class _Given:
    """What is given of N images, checked but for the vectors themselves."""

    packed: PackedIds
    whole: RowSource
    local: RowSource
    ends: Rows
    places: ImportBoxes
    normalise: bool

    @classmethod
    def of(
        cls,
        gallery: Gallery,
        ids: Any,
        whole: Any,
        local: Any,
        counts: Any,
        boxes: Any,
        normalise: bool,
    ) -> _Given:
        packed = pack_ids(ids, gallery.manifest.id_type)
        globals_, patches = open_rows(whole, "globals"), open_rows(local, "patches")
        for source in (globals_, patches):
            if source.shape[-1:] != (gallery.dim,) or source.dtype.kind != "f":
                raise GalleryError(
                    f"{source.name}: {source.dtype} {source.shape}; the vectors of "
                    f"{gallery.folder} are floats of {gallery.dim} dimensions"
                )
        if globals_.shape != (len(packed), gallery.dim):
            raise GalleryError(
                f"{globals_.name}: {globals_.shape}; {len(packed)} vectors are needed, one an id"
            )
        ends = np.cumsum(counts_of(len(packed), patches, counts))
        places = _places(gallery, boxes, patches, ends, packed)
        return cls(packed, globals_, patches, ends, places, normalise)

    def ids(self, gallery: Gallery) -> Ids:
        """Return the ids as they are."""
        return Ids(gallery.folder, self.packed.blob, self.packed.ends, self.packed.kind)

    def blocks(self, gallery: Gallery) -> Iterator[dict[str, Array]]:
        """Yield what is appended to arrays, block by block; ends count from 0."""
        check = VectorChecks(
            self.whole.name, self.packed, np.arange(1, len(self.packed) + 1), self.normalise
        )
        first = 0
        for block in self.whole.blocks():
            yield {"globals": check.checked(block, first)}
            first += len(block)
        check = VectorChecks(self.local.name, self.packed, self.ends, self.normalise)
        centroids = gallery.manifest.arrays.get("pq_centroids")
        trained = None if centroids is None else gallery.floats("pq_centroids")
        first = 0
        for block in self.local.blocks(np.diff(self.ends, prepend=0)):
            vectors = np.asarray(check.checked(block, first), dtype=np.float32)
            yield store_columns(gallery.manifest.store, vectors, trained)
            first += len(block)
        for block in self.places.blocks():
            yield {"boxes": block}


def _places(
    gallery: Gallery, boxes: Any, patches: RowSource, ends: Rows, packed: PackedIds
) -> ImportBoxes:
    spec = gallery.manifest.regions.partition(ONE_PASS)[0]
    if (spec == NO_REGIONS) is not (boxes is None) and spec in (NO_REGIONS, GIVEN_REGIONS):
        have = "have no boxes; pass none" if spec == NO_REGIONS else "have boxes; pass boxes"
        raise GalleryError(f"{gallery.folder}: its patches {have}")
    return ImportBoxes.of(boxes, None if spec == GIVEN_REGIONS else spec, patches, ends, packed)


def _growing(gallery: Gallery) -> dict[str, Any]:
    held = gallery.manifest.arrays.items()
    return {name: record for name, record in held if name not in (ID_TABLE, REMOVED)}


def _append(gallery: Gallery, given: _Given) -> None:
    folder, made, packed = gallery.folder, gallery.manifest, given.packed
    files = ArrayFiles(folder, _growing(gallery))
    try:
        bytes_, patches = files.rows("ids"), files.rows("patches")
        for block in given.blocks(gallery):
            files.append(block)
        count = len(packed)
        files.append({"ids": packed.blob, "id_ends": packed.ends + bytes_})
        files.append({"patch_ends": given.ends + patches})
        files.append({"sizes": np.zeros((count, 2), np.int32)})
        if STAMPS in made.arrays:
            files.append({STAMPS: np.zeros((count, 4), np.int64)})
        files.flush(durable=True)
    finally:
        files.close()
    kept = {name: one for name, one in made.arrays.items() if name == REMOVED}
    whole = made.with_arrays({**files.records, **kept})
    whole = write_flags(folder, whole, superseded(folder, whole, made.images))
    whole = write_table(folder, whole, made.arrays.get(ID_TABLE))
    whole.write(folder / MANIFEST)
    sweep(folder, whole.arrays)
