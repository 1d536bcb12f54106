"""What spatial verification looks for in a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from patchrerank.errors import SettingError, near_matches

FeatureKind = Literal["sift", "orb", "xfeat"]
LEAST_SIDE = 32


@dataclass(frozen=True)
class FeatureSettings:
    """Kind, resolution and number of local features.

    The defaults were chosen for SIFT, on rotated, warped and relit composites with objects of
    3–60 % of the picture; XFeat needs help with scale: ``query_sides=(384, 256, 128)``.

    Attributes:
        kind: ``sift`` (RootSIFT), ``orb`` (both OpenCV), or ``xfeat``.
        side: gallery pictures are resized so that their longer side has this many pixels.
        query_sides: likewise the query's box (or picture); features of all sides are joined,
            which bridges a difference in scale.
        limit: strongest features kept of a picture, at each side.
    """

    kind: FeatureKind = "sift"
    side: int = 512
    query_sides: tuple[int, ...] = (384,)
    limit: int = 1000

    def __post_init__(self) -> None:
        known = get_args(FeatureKind)
        if self.kind not in known:
            hint = near_matches(str(self.kind), known)
            raise SettingError(f"kind {self.kind!r} is unknown; use {', '.join(known)}{hint}")
        object.__setattr__(self, "query_sides", tuple(self.query_sides))
        if not self.query_sides or min(self.side, *self.query_sides) < LEAST_SIDE:
            raise SettingError(
                f"side and query_sides must be at least {LEAST_SIDE} pixels (one query side at "
                f"least), got {self.side} and {self.query_sides}"
            )
        if self.limit < 1:
            raise SettingError(f"limit must be at least 1, got {self.limit}")
