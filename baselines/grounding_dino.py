"""Grounding DINO in place of the grid, as the paper's region proposals: up to 20 boxes an image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from patchrerank.analysis import EvaluationSettings, evaluate
from patchrerank.datasets import load_dataset
from patchrerank.encoders import load_encoder
from patchrerank.regions import GroundingDINO


def main(
    dataset: Path,
    checkpoint: Annotated[str, typer.Argument(help="Folder, hub name, or hf-hub:ORG/NAME.")],
    prompt: Annotated[str, typer.Option()] = "object.",
    top: Annotated[int, typer.Option(help="Boxes an image, beside the whole image.")] = 20,
    threshold: Annotated[float, typer.Option(help="Least confidence.")] = 0.1,
    encoder: Annotated[str, typer.Option()] = "efficientnet_lite0",
    cache: Annotated[Path | None, typer.Option()] = None,
) -> None:
    """Print the metrics of Patchify over the detector's boxes."""
    settings = EvaluationSettings(GroundingDINO(checkpoint, prompt, top, threshold=threshold))
    run = evaluate(load_dataset(dataset), load_encoder(encoder), settings, cache)
    print(json.dumps(run.measured.as_dict(), indent=1))


if __name__ == "__main__":
    typer.run(main)
