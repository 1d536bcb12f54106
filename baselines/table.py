"""All tuning baselines on one score table, side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import optuna_search
import published_grid
import random_search
import ranx_weighted_sum
import typer
from fitting import record

import first_stage
from patchrerank.tuning import load_table

SYSTEMS = (first_stage, ranx_weighted_sum, published_grid, random_search, optuna_search)


def main(
    table: Annotated[Path, typer.Argument(help="Folder of a score table.")],
    out: Annotated[Path | None, typer.Option(help="File for all records.")] = None,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Print mAP, held-out mAP and gain of every baseline."""
    scores = load_table(table)
    rows = [record(system.NAME, system.fit, scores, seed) for system in SYSTEMS]
    print("| baseline | mAP | held out | gain held out [95 %] | p | evaluations | seconds |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        gained = row["gain held out"]
        print(
            f"| {row['baseline']} | {row['mAP']:.2f} | {row['mAP held out']:.2f} | "
            f"{gained['mean']:+.2f} [{gained['low']:+.2f}, {gained['high']:+.2f}] | "
            f"{gained['p_value']:.4f} | {row['evaluations']} | {row['seconds']:.2f} |"
        )
    if out is not None:
        out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
