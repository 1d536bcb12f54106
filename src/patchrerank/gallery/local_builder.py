"""Building a gallery's local store: a second pass over its images, resumable like the first."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from patchrerank.errors import GalleryError, ImageError, SettingError, VectorError
from patchrerank.gallery.ahead import chunks_ahead, one_ahead
from patchrerank.gallery.build_options import OnError
from patchrerank.gallery.builder import MIN_CHUNK
from patchrerank.gallery.gallery import LOCAL, Gallery
from patchrerank.gallery.local_in_shards import RowSources, in_shards
from patchrerank.gallery.local_manifest import LocalManifest, is_of
from patchrerank.gallery.local_rows import check_local_store
from patchrerank.gallery.local_store import LocalStore
from patchrerank.gallery.local_writer import LocalWriter, open_local_writer
from patchrerank.gallery.region_vectors import LEAVE_OUT
from patchrerank.images import MAX_PIXELS, ImageSource, read_image
from patchrerank.types import LocalDescriptors

if TYPE_CHECKING:
    from patchrerank.encoders import DenseEncoder
    from patchrerank.encoders.preprocessing import Crops

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LocalOptions:
    """How a local store is built.

    Attributes:
        store: ``float16``, ``int8`` (one scale a descriptor), ``binary`` (one bit a dimension:
            the sign) or ``float32``.
        on_error: ``raise`` stops at the first image that cannot be read or whose descriptors are
            NaN or infinite, keeping all finished work; ``skip`` gives it no descriptors, records
            the reason and goes on (an image that was skipped is not tried again).
        workers: threads that decode and resize images while the network runs.
        max_pixels: limit on an image's declared size; None = no limit.
        progress: show a progress bar.
    """

    store: str = "float16"
    on_error: OnError = "raise"
    workers: int = 2
    max_pixels: int | None = MAX_PIXELS
    progress: bool = True

    def __post_init__(self) -> None:
        check_local_store(self.store)
        if self.on_error not in ("raise", "skip"):
            raise SettingError(f"on_error is {self.on_error!r}; use 'raise' or 'skip'")
        if self.workers < 1:
            raise SettingError(f"workers must be at least 1, got {self.workers}")


def build_local(
    gallery: Gallery,
    encoder: DenseEncoder,
    options: LocalOptions | None = None,
    *,
    sources: RowSources | None = None,
) -> LocalStore:
    """Store the local descriptors of every image of a gallery, in its folder ``local``.

    Rows that were removed get none.

    Images are committed in chunks; a run that is killed at any moment loses at most the chunks
    in flight, and the same call continues with the same bits that an uninterrupted run would
    have written. On a gallery that has grown, it continues with the images that are new; on one
    that is covered already, it does nothing. Those of shards are stored in each shard.

    Args:
        gallery: complete; it need not come from the same encoder.
        encoder: see :func:`patchrerank.encoders.load_dense_encoder`.
        options: see :class:`LocalOptions`.
        sources: the picture of each row (path, bytes or picture), where they are not those of
            ``gallery.pictures``.

    Raises:
        ImageError: an image cannot be read (unless ``on_error="skip"``).
        VectorError: its descriptors are NaN or infinite (likewise).
        GalleryError: begun with another dense encoder or store, or of other images; a row that
            ``sources`` does not have; another process at work.
    """
    options = options or LocalOptions()
    if gallery.shards is not None:
        return in_shards(gallery, sources, partial(build_local, encoder=encoder, options=options))
    folder = gallery.folder / LOCAL
    with open_local_writer(folder, _plan(gallery, encoder, options)) as writer:
        begun = writer.manifest.images
        _check_rows(gallery, writer)
        with (
            ThreadPoolExecutor(options.workers) as pool,
            tqdm(
                total=len(gallery), initial=begun, unit="img", disable=not options.progress
            ) as bar,
        ):
            prepare = _Preparer(gallery, encoder, options, sources)
            rows = iter(range(begun, len(gallery)))
            ahead = chunks_ahead(rows, writer.manifest.chunk, lambda row: pool.submit(prepare, row))
            skip = options.on_error == "skip"
            encoded = (_encoded_chunk(chunk, encoder, gallery.ids, skip=skip) for chunk in ahead)
            for every, kept, skipped in encoded if encoder.device == "cpu" else one_ahead(encoded):
                for name, reason in skipped:
                    logger.warning("no local descriptors of %s: %s", name, reason)
                writer.commit(kept, every, skipped)
                bar.update(len(every))
        writer.finish()
    gallery.__dict__.pop("local", None)  # what was opened before is out of date
    return LocalStore(folder)


def _plan(gallery: Gallery, encoder: DenseEncoder, options: LocalOptions) -> LocalManifest:
    return LocalManifest(
        dim=encoder.dim,
        store=options.store,
        encoder=dict(encoder.describe()),
        identity=encoder.identity,
        fingerprint=encoder.fingerprint,
        grids=encoder.grids,
        chunk=max(MIN_CHUNK, encoder.batch_size),
        numbering=gallery.manifest.numbering,
    )


def _check_rows(gallery: Gallery, writer: LocalWriter) -> None:
    if not is_of(writer.manifest, gallery.manifest, gallery.ids_crc):
        raise GalleryError(
            f"{writer.folder}: holds local descriptors of other images than the gallery's; delete "
            "the folder and build them again"
        )


class _Preparer:
    """Decodes and resizes the picture of one row; called by worker threads."""

    def __init__(
        self,
        gallery: Gallery,
        encoder: DenseEncoder,
        options: LocalOptions,
        sources: RowSources | None,
    ) -> None:
        self._gallery = gallery
        self._encoder = encoder
        self._options = options
        self._sources = gallery.pictures if sources is None else sources

    def __call__(self, row: int) -> list[Crops] | ImageError | None:
        """Return what the network takes, or why there is nothing; None of a row that is gone."""
        if self._gallery.removed[row]:
            return None
        try:
            picture = read_image(
                self._source(row),
                max_pixels=self._options.max_pixels,
                min_size=self._encoder.least_size,
            )
        except ImageError as error:
            if self._options.on_error == "skip":
                return error
            raise
        return self._encoder.prepare(picture)

    def _source(self, row: int) -> ImageSource:
        try:
            return self._sources[row]
        except LookupError as error:
            raise GalleryError(
                f"sources has no picture for row {row} ({self._gallery.ids[row]!r})"
            ) from error


def _encoded_chunk(
    chunk: Sequence[tuple[int, Future[list[Crops] | ImageError | None]]],
    encoder: DenseEncoder,
    ids: Sequence[Any],
    *,
    skip: bool,
) -> tuple[list[Any], list[LocalDescriptors], list[tuple[str, str]]]:
    """Return a chunk's ids, the descriptors of each, and which have none, with reasons."""
    every = [ids[row] for row, _ in chunk]
    found_of = [(name, future.result()) for name, (_, future) in zip(every, chunk, strict=True)]
    results = {name: result for name, result in found_of if result is not None}
    skipped = {name: str(item) for name, item in results.items() if isinstance(item, ImageError)}
    readable = {name: item for name, item in results.items() if not isinstance(item, ImageError)}
    found, without = _encoded(readable, encoder, skip=skip)
    skipped |= without
    nothing = _nothing(encoder.dim)
    kept = [nothing if gone is None else found.get(name, nothing) for name, gone in found_of]
    return every, kept, [(str(name), skipped[name]) for name in results if name in skipped]


def _encoded(
    pictures: dict[Any, list[Crops]], encoder: DenseEncoder, *, skip: bool
) -> tuple[dict[Any, LocalDescriptors], dict[Any, str]]:
    """Return the descriptors of pictures, and why some of them were skipped, by id."""
    skipped: dict[Any, str] = {}
    while True:
        names = [name for name in pictures if name not in skipped]
        try:
            found = encoder.encode([pictures[name] for name in names])
            return dict(zip(names, found, strict=True)), skipped
        except VectorError as error:
            shown = [repr(name) for name in names]
            if not skip:
                raise error.of(shown.__getitem__, LEAVE_OUT) from error
            for row in error.rows:
                skipped[names[row]] = str(error.of(shown.__getitem__, rows=[row]))


def _nothing(dim: int) -> LocalDescriptors:
    return LocalDescriptors(
        vectors=np.zeros((0, dim), np.float32),
        positions=np.zeros((0, 2), np.float32),
        scales=np.zeros(0, np.int16),
        weights=np.zeros(0, np.float32),
    )
