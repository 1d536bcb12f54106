"""Patchify as the retriever: every patch of every image in one faiss index, at each level."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from patchrerank.analysis.exhaustive import evaluate_exhaustive
from patchrerank.datasets import load_dataset
from patchrerank.encoders import load_encoder
from patchrerank.regions import GridPyramid


def main(
    dataset: Path,
    index: Annotated[str, typer.Option(help="faiss factory string.")] = "Flat",
    train_on: Annotated[str, typer.Option(help="What IVF and PQ are trained on.")] = "all",
    nprobe: Annotated[int | None, typer.Option(help="Lists visited by IVF.")] = None,
    levels: Annotated[str, typer.Option()] = "0,1,2,3",
    encoder: Annotated[str, typer.Option()] = "efficientnet_lite0",
    cache: Annotated[Path | None, typer.Option()] = None,
) -> None:
    """Print metrics, index bytes and milliseconds of a search, level by level."""
    data, model, records = load_dataset(dataset), load_encoder(encoder), {}
    with tempfile.TemporaryDirectory(prefix="patchrerank-") as scratch:
        for level in map(int, levels.split(",")):
            regions = GridPyramid(level)
            folder = cache or Path(scratch)
            (found,) = evaluate_exhaustive(data, model, regions, folder, [index], nprobe, train_on)
            records[f"L{level}"] = found.as_dict()
    print(json.dumps(records, indent=1))


if __name__ == "__main__":
    typer.run(main)
