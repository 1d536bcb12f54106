"""Overlapping windows in place of the grid: more patches, better boxes, higher cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from patchrerank.analysis import EvaluationSettings, evaluate
from patchrerank.datasets import load_dataset
from patchrerank.encoders import load_encoder
from patchrerank.regions import SlidingWindows


def main(
    dataset: Path,
    level: Annotated[int, typer.Option()] = 3,
    stride: Annotated[float, typer.Option()] = 0.5,
    encoder: Annotated[str, typer.Option()] = "efficientnet_lite0",
    cache: Annotated[Path | None, typer.Option()] = None,
) -> None:
    """Print the metrics of Patchify over sliding windows."""
    settings = EvaluationSettings(SlidingWindows(level, stride))
    run = evaluate(load_dataset(dataset), load_encoder(encoder), settings, cache)
    print(json.dumps(run.measured.as_dict(), indent=1))


if __name__ == "__main__":
    typer.run(main)
