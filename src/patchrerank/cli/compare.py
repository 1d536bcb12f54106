"""``patchrerank compare``: rerankers side by side on a data set."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchrerank.cli import options as opt

if TYPE_CHECKING:
    from patchrerank.analysis.compare import Compared

COLUMNS = ("mAP", "mAP <10%", "LocScore", "mLocScore")

DEFAULT = ("global", "patchify", "patchify+refine", "chamfer", "dense_correlation")


def command(
    dataset: Annotated[Path, typer.Argument(help="Data set folder with index.json.")],
    stages: Annotated[
        list[str] | None,
        typer.Option(
            "--rerankers",
            help="global, or stages name[:K[:lam[:gamma]]] joined by commas; +refine behind a "
            f"name tightens its boxes; may be repeated. [{' '.join(DEFAULT)}]",
        ),
    ] = None,
    encoder: opt.EncoderSpec = "efficientnet_lite0",
    regions: Annotated[str, typer.Option(help="grid:L, sliding:L:stride, …")] = "grid:3",
    image_size: opt.ImageSize = None,
    local_image_size: Annotated[
        int, typer.Option(help="Side of the gallery's pictures for local descriptors.")
    ] = 448,
    query_image_size: Annotated[
        int, typer.Option(help="Side of the query pictures for local descriptors.")
    ] = 224,
    query_part: opt.QueryPartOption = "box",
    query_crop: opt.DatasetQueryCrop = None,
    device: opt.Device = "auto",
    random_weights: opt.RandomWeights = False,
    cache: Annotated[
        Path | None, typer.Option(help="Folder where galleries are kept for the next call.")
    ] = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Measure quality, milliseconds (100 candidates) and bytes of several rerankers."""
    from patchrerank.analysis.compare import CompareSettings, compare
    from patchrerank.analysis.measurable import counted_queries
    from patchrerank.datasets import load_dataset
    from patchrerank.encoders import Selection, load_dense_encoder, load_encoder
    from patchrerank.gallery import BuildOptions
    from patchrerank.pipeline.stages import needs_local
    from patchrerank.regions import parse_regions

    wanted = list(stages or DEFAULT)
    local = any(text != "global" and needs_local(text) for text in wanted)
    data = load_dataset(dataset)
    model = load_encoder(
        encoder, image_size=image_size, device=device, pretrained=not random_weights
    )
    dense = load_dense_encoder(model, image_size=local_image_size) if local else None
    part = Selection(query_part=query_part)  # type: ignore[arg-type]
    settings = CompareSettings(
        regions=parse_regions(regions),
        dense_encoder=dense,
        query_dense_encoder=dense and dense.resized(query_image_size, selection=part),
        query_crop=query_crop,  # type: ignore[arg-type]
        build=BuildOptions(progress=not quiet),
    )
    with tempfile.TemporaryDirectory(prefix="patchrerank-") as scratch:
        rows = compare(data, model, wanted, cache or Path(scratch), settings)
    if json:
        opt.print_json([row.as_dict() for row in rows])
        return
    over = counted_queries(rows[0].counted["all"], rows[0].queries)
    small = rows[0].counted["<10%"]
    opt.print_table(
        f"percent; AP convention {rows[0].AP}; {over} (<10%: {small}); "
        "ms for 100 candidates, one thread",
        ("reranker", *COLUMNS, "ms/query", "bytes/image"),
        [
            (
                row.stages,
                *(_shown(row, name) for name in COLUMNS),
                opt.number(row.ms_per_query, 2),
                opt.number(row.bytes_per_image, 0),
            )
            for row in rows
        ],
    )
    for row in rows:
        if row.ties.queries:
            opt.print_line(f"{row.stages}: {row.ties}")


def _shown(row: Compared, name: str) -> str:
    if name.endswith("LocScore") and not row.localises:
        return "no box"
    return opt.number(row.metrics[name])
