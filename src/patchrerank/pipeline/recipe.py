"""Everything that makes a ranker, beside the gallery it works on: plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from patchrerank.calibration import Calibration
from patchrerank.encoders import QueryPart
from patchrerank.fusion import DEFAULT_FUSION
from patchrerank.pipeline.query_encoders import QUERY_SIZE
from patchrerank.pipeline.stages import (
    StageSpec,
    check_reranker,
    check_stages,
    parse_stages,
    stages_text,
)
from patchrerank.records import from_json, read_json, save_record
from patchrerank.types import QueryCrop, QueryViews

DEFAULT_STAGES = DEFAULT_FUSION.stage_text("patchify")
"""One stage in which the patches count most, and the first stage's scores a little."""

BEST_PATCH = "patchify"
"""One stage in which the patch score alone counts, on the full list: the published setting."""


@dataclass(frozen=True)
class Recipe:
    """What makes a ranker on any gallery: of ``load_reranker``'s arguments those that are data.

    ``tuned.json`` holds one (:attr:`patchrerank.pipeline.Tuned.recipe`).

    Attributes:
        stages: at least one.
        query_crop: what is done with a query's box before its global vector is encoded.
        query_views: how its object is composed on backgrounds for that; None: it is not.
        query_size: (height, width) in pixels of query pictures for local descriptors.
        query_part: which of their local descriptors are kept
            (:class:`patchrerank.encoders.Selection`).
        calibration: gives hits a probability; None: they get none.
    """

    stages: tuple[StageSpec, ...]
    query_crop: QueryCrop = "none"
    query_views: QueryViews | None = None
    query_size: tuple[int, int] = (QUERY_SIZE, QUERY_SIZE)
    query_part: QueryPart = "box"
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        check_stages(self.stages)

    @classmethod
    def parse(cls, stages: str, **settings: Any) -> Recipe:
        """Make one from text such as ``patchify:400:0.3:4,chamfer:100`` and the other fields.

        Raises:
            SettingError: a malformed stage, or settings out of range.
        """
        found = tuple(parse_stages(stages))
        for stage in found:
            check_reranker(stage.reranker)
        return cls(found, **settings)

    def __str__(self) -> str:
        return stages_text(self.stages)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-able data, which :meth:`from_dict` takes."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: object, source: str = "recipe") -> Recipe:
        """Make one from the data of :meth:`as_dict`.

        Raises:
            SettingError: a key is missing, unknown, of the wrong type or out of range.
        """
        return from_json(cls, content, source)

    def save(self, path: str | Path) -> None:
        """Write it as JSON, whole or not at all.

        Raises:
            SettingError: it cannot be written.
        """
        save_record(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Recipe:
        """Read a file that :meth:`save` wrote.

        Raises:
            SettingError: it is missing, no JSON, or damaged; names file and key.
        """
        return cls.from_dict(read_json(path), str(path))
