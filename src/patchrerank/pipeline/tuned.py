"""What a tuning run found, as a file: stages, where they hold, and how far to trust them."""

from __future__ import annotations

import logging
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from patchrerank.calibration import Calibration
from patchrerank.errors import SettingError
from patchrerank.metrics import parse_convention
from patchrerank.pipeline.cascade import Cascade
from patchrerank.pipeline.recipe import Recipe
from patchrerank.pipeline.stages import StageSpec, check_stages, make_cascade
from patchrerank.pipeline.tuned_on import TunedOn
from patchrerank.records import check_within, from_json, read_json, save_record

if TYPE_CHECKING:
    from patchrerank.encoders import DenseEncoder, Encoder
    from patchrerank.gallery import Gallery
    from patchrerank.images import ImageSource

SCHEMA = 1
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Estimate:
    """A metric with its confidence interval, in 0–1 (not percent)."""

    value: float
    low: float
    high: float
    confidence: float = 0.95

    def __post_init__(self) -> None:
        check_within(0, 1, value=self.value, low=self.low, high=self.high)
        check_within(0, 1, confidence=self.confidence)
        if self.low > self.high:
            raise SettingError(f"low must not exceed high, got {self.low} and {self.high}")


@dataclass(frozen=True)
class Versions:
    """What it was tuned with; empty where a package was not there."""

    patchrerank: str
    optuna: str
    numpy: str
    python: str

    @classmethod
    def current(cls) -> Versions:
        """Return those of this process."""
        packages = {name: _version(name) for name in ("patchrerank", "optuna", "numpy")}
        return cls(**packages, python=platform.python_version())


@dataclass(frozen=True)
class Tuned:
    """A tuned cascade with everything needed to use it, repeat it and doubt it.

    Attributes:
        stages: at least one.
        tuned_on: data set, gallery and queries.
        metric: what was maximised, such as ``mAP``.
        convention: name of the average precision's convention.
        value: the metric on the queries it was tuned on, in 0–1: an optimistic figure.
        held_out: the metric on queries that were left out, in 0–1; None if not measured.
        folds: into how many the queries were split for that; 0 if they were not.
        seed: of folds and sampler.
        sampler: who proposed the trials.
        versions: of the packages.
        warnings: what to know before trusting it, such as an optimum on a border.
        calibration: gives hits a probability; None if none was fitted.
        schema: version of the file's layout.
    """

    stages: tuple[StageSpec, ...]
    tuned_on: TunedOn
    metric: str
    convention: str
    value: float
    held_out: Estimate | None
    folds: int
    seed: int
    sampler: str
    versions: Versions
    warnings: tuple[str, ...] = ()
    calibration: Calibration | None = None
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        check_stages(self.stages)
        parse_convention(self.convention)
        check_within(0, 1, value=self.value)
        check_within(0, float("inf"), folds=self.folds)

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            SettingError: it cannot be written.
        """
        save_record(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Tuned:
        """Read a file that :meth:`save` wrote.

        Raises:
            SettingError: it is missing, no JSON, of another schema, or a key is missing, unknown,
                of the wrong type or out of range; names file and key.
        """
        content = read_json(path)
        if isinstance(content, dict) and isinstance(content.get("tuned_on"), dict):
            content["tuned_on"].setdefault("whiten", None)  # of files from before it was told
        schema = content.get("schema", SCHEMA) if isinstance(content, dict) else SCHEMA
        if schema != SCHEMA:
            raise SettingError(
                f"{path}: schema: this version reads {SCHEMA}, not {schema!r}; tune again, or use "
                "the version of patchrerank that wrote it"
            )
        return from_json(cls, content, str(path))

    @property
    def recipe(self) -> Recipe:
        """What of it makes a ranker on any gallery."""
        on = self.tuned_on
        made = Recipe(self.stages, on.query_crop, on.query_views, calibration=self.calibration)
        if on.local is None:
            return made
        seen = on.local
        return replace(made, query_size=seen.query_image_size, query_part=seen.query_part)

    def __str__(self) -> str:
        return str(self.recipe)

    def check(
        self,
        gallery: Gallery,
        dense_encoder: DenseEncoder | None = None,
        *,
        strict: bool = True,
    ) -> None:
        """Compare a gallery with the one it was tuned on; what shifts scores a little is logged.

        Raises:
            SettingError: with ``strict``, scores lie on another scale here.
        """
        for difference in self.tuned_on.other_scale(gallery, dense_encoder):
            if strict:
                raise SettingError(
                    f"{difference}; scores lie on another scale: tune again on this gallery, or "
                    f"go on all the same with its stages alone, {str(self)!r} (--stages)"
                )
            logger.warning("%s; scores lie on another scale", difference)
        for difference in self.tuned_on.other_regions(gallery):
            logger.warning("%s; scores may be shifted", difference)

    def cascade(
        self,
        gallery: Gallery,
        encoder: Encoder | None = None,
        dense_encoder: DenseEncoder | None = None,
        images: Mapping[str, ImageSource] | None = None,
        *,
        strict: bool = True,
    ) -> Cascade:
        """Make the cascade on a gallery; ``load_reranker`` finds the encoders by itself.

        Args:
            gallery: one encoded as the gallery was that it was tuned on.
            encoder: encodes query pictures; not needed for ready vectors.
            dense_encoder: makes the local descriptors of query pictures, for stages that compare
                them, at the image size that it was tuned with.
            images: ``{gallery id: picture}``, for rerankers that look at the pictures again;
                None: the files the gallery was built from.
            strict: refuse encoders other than those it was tuned with, whose scores lie on
                another scale; False only warns (other regions only warn in any case).

        Raises:
            SettingError: with ``strict``, an encoder other than those it was tuned with.
        """
        self.check(gallery, dense_encoder, strict=strict)
        crop, calibration = self.tuned_on.query_crop, self.calibration
        parts = gallery, encoder, dense_encoder, crop, images, calibration
        return make_cascade(self.stages, *parts).with_query_views(self.tuned_on.query_views)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
