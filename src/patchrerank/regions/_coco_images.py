"""The images of a file in the COCO layout, and which of them a result means."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from patchrerank.errors import RegionError, near_matches


@dataclass
class CocoImage:
    """An entry of ``images`` and the ``(score, box)`` found for it, in the order of the file."""

    name: str
    width: int
    height: int
    found: list[tuple[float, list[float]]] = field(default_factory=list)


class CocoImages:
    """The entries of ``images``, found by id, by file name or by the stem of it.

    Args:
        entries: the list as read.
        path: the file, for messages.

    Raises:
        RegionError: an entry without its keys, an empty image, or an id or name that comes twice.
    """

    def __init__(self, entries: Sequence[Any], path: str) -> None:
        self._by_id: dict[str, CocoImage] = {}
        self._by_name: dict[str, CocoImage] = {}
        self._by_base: defaultdict[str, list[CocoImage]] = defaultdict(list)
        self._by_stem: defaultdict[str, list[CocoImage]] = defaultdict(list)
        for key, image in _parsed(entries, path):
            if key in self._by_id or image.name in self._by_name:
                raise RegionError(f"{path}: images name {image.name!r} or the id {key} twice")
            base = PurePosixPath(image.name)
            self._by_id[key] = self._by_name[image.name] = image
            self._by_base[base.name].append(image)
            self._by_stem[base.stem].append(image)

    def __iter__(self) -> Iterator[CocoImage]:
        return iter(self._by_name.values())

    def of(self, entry: Any, where: str) -> CocoImage:
        """Return the image that an annotation or a result belongs to.

        Raises:
            RegionError: none, or several.
        """
        name, image_id = entry.get("file_name"), entry.get("image_id")
        own = self._by_id.get(_key(image_id)) if "image_id" in entry else None
        if isinstance(name, str):
            return self._named(name, own, where)
        if own is None and isinstance(image_id, str):  # a detector's: the name without its suffix
            alike = self._by_stem.get(image_id, [])
            own = alike[0] if len(alike) == 1 else None
        if own is None:
            raise RegionError(
                f"{where}: no image has the id {_key(image_id)}"
                f"{near_matches(_key(image_id), self._by_id)}"
            )
        return own

    def _named(self, name: str, own: CocoImage | None, where: str) -> CocoImage:
        if name in self._by_name:
            return self._by_name[name]
        alike = self._by_base.get(PurePosixPath(name).name, [])
        if own in alike:
            return own
        if len(alike) == 1:
            return alike[0]
        what = f"{len(alike)} images have" if alike else "no image has"
        near = near_matches(name, self._by_name)
        raise RegionError(f"{where}: {what} the file name {name!r}{near}")


def _parsed(entries: Sequence[Any], path: str) -> Iterator[tuple[str, CocoImage]]:
    for number, entry in enumerate(entries):
        try:
            width, height = int(entry["width"]), int(entry["height"])
            key, image = _key(entry["id"]), CocoImage(str(entry["file_name"]), width, height)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise RegionError(
                f"{path}: images[{number}] needs id, file_name, width and height ({error!r})"
            ) from error
        if min(width, height) < 1:
            raise RegionError(f"{path}: images[{number}] is {width} × {height} pixels")
        yield key, image


def _key(image_id: Any) -> str:
    """Return an id as JSON text, so that 1 and "1" differ, but not 1 and 1.0."""
    if isinstance(image_id, float) and image_id.is_integer():
        image_id = int(image_id)
    return json.dumps(image_id)
