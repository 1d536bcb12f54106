"""Boxes in the COCO layout: what detectors write and labelling tools export."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from patchrerank.boxes import Floats, from_pixels
from patchrerank.errors import RegionError
from patchrerank.regions._coco_images import CocoImage, CocoImages
from patchrerank.regions._reading import OnError, read_json

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CocoBoxes:
    """What a file in the COCO layout holds.

    Attributes:
        boxes: ``file_name`` → float32 ``(P, 4)`` relative boxes, best scores first.
        sizes: ``file_name`` → width and height in pixels, as the file says.
        left_out: a sentence for each annotation that was passed over.
    """

    boxes: dict[str, Floats]
    sizes: dict[str, tuple[int, int]]
    left_out: tuple[str, ...] = ()


def load_coco(
    path: str | Path,
    results: str | Path | None = None,
    *,
    top: int | None = None,
    on_error: OnError = "raise",
) -> CocoBoxes:
    """Read boxes in the COCO layout.

    Args:
        path: an object with ``images`` (``id``, ``file_name``, ``width``, ``height``) and
            ``annotations`` (``image_id``, ``bbox`` as x, y, width, height in pixels, ``score`` if
            there is one). File names are the gallery's ids: paths relative to its folder.
        results: a detector's results, a list of such annotations, in place of the first file's;
            an empty list is a detector that found nothing. A result that has a ``file_name`` is
            joined by that (its ``image_id`` may then be the name's stem), by the name without
            folders where only one image has it.
        top: keep the best so many an image; None keeps all. Equal scores, and annotations
            without, keep the file's order.
        on_error: ``skip`` passes over annotations that are malformed, empty, outside their image
            or of an unknown image; they are counted and logged.

    Raises:
        RegionError: a file that is not of this layout, an unknown image, a box that is empty or
            lies outside its image; the message names file and entry. Boxes that reach over the
            border are cut.
    """
    if top is not None and top < 1:
        raise RegionError(f"{path}: top must be at least 1, got {top}")
    content = read_json(path)
    if not isinstance(content, Mapping) or not isinstance(content.get("images"), list):
        raise RegionError(
            f"{path}: expected an object with 'images' and 'annotations'; a list of results goes "
            "with the file that names its images: coco:IMAGES.json:RESULTS.json"
        )
    images = CocoImages(content["images"], str(path))
    source, where = content.get("annotations", []), f"{path}: annotations"
    if results is not None:
        source, where = read_json(results), str(results)
    if not isinstance(source, list):
        raise RegionError(f"{where}: expected a list of objects with 'image_id' and 'bbox'")
    left_out = tuple(_fill(images, source, where, on_error))
    if left_out:
        logger.warning("boxes left out: %d; the first: %s", len(left_out), left_out[0])
    return CocoBoxes(
        {image.name: _best(image, top) for image in images},
        {image.name: (image.width, image.height) for image in images},
        left_out,
    )


def _fill(
    images: CocoImages, entries: Sequence[Any], where: str, on_error: OnError
) -> Iterator[str]:
    """Give the images their boxes; yield why an entry was passed over."""
    for number, entry in enumerate(entries):
        try:
            _add(images, entry, f"{where}[{number}]")
        except RegionError as error:
            if on_error == "raise":
                raise
            yield str(error)


def _add(images: CocoImages, entry: Any, where: str) -> None:
    try:
        score = float(entry.get("score", 1.0))
        x, y, width, height = (float(value) for value in entry["bbox"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RegionError(
            f"{where}: expected image_id and bbox [x, y, width, height] in pixels ({error!r})"
        ) from error
    image = images.of(entry, where)
    box = [max(x, 0.0), max(y, 0.0), min(x + width, image.width), min(y + height, image.height)]
    if not (box[2] > box[0] and box[3] > box[1] and np.isfinite(score)):
        raise RegionError(
            f"{where}: bbox {entry['bbox']} with score {score} covers nothing of {image.name!r} "
            f"({image.width} × {image.height} pixels); it is x, y, width, height; on_error='skip' "
            "(--on-error skip) leaves such boxes out"
        )
    image.found.append((score, box))


def _best(image: CocoImage, top: int | None) -> Floats:
    ranked = sorted(image.found, key=lambda found: -found[0])[:top]
    return from_pixels([box for _, box in ranked], image.width, image.height)
