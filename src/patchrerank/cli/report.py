"""``patchrerank report``: look at what methods found, query by query."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import printing
from patchrerank.cli.tuned_option import encoder_and_regions
from patchrerank.cli.views_option import QueryViewsOption
from patchrerank.cli.views_option import query_views as parsed_views
from patchrerank.files import check_target

if TYPE_CHECKING:
    from patchrerank.analysis import Method
    from patchrerank.pipeline import Tuned
    from patchrerank.report import ReportQuery
    from patchrerank.report.findings import Findings

DEFAULT = ("global", "patchify")

EXAMPLE = "patchrerank report dataset/ --stages global --stages patchify --out report.html"


def command(
    dataset: Annotated[
        Path,
        typer.Argument(
            help="Data set folder with index.json, or ILIAS, INSTRE, revisited Oxford/Paris; "
            "options may follow: roxford5k:setup=hard."
        ),
    ],
    stages: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{opt.METHODS} Gains are the last one's over the first. [{' '.join(DEFAULT)}]",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Page to write.")] = Path("report.html"),
    figures: Annotated[
        Path | None, typer.Option(help="Folder for figures to print, a PNG for each query shown.")
    ] = None,
    figure_font: Annotated[
        Path | None,
        typer.Option(help="TrueType font of the figures, for ids that are not plain ASCII."),
    ] = None,
    thumbnail: Annotated[
        int, typer.Option(help="Long side of the pictures in the page, in pixels.")
    ] = 320,
    largest: Annotated[int, typer.Option(help="Queries with the largest gains.")] = 5,
    smallest: Annotated[int, typer.Option(help="Queries with the largest losses.")] = 5,
    sample: Annotated[int, typer.Option(help="Queries drawn from all others.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of that drawing.")] = 0,
    tuned: Annotated[
        Path | None,
        typer.Option(help="tuned.json, whose cascade becomes the last method."),
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
    device: opt.Device = "auto",
    random_weights: opt.RandomWeights = False,
    cache: opt.Cache = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Write a page (and figures) with the top 10 of each method: gains, losses and a sample."""
    from patchrerank.analysis import EvaluationSettings, LocalSettings
    from patchrerank.datasets import load_dataset
    from patchrerank.encoders import load_encoder
    from patchrerank.gallery import BuildOptions
    from patchrerank.pipeline import Tuned
    from patchrerank.regions import parse_regions
    from patchrerank.report.figure_style import FigureStyle
    from patchrerank.report.findings import Output, find, write_findings
    from patchrerank.report.page import PAGE
    from patchrerank.report.selection import QueryChoice

    check_target(out, PAGE, make_folder=True)
    choice = QueryChoice(largest, smallest, sample, seed)
    output = Output(out, figures, FigureStyle(font=figure_font), thumbnail)
    best = None if tuned is None else Tuned.load(tuned)
    columns = _methods(stages, best)
    kept = None if best is None else best.tuned_on
    spec, where = encoder_and_regions(best, encoder, regions)
    strategy = parse_regions(where, most=max_regions)
    data = load_dataset(dataset)
    model = load_encoder(
        spec,
        image_size=image_size,
        device=device,
        pretrained=not random_weights,
    )
    settings = EvaluationSettings(
        regions=strategy,
        query_crop=query_crop or (kept.query_crop if kept else None),
        query_views=parsed_views(query_views),
        first_stage=first_stage,
        local=LocalSettings(local_image_size, query_image_size, query_part),
        build=BuildOptions(progress=not quiet),
    )
    found = find(data, model, columns, cache, settings)
    written = write_findings(found, choice, output, progress=not quiet)
    if json:
        printing.print_json(_record(found, found.chosen(choice), out, written))
        return
    _show(found)
    printing.print_line(f"open {out.resolve()} in a browser to see what matched where")
    if figures is not None:
        printing.print_line(f"{len(written)} figures in {figures}, listed in figures.json")


def _methods(texts: list[str] | None, tuned: Tuned | None) -> list[Method]:
    """Parse the methods before anything is loaded; the tuned cascade is the last."""
    from patchrerank.analysis.methods import Method, check_labels, parse_method

    default = DEFAULT if tuned is None else DEFAULT[:1]
    found = [parse_method(text) for text in texts or default]
    if tuned is not None:
        found.append(Method.of(tuned))
    check_labels(found)
    return found


def _show(found: Findings) -> None:
    """Print the metrics that compare prints too, and who gains."""
    from patchrerank.analysis.measurable import counted_queries

    rows = [
        (
            label,
            printing.number(run.measured.metrics["mAP"]),
            printing.number(run.measured.areas["<10%"]["mAP"]),
            printing.number(run.measured.metrics["LocScore"]),
            printing.number(run.measured.metrics["mLocScore"]),
            printing.number(run.measured.bytes_per_image["read"], 0),
        )
        for label, run in found.runs.items()
    ]
    convention = found.settings["AP"]
    headers = ("method", "mAP", "mAP <10%", "LocScore", "mLocScore", "bytes/image")
    first = next(iter(found.runs.values())).measured
    over = counted_queries(first.counted["all"], first.queries)
    printing.print_table(f"percent; AP convention {convention}; {over}", headers, rows)
    for label, run in found.runs.items():
        if run.measured.ties.queries:
            printing.print_line(f"{label}: {run.measured.ties}")
    for table in found.tables[1:]:
        printing.print_table(table.title, table.headers, table.rows)


def _record(
    found: Findings, chosen: list[ReportQuery], out: Path, written: list[Path]
) -> dict[str, object]:
    return {
        "report": out,
        "settings": found.settings,
        "methods": {
            label: {
                "metrics": run.measured.metrics,
                "areas": run.measured.areas,
                "bytes_per_image": run.measured.bytes_per_image["read"],
                "per_query": run.measured.per_query,
                "queries": run.measured.queries,
                "counted": run.measured.counted,
                "ties": asdict(run.measured.ties),
            }
            for label, run in found.runs.items()
        },
        "queries": [{"id": q.id, "group": q.group, "gain": q.gain} for q in chosen],
        "figures": written,
    }
