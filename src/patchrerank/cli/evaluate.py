"""``patchrerank evaluate``: mAP and LocScore of a data set, with time and bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import printing
from patchrerank.cli.query_option import Templates
from patchrerank.cli.tuned_option import (
    TunedFile,
    check_beside_stages,
    read_tuned,
    was_given,
)
from patchrerank.cli.views_option import QueryViewsOption
from patchrerank.cli.views_option import query_views as parsed_views

if TYPE_CHECKING:
    from patchrerank.analysis import Measured
    from patchrerank.datasets import Dataset


TIMES = (
    "index_per_image", "encode_per_query", "first_stage_per_query", "rerank_per_query"
)  # fmt: skip

EXAMPLE = "patchrerank evaluate dataset/ --regions grid:3 --store int8 --cache cache/"


def command(
    context: typer.Context,
    dataset: Annotated[Path, typer.Argument(help="Data set folder with index.json.")],
    encoder: opt.EncoderSpec = "efficientnet_lite0",
    regions: Annotated[
        list[str] | None,
        typer.Option(
            help="grid:L, sliding:L:stride, boxes:FILE; may be repeated. [grid:3, or those of "
            "--tuned]"
        ),
    ] = None,
    max_regions: opt.MaxRegions = opt.MOST_REGIONS,
    first_stage: opt.FirstStage = "Flat",
    stages: opt.Stages = None,
    shortlist_size: opt.ShortlistSize = "all",
    lam: opt.Lam = 0.0,
    gamma: opt.Gamma = 1.0,
    query_crop: opt.DatasetQueryCrop = None,
    query_views: QueryViewsOption = None,
    tuned: TunedFile = None,
    convention: Annotated[
        str | None,
        typer.Option(help="AP convention: full, @K, revisited, ilias@K; default: the data set's."),
    ] = None,
    store: Annotated[
        opt.Store | None,
        typer.Option(help=f"{opt.STORES} [float32, or as with --tuned]"),
    ] = None,
    whiten: opt.Whiten = None,
    m: opt.Parts = 64,
    nbits: opt.Bits = 8,
    train_on: Annotated[
        str, typer.Option(help="What pq is trained on: all, L0 … L3, boxes, or a .npy file.")
    ] = "all",
    image_size: opt.ImageSize = None,
    local_image_size: opt.LocalImageSize = None,
    query_image_size: opt.QueryImageSize = 224,
    query_part: opt.QueryPartOption = "box",
    template: Templates = None,
    device: opt.Device = "auto",
    precision: opt.PrecisionOption = "fp32",
    backend: opt.BackendOption = "auto",
    random_weights: opt.RandomWeights = False,
    cache: opt.Cache = None,
    run: opt.RunFile = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Index, search, rerank and measure; all metrics in percent."""
    from patchrerank.analysis import EvaluationSettings, LocalSettings, StoreSettings, evaluate
    from patchrerank.analysis.methods import Method
    from patchrerank.datasets import load_dataset
    from patchrerank.datasets.ilias_similarities import similarities_of
    from patchrerank.encoders import load_encoder
    from patchrerank.fusion import Fusion
    from patchrerank.gallery import BuildOptions
    from patchrerank.metrics import parse_convention
    from patchrerank.pipeline import BEST_PATCH, StageSpec
    from patchrerank.regions import parse_regions
    from patchrerank.runs import write_run

    best = read_tuned(context, tuned)
    default = "grid:3" if best is None else best.tuned_on.regions
    strategies = [parse_regions(spec, most=max_regions) for spec in regions or [default]]
    check_beside_stages(context, "shortlist_size", "lam", "gamma")
    alone = StageSpec.of(BEST_PATCH, Fusion(lam, gamma, opt.shortlist_size(shortlist_size)))
    text = str(best or stages or alone)
    views = parsed_views(query_views)
    kept = StoreSettings() if best is None else Method.of(best).store
    white = kept.whiten if whiten is None else opt.whitening(whiten)
    stored = StoreSettings(store or kept.name, white, m, nbits, train_on)
    method = Method(text, stored, best)
    chosen = parse_convention(convention) if convention else None
    data = load_dataset(dataset)
    if run is not None:
        check_run(run, data, len(strategies))
    spec = encoder if best is None or was_given(context, "encoder") else best.tuned_on.encoder
    model = load_encoder(
        spec,
        image_size=image_size,
        device=device,
        precision=precision,
        pretrained=not random_weights,
        backend=backend,
    )
    results = []
    for strategy in strategies:
        settings = EvaluationSettings(
            strategy,
            query_crop,
            first_stage=first_stage,
            convention=chosen,
            local=LocalSettings(local_image_size, query_image_size, query_part),
            build=BuildOptions(progress=not quiet),
            templates=template or ("{}",),
            query_views=views,
        )
        found = evaluate(data, model, settings, cache, method)
        results.append(found.measured)
        if run is not None:
            names = [query.id for query in data.queries]
            write_run(run, similarities_of(names, found.gallery.ids, found.ranking))
    if json:
        records = [result.as_dict() for result in results]
        printing.print_json(records[0] if len(records) == 1 else records)
    else:
        show_measured(results)


