"""Boxes in the COCO layout: what detectors write and labelling tools export."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from patchrerank.boxes import Floats, from_pixels
from patchrerank.errors import RegionError, near_matches


@dataclass
class _Image:
    """An entry of ``images`` and the ``(score, box)`` found for it, in the order of the file."""

    name: str
    width: int
    height: int
    found: list[tuple[float, list[float]]] = field(default_factory=list)


def read_coco(
    path: str | Path, results: str | Path | None = None, *, top: int | None = None
) -> dict[str, Floats]:
    """Read boxes: ``file_name`` → float32 ``(P, 4)`` relative boxes, best scores first.

    Args:
        path: an object with ``images`` (``id``, ``file_name``, ``width``, ``height``) and
            ``annotations`` (``image_id``, ``bbox`` as x, y, width, height in pixels of the
            upright image, ``score`` if there is one). File names are the gallery's ids: paths
            relative to its folder.
        results: a detector's results, a list of such annotations, in place of the first file's.
        top: keep the best so many an image; None keeps all. Equal scores, and annotations
            without, keep the file's order.

    Raises:
        RegionError: a file that is not of this layout, an unknown image, a box that is empty or
            lies outside its image; the message names file and entry. Boxes that reach over the
            border are cut.
    """
    if top is not None and top < 1:
        raise RegionError(f"{path}: top must be at least 1, got {top}")
    content = _read(path)
    if not isinstance(content, Mapping) or not isinstance(content.get("images"), list):
        raise RegionError(
            f"{path}: expected an object with 'images' and 'annotations'; a list of results goes "
            "with the file that names its images: coco:IMAGES.json:RESULTS.json"
        )
    images = _images(content["images"], path)
    source, where = content.get("annotations", []), f"{path}: annotations"
    if results is not None:
        source, where = _read(results), str(results)
    if not isinstance(source, list):
        raise RegionError(f"{where}: expected a list of objects with 'image_id' and 'bbox'")
    for number, entry in enumerate(source):
        _add(images, entry, f"{where}[{number}]")
    return {image.name: _best(image, top) for image in images.values()}


def _read(path: str | Path) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RegionError(f"{path}: cannot be read as JSON ({error})") from error


def _images(entries: Sequence[Any], path: str | Path) -> dict[str, _Image]:
    """Return the images by their id (as JSON text, so that 1 and "1" differ)."""
    images: dict[str, _Image] = {}
    names: set[str] = set()
    for key, image in _parsed(entries, path):
        if key in images or image.name in names:
            raise RegionError(f"{path}: images name {image.name!r} or the id {key} twice")
        images[key] = image
        names.add(image.name)
    return images


def _parsed(entries: Sequence[Any], path: str | Path) -> Iterator[tuple[str, _Image]]:
    for number, entry in enumerate(entries):
        try:
            width, height = int(entry["width"]), int(entry["height"])
            key, image = json.dumps(entry["id"]), _Image(str(entry["file_name"]), width, height)
        except (KeyError, TypeError, ValueError) as error:
            raise RegionError(
                f"{path}: images[{number}] needs id, file_name, width and height ({error!r})"
            ) from error
        if min(width, height) < 1:
            raise RegionError(f"{path}: images[{number}] is {width} × {height} pixels")
        yield key, image


def _add(images: dict[str, _Image], entry: Any, where: str) -> None:
    try:
        key, score = json.dumps(entry["image_id"]), float(entry.get("score", 1.0))
        x, y, width, height = (float(value) for value in entry["bbox"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RegionError(
            f"{where}: expected image_id and bbox [x, y, width, height] in pixels ({error!r})"
        ) from error
    image = images.get(key)
    if image is None:
        raise RegionError(f"{where}: no image has the id {key}{near_matches(key, images)}")
    box = [max(x, 0.0), max(y, 0.0), min(x + width, image.width), min(y + height, image.height)]
    if not (box[2] > box[0] and box[3] > box[1] and np.isfinite(score)):
        raise RegionError(
            f"{where}: bbox {entry['bbox']} with score {score} covers nothing of {image.name!r} "
            f"({image.width} × {image.height} pixels); it is x, y, width, height"
        )
    image.found.append((score, box))


def _best(image: _Image, top: int | None) -> Floats:
    ranked = sorted(image.found, key=lambda found: -found[0])[:top]
    return from_pixels([box for _, box in ranked], image.width, image.height)
