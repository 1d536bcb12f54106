"""What a composite benchmark is made of, and how strongly its objects are disturbed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from patchrerank.errors import SettingError

FORMAT = 1
"""Raised whenever the same settings begin to give other pictures."""

Range = tuple[float, float]


@dataclass(frozen=True)
class CompositeConfig:
    """Settings of :func:`patchrerank.datasets.composite.build_composite`.

    Attributes:
        seed: with the same inputs and settings, the same seed gives the same data set.
        positives: pictures that show each object, at least 1.
        distractors: pictures that show none of the objects.
        long_side: longer side of a database picture, in pixels.
        query_side: side of the square query pictures, in pixels.
        area: smallest and largest share of the picture that the object's box covers; the share
            is drawn evenly on a logarithmic scale.
        rotation: largest turn in the plane to either side, in degrees.
        perspective: largest shift of a corner, as a share of the object's width and height.
        lighting: strength of random gain, gamma and colour cast, 0 (none) to 1.
        occlusion: largest share of the object that other pieces and the border may hide.
        max_clutter: up to how many other pieces are pasted beside the object.
        clutter_share: share of the cut-outs (or of the photographs that pieces are cut from) held
            back as clutter. They never become objects of a query. Where this leaves none, clutter
            is cut out of the backgrounds.
        max_instances: use at most so many pieces as objects (spare cut-outs become clutter); None
            means all.
        pieces_per_photo: how many pieces are cut out of a photograph where cut-outs are lacking.
        jpeg_quality: of the database pictures, 1 to 95.

    Raises:
        SettingError: a value is outside its range.
    """

    seed: int = 0
    positives: int = 5
    distractors: int = 600
    long_side: int = 512
    query_side: int = 384
    area: Range = (0.03, 0.6)
    rotation: float = 25.0
    perspective: float = 0.1
    lighting: float = 0.25
    occlusion: float = 0.35
    max_clutter: int = 3
    clutter_share: float = 0.25
    max_instances: int | None = None
    pieces_per_photo: int = 4
    jpeg_quality: int = 90

    def __post_init__(self) -> None:
        object.__setattr__(self, "area", _checked_area(self.area))
        _whole("seed", self.seed, 0, 2**63)
        _whole("positives", self.positives, 1, 10_000)
        _whole("distractors", self.distractors, 0, 10_000_000)
        _whole("long_side", self.long_side, 64, 4096)
        _whole("query_side", self.query_side, 64, 4096)
        self._number("rotation", 0.0, 180.0)
        self._number("perspective", 0.0, 0.2)
        self._number("lighting", 0.0, 1.0)
        self._number("occlusion", 0.0, 0.9)
        _whole("max_clutter", self.max_clutter, 0, 20)
        self._number("clutter_share", 0.0, 0.9)
        if self.max_instances is not None:
            _whole("max_instances", self.max_instances, 1, 10_000_000)
        _whole("pieces_per_photo", self.pieces_per_photo, 1, 16)
        _whole("jpeg_quality", self.jpeg_quality, 1, 95)

    def _number(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        known = isinstance(value, int | float) and not isinstance(value, bool)
        if not known or not low <= value <= high:
            raise SettingError(f"{name} must be a number from {low} to {high}, got {value!r}")
        object.__setattr__(self, name, float(value))

    def record(self) -> dict[str, Any]:
        """Return the settings as plain JSON values, with the version of the recipe."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return {"builder": "composite", "format": FORMAT, **values}


def _checked_area(area: Range) -> Range:
    try:
        low, high = (float(value) for value in area)
    except (TypeError, ValueError) as error:
        raise SettingError(f"area must be two numbers (smallest, largest), got {area!r}") from error
    if not 0.001 <= low <= high / 1.2 or not high <= 0.9:
        raise SettingError(
            f"area must be (smallest, largest) with 0.001 <= smallest, largest <= 0.9 and largest "
            f"at least 1.2 times smallest, got {(low, high)}"
        )
    return low, high


def _whole(name: str, value: int, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise SettingError(f"{name} must be a whole number from {low} to {high}, got {value!r}")
