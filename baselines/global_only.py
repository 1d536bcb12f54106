"""Global search alone: one vector an image, no local evidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from patchrerank.analysis import EvaluationSettings, evaluate
from patchrerank.datasets import load_dataset
from patchrerank.encoders import load_encoder
from patchrerank.regions import GridPyramid


def main(
    dataset: Path,
    encoder: Annotated[str, typer.Option()] = "efficientnet_lite0",
    cache: Annotated[Path | None, typer.Option()] = None,
) -> None:
    """Print the metrics of the first stage's own order."""
    settings = EvaluationSettings(GridPyramid(0))
    run = evaluate(load_dataset(dataset), load_encoder(encoder), settings, cache, "global")
    print(json.dumps(run.measured.as_dict(), indent=1))


if __name__ == "__main__":
    typer.run(main)
