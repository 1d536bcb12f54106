"""Grid levels L0 to L3, with plain and quantised patch vectors.

Source: Patchify (WACV 2026), supplement, tables 5, 6, 8 and 9.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from patchrerank.analysis.evaluation import evaluate
from patchrerank.analysis.exhaustive import evaluate_exhaustive
from patchrerank.analysis.galleries import StoreSettings
from patchrerank.analysis.measured import Measured
from patchrerank.analysis.methods import Method
from patchrerank.analysis.settings import EvaluationSettings
from patchrerank.errors import SettingError
from patchrerank.gallery import BuildOptions
from patchrerank.pipeline import BEST_PATCH
from patchrerank.regions import GridPyramid

if TYPE_CHECKING:
    from patchrerank.datasets import Dataset
    from patchrerank.encoders import Encoder

LEVELS = (0, 1, 2, 3)
FEATURES = ("L0", "L1", "L2", "L3", "boxes")
"""What table 6 trains a quantiser on."""


@dataclass(frozen=True)
class Quantiser:
    """How patch vectors are quantised.

    Attributes:
        m: parts of a vector.
        nbits: bits of a part, 1 to 8.
        index: a faiss factory string, such as the published ``IVF4096,PQ64``, searched as the
            retriever in place of a product quantiser alone; m and nbits are then its own.
        nprobe: lists visited, for an inverted file.
    """

    m: int = 64
    nbits: int = 8
    index: str | None = None
    nprobe: int = 64

    def __post_init__(self) -> None:
        if self.m < 1 or not 1 <= self.nbits <= 8 or self.nprobe < 1:
            raise SettingError(
                f"a quantiser of {self.m} parts with {self.nbits} bits and {self.nprobe} probes; "
                "parts and probes must be positive, bits 1 to 8"
            )

    def __str__(self) -> str:
        if self.index is not None:
            return f"{self.index} ({self.nprobe} probes)"
        return f"PQ of {self.m} x {self.nbits} bits, no inverted file"


@dataclass(frozen=True)
class QuantisedRow:
    """One level, plain or quantised.

    Attributes:
        level: L.
        trained_on: what the quantiser was trained on; empty for plain vectors.
        metrics: percent, as in :class:`patchrerank.analysis.Measured`.
        bytes_per_image: of the patch vectors, tables and centroids included.
    """

    level: int
    trained_on: str
    metrics: dict[str, float]
    bytes_per_image: float


@dataclass(frozen=True)
class LevelSettings:
    """What evaluations by level share.

    Attributes:
        cache: galleries are kept there; lower levels are copied from the highest.
        levels: L, each at least 0.
        build: how galleries are built.
    """

    cache: Path
    levels: Sequence[int] = LEVELS
    build: BuildOptions = field(default_factory=BuildOptions)


def evaluate_levels(
    dataset: Dataset, encoder: Encoder, settings: LevelSettings
) -> dict[int, Measured]:
    """Evaluate Patchify alone on the full list at each level; L0 is the global setting."""
    common = EvaluationSettings(build=settings.build)
    found = {
        level: evaluate(
            dataset, encoder, replace(common, regions=GridPyramid(level)), settings.cache
        ).measured
        for level in sorted(settings.levels, reverse=True)
    }
    return dict(sorted(found.items()))


def evaluate_quantised(
    dataset: Dataset,
    encoder: Encoder,
    settings: LevelSettings,
    quantiser: Quantiser,
    train_on: str = "all",
) -> list[QuantisedRow]:
    """Evaluate each level with plain vectors, then quantised (table 5).

    Args:
        dataset: see :func:`patchrerank.analysis.evaluate`.
        encoder: likewise.
        settings: levels and cache.
        quantiser: of the second of each pair of rows.
        train_on: as in :func:`patchrerank.analysis.training_vectors.training_vectors`; ``all``
            is all patches of the level itself.
    """
    rows = []
    for level, measured in evaluate_levels(dataset, encoder, settings).items():
        size = measured.bytes_per_image["patches"]
        rows.append(QuantisedRow(level, "", measured.metrics, size))
        rows.append(_quantised(dataset, encoder, settings, quantiser, level, train_on))
    return rows


def evaluate_training(
    dataset: Dataset,
    encoder: Encoder,
    settings: LevelSettings,
    quantiser: Quantiser,
    features: Sequence[str] = FEATURES,
) -> list[QuantisedRow]:
    """Evaluate the highest level with quantisers trained on several things (table 6).

    Args:
        dataset: its true boxes are encoded for ``boxes``.
        encoder: see :func:`patchrerank.analysis.evaluate`.
        settings: levels and cache.
        quantiser: the same for all.
        features: as in :func:`patchrerank.analysis.training_vectors.training_vectors`.
    """
    level = max(settings.levels)
    return [
        _quantised(dataset, encoder, settings, quantiser, level, train_on) for train_on in features
    ]


def _quantised(
    dataset: Dataset,
    encoder: Encoder,
    settings: LevelSettings,
    quantiser: Quantiser,
    level: int,
    train_on: str,
) -> QuantisedRow:
    regions = GridPyramid(level)
    if quantiser.index is None:
        store = StoreSettings("pq", m=quantiser.m, nbits=quantiser.nbits, train_on=train_on)
        how, method = EvaluationSettings(regions, build=settings.build), Method(BEST_PATCH, store)
        measured = evaluate(dataset, encoder, how, settings.cache, method).measured
        size = measured.bytes_per_image["patches"]
        return QuantisedRow(level, train_on, measured.metrics, size)
    (found,) = evaluate_exhaustive(
        dataset,
        encoder,
        regions,
        settings.cache,
        [quantiser.index],
        quantiser.nprobe,
        train_on,
        settings.build,
    )
    size = found.index_bytes / max(1, len(dataset.images))
    return QuantisedRow(level, train_on, found.metrics, size)
