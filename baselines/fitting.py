"""What the tuning baselines share: fit on some queries, measure on others, write one record."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from patchrerank.pipeline import StageSpec
from patchrerank.tuning import ScoreTable, evaluate_stages, gain, group_folds, load_table

Values = npt.NDArray[np.float64]
Apply = Callable[[ScoreTable], Values]
"""A fitted system: a table's average precision, query by query."""

Fit = Callable[[ScoreTable, int], tuple[Apply, dict[str, Any], int]]
"""(table, seed) → the fitted system, its settings, and how many settings were evaluated."""

FOLDS = 5


def record(name: str, fit: Fit, table: ScoreTable, seed: int = 0) -> dict[str, Any]:
    """Return a system's figures on the queries it was fitted on, and on held-out ones.

    Held out: in each of five folds (by object) it is fitted on the others and measured there.
    Gain and its confidence interval are those of the held-out values over the first stage. All
    values are percent.
    """
    begun = time.perf_counter()
    apply, settings, evaluations = fit(table, seed)
    seconds = time.perf_counter() - begun
    held_out = np.full(len(table), np.nan)
    folds = group_folds(table.groups, FOLDS, seed)
    for fold in range(FOLDS):
        inside = np.flatnonzero(folds == fold)
        fitted = fit(table.take(np.flatnonzero(folds != fold)), seed)[0]
        held_out[inside] = fitted(table.take(inside))
    first = evaluate_stages(table, []).AP
    differences = asdict(gain(first, held_out, table.groups, seed))
    for key in ("mean", "low", "high"):
        differences[key] *= 100
    return {
        "baseline": name,
        "mAP": 100 * float(np.nanmean(apply(table))),
        "mAP held out": 100 * float(np.nanmean(held_out)),
        "gain held out": differences,
        "evaluations": evaluations,
        "seconds": seconds,
        "settings": settings,
        "seed": seed,
        "table": table.fingerprint,
    }


def run(name: str, fit: Fit) -> None:
    """Run one baseline as a script: a score table's folder in, one JSON record out."""

    def main(
        table: Annotated[Path, typer.Argument(help="Folder of a score table.")],
        out: Annotated[Path | None, typer.Option(help="File for the record.")] = None,
        seed: Annotated[int, typer.Option()] = 0,
    ) -> None:
        text = json.dumps(record(name, fit, load_table(table), seed), indent=1)
        print(text)
        if out is not None:
            out.write_text(text + "\n", encoding="utf-8")

    main.__doc__ = f"Measure {name} on a score table."
    typer.run(main)


def of_fusion(lam: float, gamma: float, size: int) -> Apply:
    """Return a fusion as a fitted system."""

    def apply(table: ScoreTable) -> Values:
        stage = StageSpec(table.reranker(), lam, gamma, size)
        return evaluate_stages(table, [stage]).AP

    return apply
