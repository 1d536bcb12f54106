"""``patchrerank explore``: a page on which a gallery is searched, and settings are tried."""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import printing
from patchrerank.cli.served_gallery import open_engine
from patchrerank.cli.tuned_option import TunedFile, read_tuned
from patchrerank.cli.views_option import QueryViewsOption
from patchrerank.records import check_within

EXAMPLE = "patchrerank explore gallery/ --stages patchify:400:0.3:4"


def command(
    context: typer.Context,
    gallery: Annotated[Path, typer.Argument(help="Gallery folder.")],
    port: Annotated[int, typer.Option(help="Port; 0: any that is free.")] = 8080,
    candidates: Annotated[
        int, typer.Option(help="Of the first stage, that are scored for a query.")
    ] = 1000,
    stages: opt.Stages = None,
    tuned: TunedFile = None,
    query_crop: opt.QueryCropOption = "box",
    query_views: QueryViewsOption = None,
    query_image_size: opt.QueryImageSize = 224,
    query_part: opt.QueryPartOption = "box",
    first_stage: opt.FirstStage = "Flat",
    rescore: opt.Rescore = None,
    root: opt.Root = None,
    device: opt.Device = "auto",
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
    json: opt.Json = False,
) -> None:
    """Search a gallery on a page, see where hits match, and what λ, γ, k and stages do.

    The page is served to this machine alone; patchrerank serve has it for others, at /.
    """
    from patchrerank.serving import ServiceSettings
    from patchrerank.serving.app import make_app
    from patchrerank.serving.explorer import explorer_pages, explorer_routes
    from patchrerank.serving.running import LOOPBACK, serve

    read_tuned(context, tuned)
    settings = ServiceSettings(local_names_only=True)
    check_within(1, settings.max_candidates, candidates=candidates)
    engine = open_engine(context)

    def started(address: str) -> None:
        """Say where the page is, once it is served, and open it."""
        if json:
            printing.print_json({"address": f"{address}/"})
        else:
            printing.print_line(f"{address}/ (Ctrl-C ends it)")
        sys.stdout.flush()
        if browser:
            webbrowser.open(f"{address}/")

    routes = explorer_routes(engine, settings, candidates=candidates)
    serve(
        make_app(engine, settings, routes=routes, pages=explorer_pages()),
        LOOPBACK[0],
        port,
        started,
    )
