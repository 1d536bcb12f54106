"""Random search over the ranges that Optuna searches."""

from __future__ import annotations

from typing import Any

from fitting import Apply, of_fusion, run

from patchrerank.tuning import ScoreTable
from patchrerank.tuning.trials.make_space import search_space
from patchrerank.tuning.trials.search_options import TuneOptions
from patchrerank.tuning.tune import tune

NAME = "random search, 400 draws"
DRAWS = 400
SAMPLER = "random"


def fit(table: ScoreTable, seed: int, sampler: str = SAMPLER) -> tuple[Apply, dict[str, Any], int]:
    """Return the best of the draws."""
    space = search_space(table) if sampler == SAMPLER else None
    search = tune(table, space, budget=DRAWS, options=TuneOptions(sampler, seed, progress=False))
    assert search.best is not None
    ((_, fusion),) = search.best.stages
    size = table.size if fusion.shortlist_size is None else fusion.shortlist_size
    found = {"lam": fusion.lam, "gamma": fusion.gamma, "k": size}
    return of_fusion(fusion.lam, fusion.gamma, size), found, len(search.trials)


if __name__ == "__main__":
    run(NAME, fit)
