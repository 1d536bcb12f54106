"""``patchrerank compare``: rerankers side by side on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import printing
from patchrerank.cli.query_option import Templates
from patchrerank.cli.tuned_option import encoder_and_regions
from patchrerank.cli.views_option import QueryViewsOption
from patchrerank.cli.views_option import query_views as parsed_views

if TYPE_CHECKING:
    from patchrerank.analysis import Measured

COLUMNS = ("mAP", "mAP <10%", "LocScore", "mLocScore")

DEFAULT = ("global", "patchify", "patchify+refine", "chamfer", "dense_correlation")

EXAMPLE = "patchrerank compare dataset/ --stages global --stages patchify:400:0.3:4"


def command(
    dataset: Annotated[Path, typer.Argument(help="Data set folder with index.json.")],
    stages: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{opt.METHODS} [{' '.join(DEFAULT)}]",
        ),
    ] = None,
    tuned: Annotated[
        Path | None, typer.Option(help="tuned.json, whose cascade becomes the last line.")
    ] = None,
    encoder: opt.EncoderOfTuned = None,
    regions: opt.RegionsOfTuned = None,
    max_regions: opt.MaxRegions = opt.MOST_REGIONS,
    first_stage: opt.FirstStage = "Flat",
    image_size: opt.ImageSize = None,
    local_image_size: opt.LocalImageSize = None,
    query_image_size: opt.QueryImageSize = 224,
    query_part: opt.QueryPartOption = "box",
    query_crop: opt.DatasetQueryCrop = None,
    query_views: QueryViewsOption = None,
    template: Templates = None,
    device: opt.Device = "auto",
    random_weights: opt.RandomWeights = False,
    cache: opt.Cache = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Measure quality, milliseconds (100 candidates) and bytes of several rerankers."""
    from patchrerank.analysis import EvaluationSettings, LocalSettings, evaluate_methods
    from patchrerank.analysis.methods import Method, parse_method
    from patchrerank.datasets import load_dataset
    from patchrerank.encoders import load_encoder
    from patchrerank.gallery import BuildOptions
    from patchrerank.pipeline import Tuned
    from patchrerank.regions import parse_regions

    methods = [parse_method(text) for text in stages or DEFAULT]
    best = None if tuned is None else Tuned.load(tuned)
    if best is not None:
        methods.append(Method.of(best))
    spec, where = encoder_and_regions(best, encoder, regions)
    settings = EvaluationSettings(
        regions=parse_regions(where, most=max_regions),
        query_crop=query_crop or (best.tuned_on.query_crop if best else None),
        query_views=parsed_views(query_views),
        first_stage=first_stage,
        local=LocalSettings(local_image_size, query_image_size, query_part),
        build=BuildOptions(progress=not quiet),
        templates=template or ("{}",),
    )
    data = load_dataset(dataset)
    model = load_encoder(spec, image_size=image_size, device=device, pretrained=not random_weights)
    runs = evaluate_methods(data, model, methods, settings, cache, one_by_one=True)
    rows = [(method.label, run.measured) for method, run in zip(methods, runs, strict=True)]
    if json:
        printing.print_json([{"stages": label, **measured.as_row()} for label, measured in rows])
    else:
        _show(rows)


def _show(rows: list[tuple[str, Measured]]) -> None:
    from patchrerank.analysis.measurable import counted_queries

    first = rows[0][1]
    over = counted_queries(first.counted["all"], first.queries)
    printing.print_table(
        f"percent; AP convention {first.settings['AP']}; {over} (<10%: {first.counted['<10%']}); "
        "ms for 100 candidates, one thread",
        ("reranker", *COLUMNS, "ms/query", "bytes/image"),
        [
            (
                label,
                *(_shown(measured, name) for name in COLUMNS),
                printing.number(measured.milliseconds["rerank_one_by_one"], 2),
                printing.number(measured.bytes_per_image["read"], 0),
            )
            for label, measured in rows
        ],
    )
    for label, measured in rows:
        if measured.ties.queries:
            printing.print_line(f"{label}: {measured.ties}")


def _shown(measured: Measured, name: str) -> str:
    if name.endswith("LocScore") and not measured.localises:
        return "no box"
    metric, _, area = name.partition(" ")
    return printing.number((measured.areas[area] if area else measured.metrics)[metric])
