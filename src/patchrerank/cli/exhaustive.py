"""``patchrerank exhaustive``: Patchify as the retriever, over a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import printing

EXAMPLE = "patchrerank exhaustive dataset/ --index IVF4096,PQ64 --nprobe 64"


def command(
    dataset: Annotated[Path, typer.Argument(help="Data set folder with index.json.")],
    encoder: opt.EncoderSpec = "efficientnet_lite0",
    regions: opt.RegionsOption = "grid:3",
    max_regions: opt.MaxRegions = opt.MOST_REGIONS,
    index: Annotated[
        list[str] | None,
        typer.Option(help="faiss factory string; may be repeated. [IVF4096,PQ64]"),
    ] = None,
    sweep: Annotated[
        bool,
        typer.Option("--sweep", help="The published sweep: m 16, 32, 64 by nlist 2048, 4096."),
    ] = False,
    nprobe: Annotated[int, typer.Option(help="Lists visited by an inverted-file index.")] = 64,
    train_on: Annotated[
        str, typer.Option(help="all, L0 … L3, boxes (the data set's true ones), or a .npy file.")
    ] = "all",
    image_size: opt.ImageSize = None,
    device: opt.Device = "auto",
    random_weights: opt.RandomWeights = False,
    cache: Annotated[
        Path | None, typer.Option(help="Folder where galleries and indexes are kept.")
    ] = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Search all patches of all images in one faiss index; an image scores by its best patch."""
    from patchrerank.analysis.exhaustive import PUBLISHED_SWEEP, evaluate_exhaustive
    from patchrerank.analysis.measurable import counted_queries
    from patchrerank.datasets import load_dataset
    from patchrerank.encoders import load_encoder
    from patchrerank.first_stage.factory_strings import check_factory
    from patchrerank.first_stage.patch_index import PUBLISHED
    from patchrerank.gallery import BuildOptions
    from patchrerank.regions import parse_regions

    factories = [*(PUBLISHED_SWEEP if sweep else ()), *(index or ())] or [PUBLISHED]
    for factory in factories:
        check_factory(factory)  # before hours of encoding
    data = load_dataset(dataset)
    model = load_encoder(
        encoder, image_size=image_size, device=device, pretrained=not random_weights
    )
    results = evaluate_exhaustive(
        data,
        model,
        parse_regions(regions, most=max_regions),
        cache,
        factories,
        nprobe,
        train_on,
        BuildOptions(progress=not quiet),
    )
    if json:
        printing.print_json([result.as_dict() for result in results])
        return
    printing.print_table(
        f"{regions}, trained on {train_on}; percent; AP convention {results[0].AP}; "
        + counted_queries(results[0].counted, results[0].queries),
        ("index", "nprobe", "mAP", "LocScore", "mLocScore", "MB", "ms/query (100 images)",
         "fewest images found"),
        [
            (
                r.index,
                str(r.nprobe or "–"),
                *(printing.number(r.metrics[name]) for name in ("mAP", "LocScore", "mLocScore")),
                printing.number(r.index_bytes / 1e6, 2),
                printing.number(r.search_ms, 2),
                str(r.fewest_found),
            )
            for r in results
        ],
    )  # fmt: skip
