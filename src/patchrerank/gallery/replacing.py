"""Images of a gallery whose pictures are others now: the old rows go as the new ones come."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from patchrerank.errors import GalleryError, ShortlistError
from patchrerank.gallery.build_options import BuildOptions
from patchrerank.gallery.builder import chunk_size, loaded_encoder
from patchrerank.gallery.encoding import encode_all
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.named_files import forget_files
from patchrerank.gallery.own_encoder import load_index_encoder, own_regions
from patchrerank.gallery.preparing import Preparer
from patchrerank.gallery.settings import check_one_folder, check_pictures, ids_of
from patchrerank.gallery.sources import Images, Item, check_id, open_source
from patchrerank.gallery.stamps import UNKNOWN, as_stamp, stamp_of, stamps_in
from patchrerank.gallery.writer import GalleryWriter, open_writer
from patchrerank.regions import Regions

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder


def replace(
    folder: str | os.PathLike[str],
    images: Images,
    encoder: Encoder | str | None = None,
    regions: Regions | str | None = None,
    options: BuildOptions | None = None,
) -> Gallery:
    """Encode other pictures for images that a gallery holds.

    For readers, the old vectors go and the new ones come in one moment, of all images at once.
    Finished chunks of a run that is killed are kept: the same call goes on, and passes over files
    that were encoded and are as they were. The old rows take their bytes until
    :func:`patchrerank.gallery.compact`.

    Args:
        folder: of the gallery.
        images: as for :func:`patchrerank.gallery.build_gallery`; their ids are the gallery's.
        encoder: None: the one that the gallery's record names.
        regions: None: those that it names.
        options: see :class:`BuildOptions`; with ``append``, ids that are new are added. Of a
            picture that is skipped the old vectors stay.

    Returns:
        The gallery, opened again.

    Raises:
        ShortlistError: an id that the gallery does not hold, without ``append``.
        GalleryError: an id that comes twice; and as ``build_gallery``.
        ImageError, RegionError, VectorError, EncoderError: as ``build_gallery``.
    """
    options = options or BuildOptions()
    gallery = Gallery(folder)
    check_one_folder(gallery.folder, gallery.manifest)
    source = open_source(images, options, gallery.manifest.pictures)
    check_pictures(gallery.folder, gallery.manifest, source.pictures, source.id_type)
    items = list(source.items(None))
    _check_ids(gallery, items, options)
    model = load_index_encoder(gallery) if encoder is None else loaded_encoder(encoder)
    strategy = own_regions(gallery, regions, on_error=options.on_error)
    appending = dataclasses.replace(options, append=True)
    with open_writer(
        gallery.folder, model, strategy, appending, chunk_size(model, strategy)
    ) as writer:
        left = [item for item, done in zip(items, _done(writer, items), strict=True) if not done]
        with (
            ThreadPoolExecutor(options.workers) as pool,
            tqdm(total=len(left), unit="img", disable=not options.progress) as bar,
        ):
            prepare = Preparer(model, strategy, appending)
            encode_all(iter(left), writer, model, prepare, pool, bar, options.on_error)
        forget_files(gallery.folder, [name for name, _ in items])
        writer.finish()
    return Gallery(folder)


def _check_ids(gallery: Gallery, items: list[Item], options: BuildOptions) -> None:
    names = [check_id(name) for name, _ in items]
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise GalleryError(f"id {twice!r} comes twice; ids must be unique")
    rows = gallery.rows_of(names, strict=not options.append)
    if not len(rows):
        raise ShortlistError(f"{gallery.folder}: no images are given to replace any with")


def _done(writer: GalleryWriter, items: list[Item]) -> list[bool]:
    """Tell the files that a run that was killed has encoded, and that are as they were."""
    first = 0 if writer.complete is None else writer.complete.images
    ids = ids_of(writer.folder, writer.manifest, writer.gone.astype(np.uint8))
    stamps = stamps_in(writer.folder, writer.manifest)
    rows = ids.rows_of([name for name, _ in items]).tolist()
    done = []
    for row, (_, image) in zip(rows, items, strict=True):
        stamp = stamp_of(image) if row >= first else UNKNOWN
        done.append(stamp != UNKNOWN and stamp == as_stamp(stamps[row]))
    return done
