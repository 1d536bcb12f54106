"""Boxes that somebody else chose: a detector's, or a person's."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from patchrerank.boxes import WHOLE_IMAGE, Floats, check_boxes, turned
from patchrerank.errors import RegionError, near_matches
from patchrerank.regions._reading import OnError, read_json
from patchrerank.regions.base import MOST_REGIONS, check_count
from patchrerank.regions.coco import load_coco

Pixels = Literal["auto", "stored"]
Size = tuple[int, int]

UPRIGHT = 1
"""EXIF orientation of a picture that is stored upright."""

SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations of pictures whose width is stored as their height."""

logger = logging.getLogger(__name__)


class FixedBoxes:
    """Boxes given per image.

    Args:
        boxes: image id → ``(P, 4)`` relative boxes ``x0, y0, x1, y1``; P may be 0 and may
            differ between images.
        whole_image: put the whole image first, so that no image is without a region and the
            local score is never below the global similarity.
        sizes: image id → the width and height in pixels that the boxes were made for, where they
            are known; a picture of another size is refused when its turn comes.
        pixels: whether boxes are of the upright picture or of the pixels as they are stored, which
            differ where a picture has an EXIF orientation. ``stored``: stored. ``auto``: upright,
            unless ``sizes`` has the stored size of a picture that lies on its side.
        most: the most boxes of an image; None: no limit.
        on_error: ``skip`` leaves malformed boxes out, counted and logged.

    Attributes:
        left_out: a sentence for each box, or image's boxes, left out.

    Raises:
        RegionError: a box is malformed (the message names the image), or later, no boxes were
            given for an image, or they are of an image of another size.
    """

    def __init__(
        self,
        boxes: Mapping[str, npt.ArrayLike],
        *,
        whole_image: bool = True,
        sizes: Mapping[str, Size] | None = None,
        pixels: Pixels = "auto",
        most: int | None = MOST_REGIONS,
        on_error: OnError = "raise",
    ) -> None:
        if pixels not in ("auto", "stored"):
            raise RegionError(f"pixels is {pixels!r}; use 'auto' or 'stored'")
        self.whole_image = whole_image
        self.pixels = pixels
        self.left_out: tuple[str, ...] = ()
        self._most = most
        self._sizes = dict(sizes or {})
        self._boxes = {
            image_id: self._checked(value, f"image {image_id!r}", on_error)
            for image_id, value in boxes.items()
        }
        self._told = False
        if self.left_out:
            kept = self.left_out
            logger.warning("boxes left out: %d; the first: %s", len(kept), kept[0])

    @classmethod
    def from_json(
        cls,
        path: str | Path,
        *,
        whole_image: bool = True,
        most: int | None = MOST_REGIONS,
        on_error: OnError = "raise",
    ) -> FixedBoxes:
        """Read ``{image id: [[x0, y0, x1, y1], …]}`` from a JSON file."""
        content = read_json(path)
        if not isinstance(content, dict):
            raise RegionError(f"{path}: expected an object from image id to a list of boxes")
        try:
            return cls(content, whole_image=whole_image, most=most, on_error=on_error)
        except RegionError as error:
            raise RegionError(f"{path}: {error}") from error

    @classmethod
    def from_coco(
        cls,
        path: str | Path,
        results: str | Path | None = None,
        *,
        top: int | None = None,
        whole_image: bool = True,
        pixels: Pixels = "auto",
        most: int | None = MOST_REGIONS,
        on_error: OnError = "raise",
    ) -> FixedBoxes:
        """Read a detector's boxes in the COCO layout, with the sizes of their images.

        See :func:`patchrerank.regions.coco.load_coco`.
        """
        found = load_coco(path, results, top=top, on_error=on_error)
        made = cls(
            found.boxes, whole_image=whole_image, sizes=found.sizes, pixels=pixels, most=most
        )
        made.left_out = found.left_out
        return made

    @property
    def ids(self) -> tuple[str, ...]:
        """The images that boxes were given for, in the order given."""
        return tuple(self._boxes)

    @property
    def spec(self) -> str:
        """``boxes:`` and a digest of all ids and boxes."""
        stored = "" if self.pixels == "auto" else f" pixels={self.pixels}"
        digest = hashlib.sha256(f"whole_image={self.whole_image}{stored}".encode())
        for image_id in sorted(self._boxes):
            digest.update(json.dumps(image_id).encode() + self._boxes[image_id].tobytes())
        return f"boxes:{digest.hexdigest()[:16]}"

    @property
    def finest(self) -> None:
        """Not known: a box may be as small as it likes."""
        return None

    def boxes(self, image_id: str, width: int, height: int) -> Floats:
        """Return the boxes given for ``image_id``, as they were given; the size does not matter."""
        if image_id not in self._boxes:
            raise RegionError(
                f"no boxes were given for image {image_id!r}{near_matches(image_id, self._boxes)}; "
                "give an empty list if it has none"
            )
        return self._with_whole(self._boxes[image_id])

    def boxes_of(self, image_id: str, size: Size, orientation: int = UPRIGHT) -> Floats:
        """Return the boxes of a picture, turned with it where they are of its stored pixels.

        Args:
            image_id: its gallery id.
            size: width and height of the upright picture, in pixels.
            orientation: EXIF orientation of the stored picture, 1 to 8.

        Raises:
            RegionError: no boxes were given, too many, or those of a picture of another size.
        """
        given = self.boxes(image_id, *size)
        check_count(f"boxes of image {image_id!r}", [len(given)], self._most)
        turn = self._turn(image_id, size, orientation)
        self._warn_of_doubt(image_id, size, orientation)
        return given if turn == UPRIGHT else self._with_whole(turned(self._boxes[image_id], turn))

    def agree(self, image_id: str, size: Size, held: Floats) -> bool:
        """Return whether an image's boxes, if it has any here, are those that a gallery holds.

        Args:
            image_id: its gallery id.
            size: width and height of the upright picture, in pixels.
            held: float32 ``(P, 4)``, as :meth:`boxes_of` returned them once, for a picture whose
                EXIF orientation is not known any more.
        """
        if image_id not in self._boxes:
            return True
        return any(self._equal(image_id, size, turn, held) for turn in range(1, 9))

    def _equal(self, image_id: str, size: Size, orientation: int, held: Floats) -> bool:
        try:
            turn = self._turn(image_id, size, orientation)
        except RegionError:
            return False
        return np.array_equal(self._with_whole(turned(self._boxes[image_id], turn)), held)

    def _with_whole(self, given: Floats) -> Floats:
        return np.concatenate([WHOLE_IMAGE[None], given]) if self.whole_image else given

    def _turn(self, image_id: str, size: Size, orientation: int) -> int:
        """Return by which EXIF orientation boxes must be turned to be the upright picture's."""
        stored = size[::-1] if orientation in SIDEWAYS else size
        declared = self._sizes.get(image_id)
        if self.pixels == "stored" and declared in (None, stored):
            return orientation
        if self.pixels == "auto" and declared in (None, size):
            return UPRIGHT
        if self.pixels == "auto" and declared == stored:
            return orientation
        raise RegionError(
            f"the boxes of {image_id!r} are of an image of {_pixels(declared)}, the picture has "
            f"{_pixels(size)} upright and {_pixels(stored)} as stored; give the size and boxes of "
            "this picture, or relative boxes (boxes:FILE.json)"
        )

    def _warn_of_doubt(self, image_id: str, size: Size, orientation: int) -> None:
        """Say once that boxes in pixels do not tell what they are of (half turns and mirrors)."""
        declared = self._sizes.get(image_id)
        alike = orientation not in SIDEWAYS or size[0] == size[1]
        if self.pixels == "auto" and declared and alike and orientation != 1 and not self._told:
            self._told = True
            logger.warning(
                "%s is stored with the EXIF orientation %d, and its size does not tell whether "
                "boxes are of the stored or of the upright picture: taken as upright, here and in "
                "pictures like it; for the other use coco_stored:FILE.json (pixels='stored')",
                image_id,
                orientation,
            )

    def _checked(self, value: npt.ArrayLike, where: str, on_error: OnError) -> Floats:
        try:
            return check_boxes(value, where)
        except RegionError as error:
            if on_error == "raise":
                raise
            kept, reasons = _sound(value, where)
            self.left_out = (*self.left_out, *(reasons or [str(error)]))
            return kept


def _sound(value: npt.ArrayLike, where: str) -> tuple[Floats, list[str]]:
    """Return the boxes that are well formed, and what is wrong with each of the others."""
    kept, reasons = [np.zeros((0, 4), dtype=np.float32)], []
    for number, box in enumerate(value if isinstance(value, list) else []):
        try:
            kept.append(check_boxes([box], f"{where}, box {number}"))
        except RegionError as error:
            reasons.append(str(error))
    return np.concatenate(kept), reasons


def _pixels(size: Size | None) -> str:
    return "an unknown size" if size is None else f"{size[0]} × {size[1]} pixels"
