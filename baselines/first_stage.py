"""The first stage's own order: nothing is fitted."""

from __future__ import annotations

from typing import Any

from fitting import Apply, of_fusion, run

from patchrerank.tuning import ScoreTable

NAME = "first stage alone"


def fit(table: ScoreTable, seed: int) -> tuple[Apply, dict[str, Any], int]:
    """Return the first stage."""
    return of_fusion(1.0, 1.0, 0), {}, 0


if __name__ == "__main__":
    run(NAME, fit)
