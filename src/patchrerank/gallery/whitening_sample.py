"""Images that a gallery's whitening is learned on: encoded first, and not again afterwards.

Their plain vectors lie in a gallery of their own, in the folder ``whitening.sample`` of the one
that is being built, until that is complete. So a killed run loses nothing: neither the sample, nor
what was learned on it, which is on the disk before the first image is.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from patchrerank.boxes import WHOLE_IMAGE
from patchrerank.errors import GalleryError, ImageError
from patchrerank.files import written_beside
from patchrerank.gallery.build_options import BuildOptions
from patchrerank.gallery.folder import writing
from patchrerank.gallery.gallery import WHITENING, Gallery
from patchrerank.gallery.manifest import BUILDING, MANIFEST
from patchrerank.gallery.packed_source import PackedSource
from patchrerank.gallery.places import Packed
from patchrerank.gallery.preparing import KnownImage, Prepare, PreparedImage, Unusable
from patchrerank.gallery.settings import begun_arrays
from patchrerank.gallery.sources import Images, Items, PlainSource, Source, open_source
from patchrerank.gallery.stamps import as_stamp, stamps_in
from patchrerank.gallery.whiten_choice import (
    AUTO,
    NONE,
    WHITENED_STORE,
    check_no_sample,
    log_plain,
    why_plain,
)
from patchrerank.gallery.whitening import (
    Learned,
    find_whitening,
    whitened_manifest,
    whitening_by_default,
    whitening_of_gallery,
)
from patchrerank.gallery.writer import GalleryWriter
from patchrerank.images import ImageSource

FOLDER = "whitening.sample"
SAMPLE_IMAGES = 2_048
"""That a whitening is learned on before a gallery is built; of fewer, all."""
SEED = 0

logger = logging.getLogger(__name__)

Encode = Callable[[Path, Items], Gallery]


def whiten_writer(
    writer: GalleryWriter,
    options: BuildOptions,
    images: Images,
    source: Source,
    encode: Encode,
) -> tuple[Gallery | None, Source]:
    """Let a writer whiten a gallery that is begun, by a sample of its images or another gallery.

    Args:
        writer: of the gallery; one that holds images stays as it is.
        options: ``whiten``, and how patches are stored.
        images: what is indexed.
        source: the stream of it.
        encode: makes a gallery of plain vectors of some images, or finishes it.

    Returns:
        The plain gallery of the sample, None if there is none, and the stream of all images.

    Raises:
        GalleryError, EncoderError: see :func:`patchrerank.gallery.whitening.find_whitening`; or
            there are no images; a build that was killed while it encoded its sample shall go on
            without whitening.
    """
    folder, whiten = writer.folder / FOLDER, options.whiten
    if writer.manifest.images or writer.manifest.whitened:
        return (Gallery(folder) if (folder / MANIFEST).is_file() else None), source
    why = why_plain(writer.manifest.dim, source.count(None)) if whiten is None else None
    if whiten == NONE or why is not None:
        check_no_sample(writer.folder, begun=(folder / BUILDING).exists())
        drop_sample(writer.folder)  # of a run that asked for more dimensions than there were
        if why is not None:
            log_plain(writer.folder, why)
        return None, source
    if whiten is not None and not isinstance(whiten, int) and whiten != AUTO:
        found = whitening_of_gallery(Path(whiten), writer.manifest.identity)
        _whiten(writer, found, options.store)
        return None, source
    begin_sample(writer.folder, source)
    drawn, source = draw_sample(images, source)
    try:
        sample = encode(folder, drawn)
    except GalleryError as error:  # of a folder that is no one else's business
        raise GalleryError(str(error).replace(str(folder), str(writer.folder))) from error
    if whiten is not None:
        _whiten(writer, find_whitening(sample, whiten, SEED), options.store)
    elif (learned := whitening_by_default(sample, writer.folder, SEED)) is not None:
        _whiten(writer, learned, options.store)
    return sample, source


def begin_sample(place: Path, source: Source, name: str = FOLDER) -> bool:
    """Note whose pictures a sample is of; drop one that was begun of others, under the same ids.

    Args:
        place: the folder that the sample's folder lies in.
        source: what is indexed now.
        name: of the sample's folder.

    Returns:
        Whether one was dropped.
    """
    note, now = _note(place, name), json.dumps(_told(source)).encode()
    if note.is_file() and note.read_bytes() == now:
        return False
    held = (place / name).is_dir()
    if held:
        logger.info("%s: the sample was begun of other pictures; it is begun anew", place)
    drop_sample(place, name)
    with writing(place), written_beside(note) as scratch:
        scratch.write_bytes(now)
    return held


def _note(place: Path, name: str) -> Path:
    return place / f"{name}.json"


def _told(source: Source) -> dict[str, object]:
    """Return what tells one source from another, as far as that shows without its ids."""
    told: dict[str, object] = {"root": source.root}
    if isinstance(source, PackedSource):
        read = source.pictures
        told |= {"kind": read.kind, "ids": read.ids, "column": read.column}
        told["files"] = list(source.files)
    return told


def drop_sample(place: Path, name: str = FOLDER) -> None:
    """Remove the sample of a gallery, if there is one."""
    folder = place / name
    _note(place, name).unlink(missing_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)  # without it what a killed run leaves is no gallery
    shutil.rmtree(folder, ignore_errors=True)


def draw_sample(images: Images, source: Source) -> tuple[Items, Source]:
    """Choose the images that a whitening is learned on.

    Of a folder, a list, or what can be gone through again and has a length, the choice is random;
    of a stream, tar shards and Parquet files it is the first ones, since the others are not known
    yet; a sample has text for ids.

    Returns:
        The chosen ones, and the stream of all; the latter is to be read after the former.
    """
    if isinstance(source, PackedSource):
        first = islice(replace(source, left_out=Counter()).items(None), SAMPLE_IMAGES)
        return ((str(image_id), picture) for image_id, picture in first), source
    if isinstance(images, Iterator) and isinstance(source, PlainSource):
        begun: list[str] = []
        noted = _noted(islice(source.pairs, SAMPLE_IMAGES), begun)
        passed = ((image_id, b"") for image_id in begun)
        return noted, replace(source, pairs=chain(passed, source.pairs))
    again, count = open_source(images, BuildOptions()), source.count(None)
    items = again.items(None)
    if count is None or count <= SAMPLE_IMAGES:
        return islice(items, SAMPLE_IMAGES), source
    rng = np.random.default_rng(SEED)
    chosen = set(rng.choice(count, SAMPLE_IMAGES, replace=False).tolist())
    return (item for number, item in enumerate(items) if number in chosen), source


def with_sample(prepare: Prepare, sample: Gallery, *, skip: bool) -> Prepare:
    """Return what prepares images, of which those of the sample are known already.

    ``skip``: those that it skipped are skipped; else they are tried again, which says why.
    """
    rows = {image_id: row for row, image_id in enumerate(sample.ids)}
    skipped = dict(sample.manifest.skipped) if skip else {}

    def prepared(image_id: Any, image: ImageSource | Packed) -> PreparedImage | Unusable:
        name = str(image_id)
        if name in rows:
            return _known(sample, rows[name], image_id)
        if name in skipped:
            return ImageError(skipped[name])
        return prepare(image_id, image)

    return prepared


def _known(sample: Gallery, row: int, image_id: Any) -> KnownImage:
    own = slice(int(sample.patch_ends[row - 1]) if row else 0, int(sample.patch_ends[row]))
    boxes, vectors = np.array(sample.boxes[own]), np.array(sample.patches[own], dtype=np.float32)
    if not (len(boxes) and bool((boxes[0] == WHOLE_IMAGE).all())):
        vectors = np.concatenate([sample.global_vectors[row][None], vectors])
    width, height = (int(side) for side in sample.sizes[row])
    stamp = as_stamp(stamps_in(sample.folder, sample.manifest)[row])
    return KnownImage(image_id, (width, height), boxes, len(vectors), vectors, stamp)


def _noted(items: Items, ids: list[str]) -> Items:
    for item in items:
        ids.append(item[0])
        yield item


def _whiten(writer: GalleryWriter, found: Learned, store: str | None) -> None:
    made = whitened_manifest(writer.manifest, found)
    made = replace(made, store=store or WHITENED_STORE)
    with writing(writer.folder, 0):
        found[0].save(writer.folder / WHITENING)
        arrays = begun_arrays(made.store, made.dim, made.pictures)
        writer.replan(replace(made, arrays=arrays), found[0])
