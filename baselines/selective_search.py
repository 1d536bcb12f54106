"""Selective search in place of the grid: boxes that follow colours and textures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from patchrerank.analysis import EvaluationSettings, evaluate
from patchrerank.datasets import load_dataset
from patchrerank.encoders import load_encoder
from patchrerank.regions import SelectiveSearch


def main(
    dataset: Path,
    top: Annotated[int, typer.Option(help="Boxes an image, beside the whole image.")] = 20,
    side: Annotated[int, typer.Option(help="Pixels that a picture is shrunk to.")] = 160,
    encoder: Annotated[str, typer.Option()] = "efficientnet_lite0",
    cache: Annotated[Path | None, typer.Option()] = None,
) -> None:
    """Print the metrics of Patchify over selective search."""
    settings = EvaluationSettings(SelectiveSearch(top, side))
    run = evaluate(load_dataset(dataset), load_encoder(encoder), settings, cache)
    print(json.dumps(run.measured.as_dict(), indent=1))


if __name__ == "__main__":
    typer.run(main)
