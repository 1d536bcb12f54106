"""Building a gallery: decode, cut and encode images so that nothing finished is ever lost."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Never

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from patchrerank.boxes import WHOLE_IMAGE, Floats, check_boxes
from patchrerank.errors import GalleryError, ImageError, SettingError
from patchrerank.gallery.ahead import chunks_ahead
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.queries import reduced_size
from patchrerank.gallery.sources import Images, check_id, open_source
from patchrerank.gallery.stores import check_store
from patchrerank.gallery.writer import GalleryWriter, ImageRows, open_writer
from patchrerank.images import MAX_PIXELS, ImageSource, read_image, upright_size
from patchrerank.regions import GridPyramid, Regions

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder

OnError = Literal["raise", "skip"]
MIN_CHUNK = 16
CHUNK_CROPS = 512
"""Crops that may wait for the network (twice: one chunk is prepared ahead), from one image up."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuildOptions:
    """How a gallery is built (not what is in it).

    Attributes:
        store: how patch vectors are stored: ``float32``, ``float16`` or ``int8`` (``pq`` needs
            a trained quantiser: see :func:`patchrerank.gallery.compress`). None: float32, or
            what a gallery that is appended to has.
        on_error: ``raise`` stops at the first image that cannot be read, keeping all finished
            work; ``skip`` records it with its reason and goes on.
        append: allow adding images to a gallery that is already complete.
        workers: threads that decode and cut images while the network runs.
        max_pixels: limit on an image's declared size; None = no limit.
        progress: show a progress bar.
    """

    store: str | None = None
    on_error: OnError = "raise"
    append: bool = False
    workers: int = 2
    max_pixels: int | None = MAX_PIXELS
    progress: bool = True

    def __post_init__(self) -> None:
        if self.store is not None:
            check_store(self.store)
        if self.on_error not in ("raise", "skip"):
            raise SettingError(f"on_error is {self.on_error!r}; use 'raise' or 'skip'")
        if self.workers < 1:
            raise SettingError(f"workers must be at least 1, got {self.workers}")


@dataclass(frozen=True)
class _Prepared:
    """One decoded image: its crops wait for the network."""

    image_id: str
    size: tuple[int, int]
    boxes: Floats
    crops: npt.NDArray[np.uint8]


def build_gallery(
    folder: str | Path,
    images: Images,
    encoder: Encoder,
    regions: Regions | None = None,
    options: BuildOptions | None = None,
) -> Gallery:
    """Encode images into a gallery directory, or finish one that was interrupted.

    Images are committed in chunks; a run that is killed at any moment loses at most the chunks
    in flight, and running the same call again continues with the same bits that an uninterrupted
    run would have written.

    Args:
        folder: the gallery directory; made if absent.
        images: a folder, a list of files, or an iterable of ``(id, image)`` with unique ids.
            Ids that the gallery already holds are passed over.
        encoder: see :func:`patchrerank.encoders.load_encoder`.
        regions: default ``GridPyramid(3)``, Patchify's 30 patches.
        options: see :class:`BuildOptions`.

    Raises:
        ImageError: an image cannot be read (unless ``on_error="skip"``).
        GalleryError: duplicate ids; a folder made with other settings; a complete gallery
            without ``append``; another process at work on it.
    """
    options = options or BuildOptions()
    regions = regions or GridPyramid(3)
    source = open_source(images)
    writer = open_writer(Path(folder), encoder, regions, options, _chunk_size(encoder, regions))
    with writer:
        if writer.root_conflict(source.root):
            raise GalleryError(
                f"{folder}: holds images of {writer.manifest.root}; ids of {source.root} would be "
                "mixed with them. Pass (id, image) pairs to index several folders together"
            )
        writer.set_root(source.root)
        with (
            ThreadPoolExecutor(options.workers) as pool,
            tqdm(total=source.count, unit="img", disable=not options.progress) as bar,
        ):
            items = _unfinished(source.items, writer, bar)
            _encode_all(items, writer, encoder, _Preparer(encoder, regions, options), pool, bar)
        writer.finish()
    return Gallery(folder)


def _chunk_size(encoder: Encoder, regions: Regions) -> int:
    patches = len(regions.boxes("", 1024, 1024)) if regions.finest is not None else 8
    least = max(1, min(MIN_CHUNK, CHUNK_CROPS // patches))
    return max(least, math.ceil(encoder.batch_size / patches))


def _unfinished(
    items: Iterator[tuple[str, ImageSource]], writer: GalleryWriter, bar: tqdm[Never]
) -> Iterator[tuple[str, ImageSource]]:
    """Yield images that are not in the gallery yet, refusing an id that comes twice."""
    seen: set[str] = set()
    for image_id, image in items:
        if check_id(image_id) in seen:
            raise GalleryError(f"id {image_id!r} comes twice; ids must be unique")
        seen.add(image_id)
        if image_id in writer.done:
            bar.update(1)
        else:
            yield image_id, image


class _Preparer:
    """Decodes one image and cuts its crops; called by worker threads."""

    def __init__(self, encoder: Encoder, regions: Regions, options: BuildOptions) -> None:
        self._preprocessing = encoder.preprocessing
        self._regions = regions
        self._max_pixels = options.max_pixels
        self._min_size = reduced_size(encoder, regions.finest)
        self._keep = options.on_error == "skip"

    def __call__(self, image_id: str, image: ImageSource) -> _Prepared | ImageError:
        try:
            size = upright_size(image, max_pixels=self._max_pixels)
            picture = read_image(image, max_pixels=self._max_pixels, min_size=self._min_size)
        except ImageError as error:
            if self._keep:
                return error
            raise
        found = self._regions.boxes(image_id, *size)
        boxes = check_boxes(found, f"regions of {image_id!r}")
        whole = len(boxes) > 0 and bool((boxes[0] == WHOLE_IMAGE).all())
        cuts = boxes if whole else np.concatenate([WHOLE_IMAGE[None], boxes])
        return _Prepared(image_id, size, boxes, self._preprocessing.prepare(picture, cuts))


def _encode_all(
    items: Iterator[tuple[str, ImageSource]],
    writer: GalleryWriter,
    encoder: Encoder,
    prepare: _Preparer,
    pool: ThreadPoolExecutor,
    bar: tqdm[Never],
) -> None:
    """Encode chunk by chunk; the next chunk is decoded while this one is in the network."""
    ahead = chunks_ahead(items, writer.manifest.chunk, lambda item: pool.submit(prepare, *item))
    for chunk in ahead:
        ready = [(name, future) for (name, _), future in chunk]
        _commit(ready, writer, encoder)
        bar.update(len(ready))


def _commit(
    ready: list[tuple[str, Future[_Prepared | ImageError]]],
    writer: GalleryWriter,
    encoder: Encoder,
) -> None:
    prepared: list[_Prepared] = []
    skipped: list[tuple[str, str]] = []

    def crops() -> Iterator[npt.NDArray[np.uint8]]:
        for name, future in ready:
            result = future.result()
            if isinstance(result, ImageError):
                logger.warning("skipped %s: %s", name, result)
                skipped.append((name, str(result)))
            else:
                prepared.append(result)
                yield result.crops

    vectors = encoder.encode_parts(crops())
    rows, start = [], 0
    for item in prepared:
        end = start + len(item.crops)
        patches = vectors[end - len(item.boxes) : end]
        rows.append(ImageRows(item.image_id, item.size, item.boxes, vectors[start], patches))
        start = end
    writer.commit(rows, skipped)
