"""``patchrerank demo``: the main job, end to end, on photographs that pip installed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import printing
from patchrerank.files import check_target

if TYPE_CHECKING:
    from patchrerank.datasets import Dataset
    from patchrerank.report import ReportTable
    from patchrerank.report.findings import Findings

METHODS = ("global", "patchify")
COSTS = ("ms/query", "bytes/image read")
COLUMNS = ("method", "mAP", "mAP, object <10%", "recall@1", "LocScore", *COSTS)
"""Of the table of metrics, what a newcomer needs."""

EXAMPLE = "patchrerank demo out/"


def command(
    out: Annotated[Path, typer.Argument(help="Folder to write.")] = Path("patchrerank-demo"),
    image_size: Annotated[int, typer.Option(help="Network input size in pixels.")] = 128,
    seed: Annotated[int, typer.Option(help="Seed of the composite pictures.")] = 0,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Make a small benchmark, run global search against Patchify, write a page to look at."""
    from patchrerank.analysis import EvaluationSettings, Method
    from patchrerank.encoders import load_encoder
    from patchrerank.gallery import BuildOptions
    from patchrerank.regions import GridPyramid
    from patchrerank.report.findings import find
    from patchrerank.report.page import PAGE

    check_target(out / "report.html", PAGE, make_folder=True)
    data = _dataset(out, seed, quiet=quiet)
    encoder = load_encoder("efficientnet_lite0", image_size=image_size)
    settings = EvaluationSettings(GridPyramid(3), build=BuildOptions(progress=not quiet))
    methods = [Method(name) for name in METHODS]
    found = find(data, encoder, methods, out / "galleries", settings)
    table = _table(found)
    page = _write_page(out / "report.html", found, table)
    if json:
        records = {name: run.measured.as_dict() for name, run in found.runs.items()}
        printing.print_json({"report": page, "result": found.result, "methods": records})
        return
    printing.print_line(found.result)
    printing.print_table(table.title, table.headers, table.rows)
    printing.print_line(f"open {page.resolve()} in a browser to see what matched where")


def _dataset(out: Path, seed: int, *, quiet: bool) -> Dataset:
    from patchrerank.datasets.composite import CompositeConfig, build_composite
    from patchrerank.datasets.shipped_photos import copy_shipped_photos

    objects, backgrounds = copy_shipped_photos(out / "photos")
    config = CompositeConfig(seed=seed, positives=5, distractors=48)
    return build_composite(config, objects, backgrounds, out / "dataset", progress=not quiet)


def _table(found: Findings) -> ReportTable:
    """Return the table of metrics with the columns that a newcomer needs."""
    whole = found.tables[0]
    kept = [whole.headers.index(name) for name in COLUMNS]
    rows = tuple(tuple(row[place] for place in kept) for row in whole.rows)
    data = found.dataset
    title = f"{len(data.queries)} objects among {len(data.images)} pictures"
    return replace(whole, title=title, headers=COLUMNS, rows=rows)


def _write_page(path: Path, found: Findings, table: ReportTable) -> Path:
    """Write the page, every query named after its object."""
    from patchrerank.report import write_report
    from patchrerank.report.selection import by_gain

    names = {query.id: Path(query.source or query.id).stem for query in found.dataset.queries}
    return write_report(
        path,
        title="Which pictures show this object? Global search, and Patchify behind it",
        queries=[replace(query, id=names[query.id]) for query in by_gain(found.queries)],
        tables=[table],
        settings=found.settings,
        result=found.result,
        thumbnail=320,
    )
