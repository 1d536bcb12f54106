"""Building a gallery: decode, cut and encode images so that nothing finished is ever lost."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Never

import numpy as np
from tqdm import tqdm

from patchrerank.boxes import WHOLE_IMAGE, Floats, check_boxes
from patchrerank.errors import GalleryError, ImageError, SettingError, described
from patchrerank.gallery.ahead import chunks_ahead
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.sources import Images, check_id, open_source
from patchrerank.gallery.stores import check_store
from patchrerank.gallery.writer import GalleryWriter, ImageRows, open_writer
from patchrerank.images import MAX_PIXELS, ImageSource, read_image, upright_size
from patchrerank.regions import GridPyramid, Regions, boxes_in, parse_regions

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
class PreparedImage:
    """One decoded image whose cuts wait for the network.

    Attributes:
        image_id: its gallery id.
        size: width and height of the upright image, in pixels.
        boxes: float32 ``(P, 4)``, its regions.
        count: number of cuts: P, and one more where no region is the whole image.
        cuts: what ``encoder.encode_regions`` takes: the whole image, then the other regions.
    """

    image_id: str
    size: tuple[int, int]
    boxes: Floats
    count: int
    cuts: Any


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

    Args:
        folder: the gallery directory; made if absent.
        images: a folder, a list of files, or an iterable of ``(id, image)`` with unique ids.
            Ids that the gallery already holds are passed over.
        encoder: what :func:`patchrerank.encoders.load_encoder` returned, or its spec.
        regions: a strategy, or its spec such as ``grid:2`` (see
            :func:`patchrerank.regions.parse_regions`); default ``GridPyramid(3)``, Patchify's 30
            patches.
        options: see :class:`BuildOptions`.

    Raises:
        SettingError: something of the wrong type.
        EncoderError, RegionError: a spec that names nothing.
        ImageError: an image cannot be read (unless ``on_error="skip"``).
        GalleryError: duplicate ids; a folder made with other settings; a complete gallery
            without ``append``; another process at work on it.
    """
    options = options or BuildOptions()
    regions, encoder = _strategy(regions), _loaded(encoder)
    source = open_source(images)
    writer = open_writer(Path(folder), encoder, regions, options, chunk_size(encoder, regions))
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


def _loaded(encoder: Encoder | str) -> Encoder:
    from patchrerank.encoders import load_encoder

    if isinstance(encoder, str):
        return load_encoder(encoder)
    if not hasattr(encoder, "encode_regions"):
        raise SettingError(
            f"the encoder is {described(encoder)}; pass a spec such as 'efficientnet_lite0', or "
            "what load_encoder(…) returns"
        )
    return encoder


def _strategy(regions: Regions | str | None) -> Regions:
    if regions is None:
        return GridPyramid(3)
    if isinstance(regions, str):
        return parse_regions(regions)
    if not hasattr(regions, "spec"):
        raise SettingError(
            f"the regions are {described(regions)}; pass a spec such as 'grid:3', or a strategy"
        )
    return regions


def chunk_size(encoder: Encoder, regions: Regions) -> int:
    """Return how many images are encoded and committed together."""
    patches = len(regions.boxes("", 1024, 1024)) if regions.finest is not None else 8
    crops = encoder.crops_of(patches)
    least = max(1, min(MIN_CHUNK, CHUNK_CROPS // crops))
    return max(least, math.ceil(encoder.batch_size / crops))


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


def prepare_image(
    encoder: Encoder,
    regions: Regions,
    image_id: str,
    image: ImageSource,
    max_pixels: int | None = MAX_PIXELS,
) -> PreparedImage:
    """Decode one image and cut what the encoder takes; for worker threads.

    Raises:
        ImageError: it cannot be read.
        RegionError: the strategy has no boxes for it, or malformed ones.
    """
    finest = regions.finest
    min_size = None if finest is None else encoder.least_size(finest)
    size = upright_size(image, max_pixels=max_pixels)
    picture = read_image(image, max_pixels=max_pixels, min_size=min_size)
    found = boxes_in(regions, image_id, picture, size)
    boxes = check_boxes(found, f"regions of {image_id!r}")
    whole = len(boxes) > 0 and bool((boxes[0] == WHOLE_IMAGE).all())
    cuts = boxes if whole else np.concatenate([WHOLE_IMAGE[None], boxes])
    return PreparedImage(image_id, size, boxes, len(cuts), encoder.prepare_regions(picture, cuts))


class _Preparer:
    """Prepares one image, or returns why it cannot be read; called by worker threads."""

    def __init__(self, encoder: Encoder, regions: Regions, options: BuildOptions) -> None:
        self._encoder = encoder
        self._regions = regions
        self._max_pixels = options.max_pixels
        self._keep = options.on_error == "skip"

    def __call__(self, image_id: str, image: ImageSource) -> PreparedImage | ImageError:
        try:
            return prepare_image(self._encoder, self._regions, image_id, image, self._max_pixels)
        except ImageError as error:
            if self._keep:
                return error
            raise


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
    ready: list[tuple[str, Future[PreparedImage | ImageError]]],
    writer: GalleryWriter,
    encoder: Encoder,
) -> None:
    prepared: list[PreparedImage] = []
    skipped: list[tuple[str, str]] = []

    def cuts() -> Iterator[Any]:
        for name, future in ready:
            result = future.result()
            if isinstance(result, ImageError):
                logger.warning("skipped %s: %s", name, result)
                skipped.append((name, str(result)))
            else:
                prepared.append(result)
                yield result.cuts

    vectors = encoder.encode_regions(cuts())
    rows, start = [], 0
    for item in prepared:
        end = start + item.count
        patches = vectors[end - len(item.boxes) : end]
        rows.append(ImageRows(item.image_id, item.size, item.boxes, vectors[start], patches))
        start = end
    writer.commit(rows, skipped)
