"""Boxes that somebody else chose: a detector's, or a person's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from patchrerank.boxes import WHOLE_IMAGE, Floats, check_boxes
from patchrerank.errors import RegionError, near_matches
from patchrerank.regions.coco import read_coco


class FixedBoxes:
    """Boxes given per image.

    Args:
        boxes: image id → ``(P, 4)`` relative boxes ``x0, y0, x1, y1``; P may be 0 and may
            differ between images.
        whole_image: put the whole image first, so that no image is without a region and the
            local score is never below the global similarity.

    Raises:
        RegionError: a box is malformed (the message names the image), or later, no boxes were
            given for an image.
    """

    def __init__(self, boxes: Mapping[str, npt.ArrayLike], *, whole_image: bool = True) -> None:
        self.whole_image = whole_image
        self._boxes = {
            image_id: check_boxes(value, f"image {image_id!r}") for image_id, value in boxes.items()
        }

    @classmethod
    def from_json(cls, path: str | Path, *, whole_image: bool = True) -> FixedBoxes:
        """Read ``{image id: [[x0, y0, x1, y1], …]}`` from a JSON file."""
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RegionError(f"{path}: cannot be read as JSON ({error})") from error
        if not isinstance(content, dict):
            raise RegionError(f"{path}: expected an object from image id to a list of boxes")
        return cls(content, whole_image=whole_image)

    @classmethod
    def from_coco(
        cls,
        path: str | Path,
        results: str | Path | None = None,
        *,
        top: int | None = None,
        whole_image: bool = True,
    ) -> FixedBoxes:
        """Read a detector's boxes in the COCO layout.

        See :func:`patchrerank.regions.coco.read_coco`.
        """
        return cls(read_coco(path, results, top=top), whole_image=whole_image)

    @property
    def ids(self) -> tuple[str, ...]:
        """The images that boxes were given for, in the order given."""
        return tuple(self._boxes)

    @property
    def spec(self) -> str:
        """``boxes:`` and a digest of all ids and boxes."""
        digest = hashlib.sha256(f"whole_image={self.whole_image}".encode())
        for image_id in sorted(self._boxes):
            digest.update(json.dumps(image_id).encode() + self._boxes[image_id].tobytes())
        return f"boxes:{digest.hexdigest()[:16]}"

    @property
    def finest(self) -> None:
        """Not known: a box may be as small as it likes."""
        return None

    def boxes(self, image_id: str, width: int, height: int) -> Floats:
        """Return the boxes given for ``image_id``; the size does not matter."""
        if image_id not in self._boxes:
            raise RegionError(
                f"no boxes were given for image {image_id!r}{near_matches(image_id, self._boxes)}; "
                "give an empty list if it has none"
            )
        given = self._boxes[image_id]
        return np.concatenate([WHOLE_IMAGE[None], given]) if self.whole_image else given
