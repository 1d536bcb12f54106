"""Building a gallery: decode, cut and encode images so that nothing finished is ever lost."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never

import numpy as np
from tqdm import tqdm

from patchrerank.boxes import Floats
from patchrerank.errors import GalleryError, ImageError, RegionError, SettingError, described
from patchrerank.gallery.ahead import chunks_ahead
from patchrerank.gallery.block import Block
from patchrerank.gallery.build_options import BuildOptions, OnError
from patchrerank.gallery.finished import finished, is_complete, other_folder
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.places import Packed
from patchrerank.gallery.preparing import (
    KnownImage,
    Prepare,
    PreparedImage,
    Preparer,
    Unusable,
)
from patchrerank.gallery.progress import unfinished
from patchrerank.gallery.region_vectors import chunk_rows
from patchrerank.gallery.settings import check_pictures, pictures_so_far
from patchrerank.gallery.sources import Images, Items, items_to_come, open_source
from patchrerank.gallery.whiten_choice import NONE
from patchrerank.gallery.whitening_sample import drop_sample, whiten_writer, with_sample
from patchrerank.gallery.write_backgrounds import keep_backgrounds
from patchrerank.gallery.writer import GalleryWriter, open_writer
from patchrerank.images import ImageSource
from patchrerank.regions import GridPyramid, Regions, parse_regions

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder

MIN_CHUNK = 16
CHUNK_CROPS = 512
"""Crops that may wait for the network (twice: one chunk is prepared ahead), from one image up."""

logger = logging.getLogger(__name__)


def build_gallery(
    folder: str | Path,
    images: Images,
    encoder: Encoder | str,
    regions: Regions | str | None = None,
    options: BuildOptions | None = None,
) -> Gallery:
    """Encode images into a gallery directory, or finish one that was interrupted.

    Images are committed in chunks; a run that is killed at any moment loses at most the chunks
    in flight, and running the same call again continues with the same bits that an uninterrupted
    run would have written.

    A gallery that is complete and holds all images already is returned as it is. What a folder
    holds besides images is counted and logged.

    Args:
        folder: the gallery directory; made if absent.
        images: a folder, a list of files, or an iterable of ``(id, image)`` with unique ids;
            tar shards or Parquet files (one, a folder, a pattern such as ``{000..012}.tar``, or a
            list of them), which are streamed, and taken up where reading ended before.
            Ids that the gallery already holds are passed over.
        encoder: what :func:`patchrerank.encoders.load_encoder` returned, or its spec.
        regions: a strategy, or its spec such as ``grid:2`` (see
            :func:`patchrerank.regions.parse_regions`); default ``GridPyramid(3)``, Patchify's 30
            patches.
        options: see :class:`BuildOptions`.

    Raises:
        SettingError: something of the wrong type (GalleryError for the folder or the images).
        EncoderError, RegionError: a spec that names nothing.
        ImageError: an image cannot be read (unless ``on_error="skip"``).
        RegionError: there are no boxes for an image (likewise).
        VectorError: the vector of an image or region is all zeros, NaN or infinite (likewise).
        GalleryError: no images; duplicate ids; a folder made with other settings; new images for
            a complete gallery without ``append``; another process at work on it; no image could
            be read; it cannot be written (a full disk).
    """
    if not isinstance(folder, str | os.PathLike):
        raise GalleryError(f"a gallery is written to a folder, not to {described(folder)}")
    options = options or BuildOptions()
    regions, encoder = strategy(regions, options.on_error), loaded_encoder(encoder)
    source = open_source(images, options, pictures_so_far(Path(folder)))
    if is_complete(Path(folder)) and not options.append:
        return finished(Path(folder), source, encoder, regions, options)
    size = chunk_size(encoder, regions)
    with open_writer(
        Path(folder), encoder, regions, options, size, source.pictures, source.id_type
    ) as writer:
        check_pictures(writer.folder, writer.manifest, source.pictures, source.id_type)
        if options.root is not None:
            writer.move_root(options.root)
        if writer.root_conflict(source.root):
            raise GalleryError(other_folder(writer.folder, writer.manifest.root, source.root))
        writer.set_root(source.root)
        plain = replace(options, id_key=None, image_column=None, backgrounds=0)
        raw = replace(plain, store="float32", whiten=NONE, append=True, root=None)
        sample, source = whiten_writer(
            writer,
            options,
            images,
            source,
            lambda place, drawn: build_gallery(place, drawn, encoder, regions, raw),
        )
        prepare = with_sample(Preparer(encoder, regions, options), sample)
        if isinstance(images, Block) and images.known is not None:
            prepare = with_sample(prepare, Gallery(images.known))
        before = writer.progress.before()
        items = items_to_come(source, before, options)
        with (
            ThreadPoolExecutor(options.workers) as pool,
            tqdm(total=source.count(before), unit="img", disable=not options.progress) as bar,
        ):
            left = unfinished(items, writer.progress, bar)
            encode_all(left, writer, encoder, prepare, pool, bar, options.on_error)
        drop_sample(writer.folder)
        if not isinstance(images, Block):
            _check_any(writer)
        writer.finish()
    return keep_backgrounds(Gallery(folder), options.backgrounds, images)


def loaded_encoder(encoder: Encoder | str) -> Encoder:
    """Return an encoder, or load that of a spec.

    Raises:
        EncoderError: it cannot be loaded.
        SettingError: it is no encoder.
    """
    from patchrerank.encoders import load_encoder

    if isinstance(encoder, str):
        return load_encoder(encoder)
    if not hasattr(encoder, "encode_regions"):
        raise SettingError(
            f"the encoder is {described(encoder)}; pass a spec such as 'efficientnet_lite0', or "
            "what load_encoder(…) returns"
        )
    return encoder


def strategy(regions: Regions | str | None, on_error: OnError) -> Regions:
    """Return a strategy, that of a spec, or the default.

    Raises:
        RegionError: the spec names nothing.
        SettingError: it is no strategy.
    """
    if regions is None:
        return GridPyramid(3)
    if isinstance(regions, str):
        return parse_regions(regions, on_error=on_error)
    if not hasattr(regions, "spec"):
        raise SettingError(
            f"the regions are {described(regions)}; pass a spec such as 'grid:3', or a strategy"
        )
    return regions


def _check_any(writer: GalleryWriter) -> None:
    """Refuse to call a gallery complete that holds nothing."""
    skipped = writer.manifest.skipped
    if writer.manifest.images:
        return
    if not skipped:
        raise GalleryError(
            f"{writer.folder}: there are no images to index; pass a folder of pictures, a list of "
            "files, or (id, image) pairs"
        )
    raise GalleryError(
        f"{writer.folder}: none of {len(skipped)} images could be indexed; the first, "
        f"{skipped[0][0]!r}: {skipped[0][1]}"
    )


def chunk_size(encoder: Encoder, regions: Regions) -> int:
    """Return how many images are encoded and committed together."""
    patches = len(regions.boxes("", 1024, 1024)) if regions.finest is not None else 8
    crops = encoder.crops_of(patches)
    least = max(1, min(MIN_CHUNK, CHUNK_CROPS // crops))
    return max(least, math.ceil(encoder.batch_size / crops))


def encode_all(
    items: Items,
    writer: GalleryWriter,
    encoder: Encoder,
    prepare: Prepare,
    pool: ThreadPoolExecutor,
    bar: tqdm[Never],
    on_error: OnError,
) -> None:
    """Encode chunk by chunk; the next chunk is decoded while this one is in the network."""
    ahead = chunks_ahead(items, writer.manifest.chunk, lambda item: pool.submit(prepare, *item))
    for chunk in ahead:
        _commit(chunk, writer, encoder, skip=on_error == "skip")
        bar.update(len(chunk))


def _commit(
    chunk: list[tuple[tuple[Any, ImageSource | Packed], Future[PreparedImage | Unusable]]],
    writer: GalleryWriter,
    encoder: Encoder,
    *,
    skip: bool,
) -> None:
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
    for name, reason in skipped:
        logger.warning("skipped %s: %s", name, reason)
    order = {name: number for number, ((name, _), _) in enumerate(chunk)}
    made = sorted([*rows, *taken], key=lambda row: order[row.image_id])
    made = [replace(row, place=places.get(row.image_id)) for row in made]
    writer.commit(made, skipped, list(places.values()))
