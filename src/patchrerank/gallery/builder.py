"""Building a gallery: decode, cut and encode images so that nothing finished is ever lost."""

from __future__ import annotations

import logging
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from patchrerank.errors import GalleryError, SettingError, described
from patchrerank.gallery.block import Block
from patchrerank.gallery.build_options import BuildOptions, OnError
from patchrerank.gallery.encoding import encode_all
from patchrerank.gallery.finished import finished, is_complete, other_folder
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.preparing import Prepare, Preparer
from patchrerank.gallery.progress import unfinished
from patchrerank.gallery.settings import check_pictures, check_settings, pictures_so_far
from patchrerank.gallery.sources import Images, items_to_come, open_source
from patchrerank.gallery.whiten_choice import NONE
from patchrerank.gallery.whitening_sample import drop_sample, whiten_writer, with_sample
from patchrerank.gallery.write_backgrounds import keep_backgrounds
from patchrerank.gallery.writer import GalleryWriter, open_writer
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
        prepare: Prepare = Preparer(encoder, regions, options)
        given = images.known if isinstance(images, Block) else None
        for known in (sample, None if given is None else Gallery(given)):
            if known is not None:
                check_settings(known.folder, known.manifest, encoder, regions, raw)
                prepare = with_sample(prepare, known, skip=options.on_error == "skip")
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
