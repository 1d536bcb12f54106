"""Query views: the query's object, composed on backgrounds of the gallery's pictures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast, get_args

from patchrerank.errors import SettingError

ViewSource = Literal["none", "mask", "alpha", "plain", "grabcut", "box"]
"""What told the object of a query from its ground; ``none``: nothing did, so no views."""

MaskFrom = Literal["auto", "grabcut"]
MOST_BACKGROUNDS = 64
CANVAS = 0.7
LEAST_CANVAS = 0.25
TEXT = re.compile(r"(\d+)(?::(\d+(?:\.\d+)?))?(?::(\d+(?:\.\d+)?))?(?::([a-z]+))?")


@dataclass(frozen=True)
class QueryViews:
    """How a query's object is shown before backgrounds, where objects are searched in scenes.

    The object is told from its ground by the first of these that there is: a mask that came with
    the query; transparency; a plain background; its box, a rectangle. Composed on backgrounds from
    the gallery's own bank, turned a little each time, it is encoded as often, and the mean of the
    vectors, that of the query as it is among them, is the query. Without an object nothing is done.

    Attributes:
        backgrounds: views beside the query as it is, each one pass more, all in one batch; 0: one
            view on the mean of all backgrounds, in place of the query as it is: no pass more.
        rotate: degrees, 0 to 180: views are turned by angles spread evenly over ± this.
        mask: ``grabcut`` looks for the object inside the box (GrabCut of OpenCV, the ``opencv``
            extra) where there is a box and neither mask, transparency nor plain background.
        canvas: side of a view as a share of the encoder's pictures', 0.25 to 1, rounded to what
            the network takes (0.7 of 224 pixels: 160, half of the time). The object is as large as
            on the whole canvas, its surroundings are fewer. The one view of 0 backgrounds has the
            whole, and so have views for networks whose vector is no mean of a feature map.
        seed: of angles, sizes and backgrounds, with the object's own pixels: equal queries have
            equal views.

    Raises:
        SettingError: a value out of range.
    """

    backgrounds: int = 8
    rotate: float = 20.0
    mask: MaskFrom = "auto"
    canvas: float = CANVAS
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.backgrounds <= MOST_BACKGROUNDS:
            raise SettingError(
                f"query views: backgrounds must lie in 0 … {MOST_BACKGROUNDS}, got "
                f"{self.backgrounds}"
            )
        if not 0.0 <= self.rotate <= 180.0:
            raise SettingError(f"query views: rotate must lie in [0, 180], got {self.rotate}")
        if not LEAST_CANVAS <= self.canvas <= 1.0:
            raise SettingError(
                f"query views: canvas must lie in [{LEAST_CANVAS}, 1], got {self.canvas}"
            )
        if self.mask not in get_args(MaskFrom):
            raise SettingError(f"query views: mask is {self.mask!r}; use 'auto' or 'grabcut'")
        if self.seed < 0:
            raise SettingError(f"query views: seed must be at least 0, got {self.seed}")

    @classmethod
    def parse(cls, text: str) -> QueryViews:
        """Read ``BACKGROUNDS[:ROTATE[:CANVAS]][:grabcut]``, such as ``8``, ``8:20`` or ``8:20:1``.

        Raises:
            SettingError: other text, or a value out of range.
        """
        found = TEXT.fullmatch(text.strip())
        if found is None or len(found[1]) > len(str(MOST_BACKGROUNDS)):
            raise SettingError(
                f"query views: {text!r} is malformed; give the number of backgrounds, 0 to "
                f"{MOST_BACKGROUNDS}, and, behind colons, degrees, the canvas and grabcut, such as "
                "8, 8:20, 8:20:1 or 8:20:0.7:grabcut"
            )
        count, rotate, canvas, mask = found.groups()
        if canvas is not None and not int(count):
            raise SettingError(
                f"query views: {text!r} names a canvas, but the one view of 0 backgrounds has the "
                f"whole; leave :{canvas} out"
            )
        return cls(
            int(count),
            cls.rotate if rotate is None else float(rotate),
            cast(MaskFrom, mask or "auto"),
            cls.canvas if canvas is None else float(canvas),
        )

    def __str__(self) -> str:
        looked = "" if self.mask == "auto" else f":{self.mask}"
        canvas = f":{self.canvas:g}" if self.backgrounds else ""
        return f"{self.backgrounds}:{self.rotate:g}{canvas}{looked}"


@dataclass(frozen=True)
class AutoViews(QueryViews):
    """Query views where they are possible and nobody asked: else the query is encoded as it is.

    They are used where the gallery keeps backgrounds, the encoder's vectors are means of feature
    maps, and the query has an object; nothing is said of others. Two backgrounds: they gain most
    of what eight do, for little more than one query's time, and cost scenes nothing
    (``docs/query-views.md``).
    """

    backgrounds: int = 2

    def __str__(self) -> str:
        return f"auto ({super().__str__()})"


AUTO_VIEWS = AutoViews()
