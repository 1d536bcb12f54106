"""Images encoded chunk by chunk, and written."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Never

import numpy as np
from tqdm import tqdm

from patchrerank.boxes import Floats
from patchrerank.errors import ImageError, RegionError
from patchrerank.gallery.ahead import chunks_ahead, one_ahead
from patchrerank.gallery.build_options import OnError
from patchrerank.gallery.image_rows import ImageRows
from patchrerank.gallery.places import Packed, Place
from patchrerank.gallery.preparing import KnownImage, Prepare, PreparedImage, Unusable
from patchrerank.gallery.region_vectors import chunk_rows
from patchrerank.gallery.sources import Items
from patchrerank.gallery.writer import GalleryWriter
from patchrerank.images import ImageSource

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder

logger = logging.getLogger(__name__)


def encode_all(
    items: Items,
    writer: GalleryWriter,
    encoder: Encoder,
    prepare: Prepare,
    pool: ThreadPoolExecutor,
    bar: tqdm[Never],
    on_error: OnError,
) -> None:
    """Encode chunk by chunk; the next chunk is decoded while this one is in the network.

    Where that is on an accelerator, a chunk is written while the next one is encoded, too.
    """
    ahead = chunks_ahead(items, writer.manifest.chunk, lambda item: pool.submit(prepare, *item))
    encoded = (_encoded(chunk, writer, encoder, skip=on_error == "skip") for chunk in ahead)
    for chunk in encoded if getattr(encoder, "device", "cpu") == "cpu" else one_ahead(encoded):
        for name, reason in chunk.skipped:
            logger.warning("skipped %s: %s", name, reason)
        writer.commit(chunk.rows, chunk.skipped, chunk.places)
        bar.update(chunk.size)


@dataclass(frozen=True, eq=False)
class _Encoded:
    """What is written of one chunk of ``size`` images."""

    size: int
    rows: list[ImageRows]
    skipped: list[tuple[str, str]]
    places: list[Place]


def _encoded(
    chunk: list[tuple[tuple[Any, ImageSource | Packed], Future[PreparedImage | Unusable]]],
    writer: GalleryWriter,
    encoder: Encoder,
    *,
    skip: bool,
) -> _Encoded:
    prepared: list[PreparedImage] = []
    known: list[PreparedImage] = []
    skipped: list[tuple[str, str]] = []
    places = {name: image.place for (name, image), _ in chunk if isinstance(image, Packed)}

    def cuts() -> Iterator[Any]:
        for (name, _), future in chunk:
            result = future.result()
            if isinstance(result, ImageError | RegionError):
                skipped.append((str(name), str(result)))
            elif isinstance(result, KnownImage):
                known.append(result)
            else:
                prepared.append(result)
                yield result.cuts

    def encode(parts: Iterable[Any]) -> Floats:
        return writer.whitened(encoder.encode_regions(parts))

    def whiten(parts: Iterable[Floats]) -> Floats:
        return writer.whitened(np.concatenate([np.zeros((0, encoder.dim), np.float32), *parts]))

    rows, without = chunk_rows(prepared, cuts(), encode, skip=skip)
    taken, without_too = chunk_rows(known, [item.cuts for item in known], whiten, skip=skip)
    skipped += [*without, *without_too]
    order = {name: number for number, ((name, _), _) in enumerate(chunk)}
    made = sorted([*rows, *taken], key=lambda row: order[row.image_id])
    made = [replace(row, place=places.get(row.image_id)) for row in made]
    return _Encoded(len(chunk), made, skipped, list(places.values()))
