"""Images as stores hold them: a key, a global vector, patch vectors with boxes."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from patchrerank.errors import GalleryError
from patchrerank.gallery import Gallery
from patchrerank.integrations.stores.local import packed
from patchrerank.types import Floats, Rows

BATCH_BYTES = 4 << 20
"""Float32 bytes that are written at once: as JSON below the 32 MB that Qdrant's server takes."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Record:
    """One image.

    Attributes:
        key: its id as text.
        vector: float32 ``(d,)``, unit norm.
        patches: float32 ``(n, d)``, unit norm; n may be 0.
        boxes: float32 ``(n, 4)``; ``(0, 4)`` where patches have none.
        size: width and height in pixels; 0 where nobody knows.
        local: its local descriptors, as :mod:`patchrerank.integrations.stores.local` packs them;
            None: they are not pushed, or were not fetched.
        digest: CRC-32 of all that, by which a push knows what is there already.
    """

    key: str
    vector: Floats
    patches: Floats
    boxes: Floats
    size: tuple[int, int] = (0, 0)
    local: bytes | None = None
    digest: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes of its vectors and descriptors."""
        return self.vector.nbytes + self.patches.nbytes + len(self.local or b"")


def records_of(gallery: Gallery, rows: Rows, *, local: bool = False) -> Iterator[Record]:
    """Yield images of a gallery; patch vectors come at unit norm, whatever their precision was.

    ``local``: with their local descriptors.

    Patches of zeros, which hide images in some stores, are left out, which is logged.

    Raises:
        GalleryError: a global vector has no direction; or there are no local descriptors.
    """
    descriptors = gallery.local if local else None
    ends = np.asarray(gallery.patch_ends)
    for row in rows.tolist():
        key = str(gallery.ids[row])
        vector, has_direction = _units(np.asarray(gallery.global_vectors[row])[None])
        if not has_direction.all():
            raise GalleryError(
                f"{gallery.folder}: the global vector of {key!r} has no direction (zeros, NaN or "
                "infinite values), and no store can find it; remove the image, or encode it again"
            )
        numbers = np.arange(ends[row - 1] if row else 0, ends[row])
        patches, kept = _units(gallery.patch_store.decode(numbers))
        if not kept.all():
            logger.warning("%s: %d patches have no direction: left out", key, (~kept).sum())
        boxes = np.zeros((0, 4), dtype=np.float32)
        if gallery.has_boxes:
            boxes = np.ascontiguousarray(gallery.boxes[numbers][kept], dtype=np.float32)
        width, height = np.asarray(gallery.sizes[row], dtype=np.int32).tolist()
        held = None if descriptors is None else packed(descriptors, row)
        digest = zlib.crc32(f"{width} {height}".encode())
        for part in (vector.tobytes(), patches.tobytes(), boxes.tobytes(), held or b""):
            digest = zlib.crc32(part, digest)
        yield Record(key, vector[0], patches, boxes, (width, height), held, digest)


def _units(vectors: Floats) -> tuple[Floats, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]:
    """Return those that have a direction, at unit norm, and which they are."""
    given = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(given, axis=1)
    kept = np.isfinite(norms) & (norms > 0)
    return (given[kept] / norms[kept, None]).astype(np.float32), kept


def batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    """Yield records in batches of at most ``BATCH_BYTES``; one record is always taken."""
    batch: list[Record] = []
    size = 0
    for record in records:
        if batch and size + record.nbytes > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += record.nbytes
    if batch:
        yield batch