def check_run(path: Path, data: Dataset, strategies: int) -> None:
    """Refuse, before any work, a run that could not be written.

    Raises:
        SettingError: several strategies, whose runs would be one file, or no place for a file.
        ShortlistError: ids that a TREC line cannot hold.
    """
    from patchrerank.errors import SettingError
    from patchrerank.runs.writing import check_ids, check_run_path

    if strategies > 1:
        raise SettingError(f"--run {path} is one run, but there are {strategies} --regions")
    check_run_path(path)
    if path.suffix != ".json":
        check_ids([query.id for query in data.queries], "query")
        check_ids([image.id for image in data.images], "document")


def show_measured(results: list[Measured]) -> None:
    """Print metrics, what ties leave open, area bins, times and bytes, a row each result."""
    from patchrerank.analysis.measurable import counted_queries

    common = results[0].settings
    printing.print_line(
        ", ".join(f"{key} {value}" for key, value in common.items() if key != "regions")
    )
    metrics = list(results[0].metrics)
    over = counted_queries(results[0].counted["all"], results[0].queries)
    printing.print_table(
        f"percent; AP convention {common['AP']}; {over}",
        ("regions", *metrics),
        [
            (r.settings["regions"], *(printing.number(r.metrics[m]) for m in metrics))
            for r in results
        ],
    )
    for result in results:
        if result.ties.queries:
            printing.print_line(f"{result.settings['regions']}: {result.ties}")
    bins = list(results[0].areas)
    printing.print_table(
        f"by the object's share of the image (mAP | LocScore, percent; AP {common['AP']})",
        ("regions", *(f"{name} (n {results[0].counted[name]})" for name in bins)),
        [(r.settings["regions"], *(_pair(r.areas[name]) for name in bins)) for r in results],
    )
    _show_reliability(results)
    printing.print_table(
        "cost",
        (
            "regions",
            "index ms/image",
            "encode ms/query",
            "search ms/query",
            "rerank ms/query",
            "patch bytes/image",
            "bytes/image",
        ),
        [
            (
                r.settings["regions"],
                *(printing.number(r.milliseconds[name], 2) for name in TIMES),
                *(printing.number(r.bytes_per_image[name], 0) for name in ("patches", "all")),
            )
            for r in results
        ],
    )


def _show_reliability(results: list[Measured]) -> None:
    rows = [
        (r.settings["regions"], first, *(printing.number(value, 3) for value in held.values()))
        for r in results
        for first, held in (r.reliability or {}).items()
    ]
    if rows:
        columns = ("regions", "hits", "Brier", "calibration error")
        printing.print_table("probabilities, against what is true", columns, rows)


def _pair(metrics: dict[str, float]) -> str:
    return f"{printing.number(metrics['mAP'])} | {printing.number(metrics['LocScore'])}"
