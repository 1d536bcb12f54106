"""Optuna with this library's default sampler, at the budget of random search."""

from __future__ import annotations

from typing import Any

from fitting import Apply, run
from random_search import fit as draw

from patchrerank.tuning import ScoreTable
from patchrerank.tuning.trials.search_options import TuneOptions

NAME = "Optuna, 400 trials"


def fit(table: ScoreTable, seed: int) -> tuple[Apply, dict[str, Any], int]:
    """Return the best of the trials."""
    return draw(table, seed, TuneOptions().sampler)


if __name__ == "__main__":
    run(NAME, fit)
