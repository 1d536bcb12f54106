"""The published practice: the best of 792 points, k × λ × γ."""

from __future__ import annotations

from typing import Any

from fitting import Apply, of_fusion, run

from patchrerank.tuning import ScoreTable
from patchrerank.tuning.trials.grid_space import grid_values

NAME = "published grid"


def fit(table: ScoreTable, seed: int) -> tuple[Apply, dict[str, Any], int]:
    """Return the grid's best point; of equals the first."""
    grid = grid_values(table, (table.reranker(),))
    ((_, fusion),) = grid.stages[grid.best()]
    found = {"lam": fusion.lam, "gamma": fusion.gamma, "k": fusion.shortlist_size}
    return of_fusion(fusion.lam, fusion.gamma, fusion.shortlist_size or 0), found, len(grid.stages)


if __name__ == "__main__":
    run(NAME, fit)
