"""How far samplers come on a score table, over many seeds, beside grid and exact optimum."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from patchrerank.tuning import ScoreTable, evaluate_stages, load_table, write_tuned
from patchrerank.tuning.trials.exact_search import search_exactly
from patchrerank.tuning.trials.grid_space import grid_values
from patchrerank.tuning.trials.make_space import search_space
from patchrerank.tuning.trials.search_options import TuneOptions
from patchrerank.tuning.tune import tune

SOLVED = "+exact"
"""Behind a sampler's name: λ is not drawn, but solved for."""

SAMPLERS = ("random", "tpe", "refine", "random+exact", "tpe+exact", "refine+exact")
NEAR = 0.001
"""A tenth of a point."""


def main(
    tables: Annotated[list[Path], typer.Argument(help="Folders of score tables.")],
    seeds: Annotated[int, typer.Option()] = 20,
    trials: Annotated[list[int], typer.Option(help="Looked at after so many.")] = [80, 400],  # noqa: B006
    samplers: Annotated[list[str], typer.Option()] = list(SAMPLERS),  # noqa: B006
    reranker: Annotated[str | None, typer.Option(help="Where a table holds several.")] = None,
    behind: Annotated[str, typer.Option(help="See patchrerank tune.")] = "global",
    out: Annotated[Path | None, typer.Option()] = None,
) -> None:
    """Print mean and spread of the best mAP (percent) of each sampler; write all values."""
    found = []
    for folder in tables:
        table = write_tuned.behind(load_table(folder), behind)
        record = compare(table, table.reranker(reranker), samplers, seeds, sorted(trials))
        found.append({"table": folder.name, "behind": behind, **record})
        show(found[-1])
    if out is not None:
        out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def compare(
    table: ScoreTable, name: str, samplers: Sequence[str], seeds: int, trials: Sequence[int]
) -> dict[str, Any]:
    """Return grid, exact optimum and, for each sampler, the best so far of every seed."""
    grid = grid_values(table, (name,))
    exact = search_exactly(table, name)
    best = 100 * max(exact.found[0].value, exact.value)
    return {
        "reranker": name,
        "convention": str(table.convention),
        "first_stage_mAP": evaluate_stages(table, []).mAP,
        "grid_mAP": 100 * float(np.nanmean(grid.values[grid.best()])),
        "exact_mAP": best,
        "plateau_mAP": 100 * exact.value,
        "trials": list(trials),
        "samplers": {sampler: run(table, name, sampler, seeds, trials) for sampler in samplers},
    }


def run(
    table: ScoreTable, name: str, sampler: str, seeds: int, trials: Sequence[int]
) -> dict[str, Any]:
    """Return the best mAP of each seed after so many trials, and the seconds of a search."""
    plain = sampler.removesuffix(SOLVED)
    space = search_space(table, name, exact_lam=plain != sampler)
    begun, found = time.perf_counter(), []
    for seed in range(seeds):
        search = tune(
            table, space, "mAP", trials[-1], TuneOptions(sampler=plain, seed=seed, progress=False)
        )
        values = [trial.value or 0.0 for trial in search.trials]
        found.append([100 * max(values[:count]) for count in trials])
    columns = zip(*found, strict=True)
    return {
        "seconds_per_search": (time.perf_counter() - begun) / seeds,
        "best": {str(count): best for count, best in zip(trials, columns, strict=True)},
    }


def show(record: dict[str, Any]) -> None:
    """Print one table's comparison."""
    print(f"{record['table']}, {record['reranker']} behind {record['behind']}")
    for line in ("first_stage_mAP", "grid_mAP", "exact_mAP"):
        print(f"  {line:16} {record[line]:.3f}")
    for sampler, found in record["samplers"].items():
        print(f"  {sampler:16} " + "  ".join(figures(record, found)))


def figures(record: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    """Return the figures after each number of trials."""
    for count, values in found["best"].items():
        best = np.array(values)
        above = int((best >= record["grid_mAP"] - 1e-9).sum())
        near = int((best >= record["exact_mAP"] - 100 * NEAR).sum())
        yield (
            f"@{count}: {best.mean():.3f} ± {best.std():.3f}, grid reached {above}/{len(best)}, "
            f"within 0.1 of exact {near}/{len(best)};"
        )
    yield f"{found['seconds_per_search']:.1f} s a search"


if __name__ == "__main__":
    typer.run(main)
