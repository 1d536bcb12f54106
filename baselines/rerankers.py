"""Every local reranker as a system of its own, behind the same global first stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from patchrerank.analysis import EvaluationSettings, LocalSettings, evaluate_methods
from patchrerank.datasets import load_dataset
from patchrerank.encoders import load_encoder

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
    local = LocalSettings(local_image_size, query_image_size, query_part)  # type: ignore[arg-type]
    settings, stages = EvaluationSettings(local=local), SYSTEMS[system]
    data = load_dataset(dataset)
    (run,) = evaluate_methods(data, model, [stages], settings, cache, one_by_one=True)
    print(json.dumps({"stages": stages, **run.measured.as_row()}, indent=1))


if __name__ == "__main__":
    typer.run(main)
