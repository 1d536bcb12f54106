"""Images that a gallery's whitening is learned on: encoded first, then taken over whitened.

Their plain vectors lie in a gallery of their own, in the folder ``whitening.sample`` of the one
that is being built, until all of them have been taken over. So a killed run loses nothing: neither
the sample, nor what was learned on it, which is on the disk before the first image is.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from patchrerank.boxes import WHOLE_IMAGE, Floats
from patchrerank.gallery.folder import writing
from patchrerank.gallery.gallery import WHITENING, Gallery
from patchrerank.gallery.manifest import MANIFEST
from patchrerank.gallery.preparing import PreparedImage
from patchrerank.gallery.sources import Images, SourceItems, open_source
from patchrerank.gallery.stores import gallery_records
from patchrerank.gallery.whiten_choice import AUTO, Whiten
from patchrerank.gallery.whitening import (
    Learned,
    find_whitening,
    whitened_manifest,
    whitening_of_gallery,
)
from patchrerank.gallery.writer import GalleryWriter
from patchrerank.images import ImageSource

FOLDER = "whitening.sample"
SAMPLE_IMAGES = 2_048
"""That a whitening is learned on before a gallery is built; of fewer, all."""
SEED = 0

Items = Iterator[tuple[str, ImageSource]]
Encode = Callable[[Path, Items], Gallery]


class WhiteningSample:
    """Stands in for the preparing of images whose plain vectors lie in the sample's gallery."""

    def __init__(self, gallery: Gallery, *, skip: bool) -> None:
        self._gallery = gallery
        self.skip = skip

    @property
    def items(self) -> Items:
        """The images, whose pictures are not needed."""
        return ((image_id, b"") for image_id in self._gallery.ids)

    def __len__(self) -> int:
        return len(self._gallery)

    def __call__(self, image_id: str, image: ImageSource) -> PreparedImage:
        """Return an image whose cuts are plain vectors ``(count, d)`` already."""
        made = self._gallery
        row = int(made.rows_of([image_id])[0])
        own = slice(int(made.patch_ends[row - 1]) if row else 0, int(made.patch_ends[row]))
        boxes, vectors = np.array(made.boxes[own]), np.array(made.patches[own])
        if not (len(boxes) and bool((boxes[0] == WHOLE_IMAGE).all())):
            vectors = np.concatenate([made.global_vectors[row][None], vectors])
        width, height = (int(side) for side in made.sizes[row])
        return PreparedImage(image_id, (width, height), boxes, len(vectors), vectors)

    @staticmethod
    def vectors(cuts: Iterable[Any]) -> Floats:
        """Return the plain vectors of some images, in place of encoding their cuts."""
        return np.concatenate(list(cuts))

    def hand_over(self, writer: GalleryWriter) -> None:
        """Record what the sample had to skip, and remove it."""
        skipped = [item for item in self._gallery.manifest.skipped if item[0] not in writer.done]
        if skipped:
            writer.commit([], skipped)
        folder = self._gallery.folder
        (folder / MANIFEST).unlink()  # without it what a killed run leaves is no gallery
        shutil.rmtree(folder, ignore_errors=True)


def whiten_writer(
    writer: GalleryWriter,
    whiten: Whiten | None,
    images: Images,
    source: SourceItems,
    encode: Encode,
    *,
    skip: bool,
) -> tuple[WhiteningSample | None, SourceItems]:
    """Let a writer whiten a gallery that is begun, by a sample of its images or another gallery.

    Args:
        writer: of the gallery; one that holds images stays as it is.
        whiten: see :func:`patchrerank.gallery.whitening.find_whitening`; None: not at all.
        images: what is indexed.
        source: the stream of it.
        encode: makes a gallery of plain vectors of some images, or finishes it.
        skip: leave out an image without a direction once it is whitened.

    Returns:
        The sample, if there is one whose images are to be taken over, and the stream of all.

    Raises:
        GalleryError, EncoderError: see :func:`patchrerank.gallery.whitening.find_whitening`; or
            there are no images.
    """
    folder = writer.folder / FOLDER
    if writer.manifest.images or writer.manifest.whitened:
        left = Gallery(folder) if (folder / MANIFEST).is_file() else None
        return None if left is None else WhiteningSample(left, skip=skip), source
    if whiten is None:
        shutil.rmtree(folder, ignore_errors=True)  # of a run that asked for more than it could
        return None, source
    if not isinstance(whiten, int) and whiten != AUTO:
        _whiten(writer, whitening_of_gallery(Path(whiten), writer.manifest.identity))
        return None, source
    drawn, source = draw_sample(images, source)
    sample = encode(folder, drawn)
    _whiten(writer, find_whitening(sample, whiten, SEED))
    return WhiteningSample(sample, skip=skip), source


def _whiten(writer: GalleryWriter, found: Learned) -> None:
    made = whitened_manifest(writer.manifest, found)
    with writing(writer.folder, 0):
        found[0].save(writer.folder / WHITENING)
        writer.replan(replace(made, arrays=gallery_records(made.store, made.dim)), found[0])


def draw_sample(images: Images, source: SourceItems) -> tuple[Items, SourceItems]:
    """Choose the images that a whitening is learned on.

    Of a folder, a list, or what can be gone through again and has a length, the choice is random;
    of a stream it is the first ones, since the others are not known yet.

    Returns:
        The chosen ones, and the stream of all; the latter is to be read after the former.
    """
    if isinstance(images, Iterator):
        begun: list[str] = []
        first = _noted(islice(source.items, SAMPLE_IMAGES), begun)
        passed = ((image_id, b"") for image_id in begun)
        return first, replace(source, items=chain(passed, source.items))
    again = open_source(images)
    if again.count is None or again.count <= SAMPLE_IMAGES:
        return islice(again.items, SAMPLE_IMAGES), source
    rng = np.random.default_rng(SEED)
    chosen = set(rng.choice(again.count, SAMPLE_IMAGES, replace=False).tolist())
    return (item for number, item in enumerate(again.items) if number in chosen), source


def _noted(items: Items, ids: list[str]) -> Items:
    for item in items:
        ids.append(item[0])
        yield item
