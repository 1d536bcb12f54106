"""How many descriptors learned rerankers compare."""

from __future__ import annotations

from dataclasses import dataclass

from patchrerank.errors import SettingError


@dataclass(frozen=True)
class Limits:
    """How many descriptors are compared; of each image the strongest.

    Attributes:
        query_descriptors: of a query at most; None: all.
        gallery_descriptors: of a candidate at most; None: all.
    """

    query_descriptors: int | None = None
    gallery_descriptors: int | None = None

    def __post_init__(self) -> None:
        for name in ("query_descriptors", "gallery_descriptors"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingError(f"{name} must be at least 1 or None (all), got {value}")
