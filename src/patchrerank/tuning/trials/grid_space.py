"""The published grid, as a space to draw from and as a baseline to be measured against."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from patchrerank.errors import SettingError
from patchrerank.fusion import Fusion
from patchrerank.pipeline.stages import StageSpec
from patchrerank.tuning.fused.query_scores import Metric
from patchrerank.tuning.tables.grids import evaluate_grid
from patchrerank.tuning.tables.score_table import ScoreTable
from patchrerank.types import Rows

if TYPE_CHECKING:
    import optuna

    from patchrerank.metrics.lists import Doubles

SIZES = (0, 100, 200, 400, 800, 1000)
LAMS = tuple(step / 10 for step in range(11))
GAMMAS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""The grid of the supplement of *Patch-wise Retrieval* (WACV 2026): 6 × 11 × 12 = 792 points."""

PUBLISHED = ((0.55, 0.3), (0.35, 0.1), (0.85, 0.8), (0.65, 0.2))
"""λ and γ that AMES (ECCV 2024) published for its four models."""

PUBLISHED_SIZE = 400


@dataclass(frozen=True)
class GridSpace:
    """The same lists of values for every stage.

    Attributes:
        rerankers: of the stages, in order.
        sizes: shortlist sizes; 0 switches a stage off. A later stage's is cut to what the stage
            before rescored.
        lams: λ.
        gammas: γ.
    """

    rerankers: tuple[str, ...]
    sizes: tuple[int, ...] = SIZES
    lams: tuple[float, ...] = LAMS
    gammas: tuple[float, ...] = GAMMAS

    def __post_init__(self) -> None:
        if not (self.rerankers and self.sizes and self.lams and self.gammas):
            raise SettingError("a grid needs a reranker and at least one value of each kind")
        for size, lam, gamma in product(self.sizes, self.lams, self.gammas):
            Fusion(lam, gamma, size)

    @property
    def choices(self) -> dict[str, tuple[float, ...]]:
        """The values of each parameter."""
        found: dict[str, tuple[float, ...]] = {}
        for key in self._keys():
            found |= {f"{key} k": self.sizes, f"{key} lam": self.lams, f"{key} gamma": self.gammas}
        return found

    def __len__(self) -> int:
        size = len(self.sizes) * len(self.lams) * len(self.gammas)
        return int(size ** len(self.rerankers))

    def suggest(self, trial: optuna.trial.BaseTrial) -> tuple[StageSpec, ...]:
        """Draw stages."""
        stages: list[StageSpec] = []
        limit = float("inf")
        for key, name in zip(self._keys(), self.rerankers, strict=True):
            size = int(trial.suggest_categorical(f"{key} k", self.sizes))
            lam = float(trial.suggest_categorical(f"{key} lam", self.lams))
            gamma = float(trial.suggest_categorical(f"{key} gamma", self.gammas))
            size = int(min(size, limit))
            limit = min(limit, size or limit)
            stages.append(StageSpec(name, lam, gamma, size))
        return tuple(stages)

    def params(self, stages: tuple[StageSpec, ...]) -> dict[str, Any] | None:
        """Return the parameters of a point of the grid; None for others."""
        values: list[Any] = []
        for stage in stages:
            values += [stage.shortlist_size, stage.lam, stage.gamma]
        known = [stage.reranker for stage in stages] == list(self.rerankers)
        choices = self.choices
        if not known or any(v not in c for v, c in zip(values, choices.values(), strict=True)):
            return None
        return dict(zip(choices, values, strict=True))

    def borders(self, stages: tuple[StageSpec, ...]) -> list[str]:
        """Say which parameters are the first or last of their values."""
        found = []
        for key, stage in zip(self._keys(), stages, strict=True):
            if not stage.shortlist_size or stage.gamma == 0:
                continue
            used = [("λ", stage.lam, self.lams)]
            used += [("γ", stage.gamma, self.gammas)] if 0 < stage.lam < 1 else []
            used += [("the shortlist size", stage.shortlist_size, self.sizes)]
            for name, value, values in used if stage.lam < 1 else used[:1]:
                if value in (min(values), max(values)):
                    end = "lower" if value == min(values) else "upper"
                    found.append(f"{key}: {name} lies on the grid's {end} border {value:g}")
        return found

    def record(self) -> dict[str, Any]:
        """Return a JSON-able description."""
        return asdict(self)

    def _keys(self) -> list[str]:
        many = len(self.rerankers) > 1
        return [f"{n} {name}" if many else name for n, name in enumerate(self.rerankers, 1)]


@dataclass(frozen=True, eq=False)
class GridValues:
    """What each point of the grid is worth, query by query.

    Attributes:
        stages: of each point.
        values: float64 ``(points, Q)`` in [0, 1]; NaN for a query without positives.
    """

    stages: tuple[tuple[StageSpec, ...], ...]
    values: Doubles

    def best(self, queries: Rows | None = None) -> int:
        """Return the number of the best point over some queries; of equals the first."""
        values = self.values if queries is None else self.values[:, queries]
        values = values[:, ~np.isnan(values).all(axis=0)]
        return int(np.argmax(values.mean(axis=1))) if values.size else 0


def grid_values(
    table: ScoreTable, rerankers: tuple[str, ...], metric: Metric = "AP", threads: int = 1
) -> GridValues:
    """Return the whole published grid of each reranker alone, all on the same table.

    A grid over the stages of a cascade would have 792 points for each stage, multiplied.
    """
    stages: list[tuple[StageSpec, ...]] = []
    values = []
    for name in dict.fromkeys(rerankers):
        depth = min(table.list_depths.get(name, 0), table.size)
        sizes = [size for size in SIZES if size == 0 or size >= depth]
        found = evaluate_grid(table, LAMS, GAMMAS, sizes, name, metric, threads)
        values.append(found.reshape(-1, len(table)))
        for size, gamma, lam in product(sizes, GAMMAS, LAMS):
            stages.append((StageSpec(name, lam, gamma, size),))
    return GridValues(tuple(stages), np.concatenate(values))
