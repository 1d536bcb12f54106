"""Every local reranker as a system of its own, behind the same global first stage."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from patchrerank.analysis.compare import CompareSettings, compare
from patchrerank.datasets import load_dataset
from patchrerank.encoders import Selection, load_dense_encoder, load_encoder
from patchrerank.regions import GridPyramid

SYSTEMS = {
    "global": "global",
    "patchify": "patchify",
    "patchify-refined": "patchify+refine",
    "chamfer": "chamfer",
    "dense-correlation": "dense_correlation",
    "query-expansion": "query-expansion",
    "superglobal": "superglobal",
    "spatial": "spatial:100:0.5:0.1",
    "patchify-chamfer": "patchify,chamfer:100:0.7:1",
    "patchify-dense-correlation": "patchify,dense_correlation:100:0.7:1",
}
"""Each system as stages: ``name[:K[:lam[:gamma]]]``."""


def main(
    system: Annotated[str, typer.Argument(help=f"One of {', '.join(SYSTEMS)}.")],
    dataset: Path,
    encoder: Annotated[str, typer.Option()] = "efficientnet_lite0",
    image_size: Annotated[int, typer.Option(help="Of patches and global vectors.")] = 224,
    local_image_size: Annotated[int, typer.Option(help="Of the gallery's pictures.")] = 448,
    query_image_size: Annotated[int, typer.Option(help="Of queries.")] = 192,
    query_part: Annotated[str, typer.Option()] = "foreground",
    cache: Annotated[Path | None, typer.Option()] = None,
) -> None:
    """Print metrics, milliseconds for 100 candidates and bytes an image of one system."""
    if system not in SYSTEMS:
        raise typer.BadParameter(f"{system!r} is none of {', '.join(SYSTEMS)}")
    model = load_encoder(encoder, image_size=image_size)
    dense = load_dense_encoder(model, image_size=local_image_size)
    part = Selection(query_part=query_part)  # type: ignore[arg-type]
    settings = CompareSettings(
        GridPyramid(3), dense, dense.resized(query_image_size, selection=part)
    )
    with tempfile.TemporaryDirectory(prefix="patchrerank-") as scratch:
        data, folder = load_dataset(dataset), cache or Path(scratch)
        (row,) = compare(data, model, [SYSTEMS[system]], folder, settings)
    print(json.dumps(row.as_dict(), indent=1))


if __name__ == "__main__":
    typer.run(main)
