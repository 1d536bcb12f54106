"""Regions pooled from few passes over the picture, in place of one pass a region."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from patchrerank.analysis import EvaluationSettings, evaluate
from patchrerank.analysis.region_costs import seconds_per_image
from patchrerank.datasets import load_dataset
from patchrerank.encoders import load_encoder, load_one_pass
from patchrerank.regions import GridPyramid, parse_regions


def main(
    dataset: Path,
    views: Annotated[
        str, typer.Option(help="Sides in pixels: 448:p2, 320,640:p2, 224,288x2:p2 (2 x 2 tiles).")
    ] = "224,288x2:p2",
    regions: Annotated[str, typer.Option()] = "sliding:3:0.5",
    encoder: Annotated[str, typer.Option()] = "efficientnet_lite0",
    rounds: Annotated[int, typer.Option(help="Of 8 images, for the times; 0: none.")] = 5,
    cache: Annotated[Path | None, typer.Option()] = None,
) -> None:
    """Print the metrics of Patchify over pooled regions, and its time beside Patchify's L3."""
    data, crops = load_dataset(dataset), load_encoder(encoder)
    pooled = load_one_pass(crops, views)
    where = parse_regions(regions)
    run = evaluate(data, pooled, EvaluationSettings(where), cache)
    record = {**run.measured.as_dict(), "gallery_regions": run.gallery.manifest.regions}
    if rounds:
        images = [(image.id, image.file) for image in data.images]
        ways = {"one_pass": (pooled, where), "crops_grid:3": (crops, GridPyramid(3))}
        record["seconds_per_image"] = seconds_per_image(images, ways, rounds=rounds)
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    typer.run(main)
