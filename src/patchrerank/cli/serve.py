"""``patchrerank serve``: the reranker over HTTP."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import printing
from patchrerank.cli.served_gallery import memory_bytes, open_engine
from patchrerank.cli.tuned_option import TunedFile, check_beside_tuned
from patchrerank.cli.views_option import QueryViewsOption
from patchrerank.errors import SettingError
from patchrerank.types import Missing

EXAMPLE = "patchrerank serve gallery/ --tuned tuned.json --port 8080"
LIMITS = "Limits"
TOKEN = "PATCHRERANK_TOKEN"
MEGABYTE = 1 << 20


def command(
    context: typer.Context,
    gallery: Annotated[Path, typer.Argument(help="Gallery folder.")],
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0: any that is free.")] = 8080,
    token: Annotated[
        str | None,
        typer.Option(
            help=f"What clients must send as a bearer token; better set {TOKEN}, which no list of "
            "processes shows."
        ),
    ] = None,
    stages: opt.Stages = None,
    tuned: TunedFile = None,
    query_crop: opt.QueryCropOption = "none",
    query_views: QueryViewsOption = None,
    query_image_size: opt.QueryImageSize = 224,
    query_part: opt.QueryPartOption = "box",
    first_stage: opt.FirstStage = "Flat",
    missing: Annotated[
        Missing,
        typer.Option(
            help="What a document is that the gallery does not hold: an error; or keep: it keeps "
            "its place; or drop: it has no result."
        ),
    ] = "error",
    rescore: opt.Rescore = None,
    root: opt.Root = None,
    device: opt.Device = "auto",
    on_device: Annotated[
        str,
        typer.Option(
            help="Where scores are computed: cpu; or cuda, cuda:N, mps, where vectors of the "
            "gallery are kept."
        ),
    ] = "cpu",
    device_memory: Annotated[
        float | None,
        typer.Option(
            help="GiB that they may take there; what does not fit travels with each request. "
            "[four fifths of what is free]",
            show_default=False,
        ),
    ] = None,
    lazy: Annotated[
        bool,
        typer.Option("--lazy", help="Load the encoder when a picture comes, not at the start."),
    ] = False,
    poll: Annotated[
        float,
        typer.Option(
            help="Seconds between two looks at whether the files changed; 0: SIGHUP only."
        ),
    ] = 2.0,
    collect_ms: Annotated[
        float, typer.Option(help="How long a request waits for others, to be scored together.")
    ] = 2.0,
    timeout_ms: Annotated[
        float,
        typer.Option(help="Time for a request; then the first stage's order comes back."),
    ] = 10_000.0,
    max_body: Annotated[
        int, typer.Option(help="Megabytes of a request.", rich_help_panel=LIMITS)
    ] = 32,
    max_documents: Annotated[
        int, typer.Option(help="Documents of a request.", rich_help_panel=LIMITS)
    ] = 2000,
    max_pixels: Annotated[
        int, typer.Option(help="Megapixels of a picture.", rich_help_panel=LIMITS)
    ] = 50,
    max_queue: Annotated[
        int, typer.Option(help="Requests at once; the next gets a 429.", rich_help_panel=LIMITS)
    ] = 64,
    cache: Annotated[
        int,
        typer.Option(help="Megabytes of vectors of sent pictures kept.", rich_help_panel=LIMITS),
    ] = 256,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            help="Host that pictures may be fetched from, HOST or HOST:PORT; may be repeated. "
            "Without it nothing is fetched.",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    json: opt.Json = False,
) -> None:
    """Answer rerank and search requests over HTTP: Jina, Cohere, vLLM and TEI clients fit."""
    from patchrerank.serving import ServiceSettings
    from patchrerank.serving.app import make_app
    from patchrerank.serving.explorer import explorer_pages, explorer_routes
    from patchrerank.serving.running import LOOPBACK, serve

    if tuned is not None:
        check_beside_tuned(context, tuned)
    secret = os.environ.get(TOKEN, "") if token is None else token
    if host not in LOOPBACK and not secret:
        raise SettingError(
            f"--host {host} is reached by other machines; set a token (--token or {TOKEN}), or "
            "leave --host out"
        )
    settings = ServiceSettings(
        token=secret,
        max_body=max_body * MEGABYTE,
        max_documents=max_documents,
        max_pixels=max_pixels * 1_000_000,
        max_queue=max_queue,
        cache=cache * MEGABYTE,
        collect=collect_ms / 1000,
        timeout=timeout_ms / 1000,
        missing=missing,
        allowed_hosts=tuple(allow_host or ()),
        local_names_only=not secret,
    )
    logging.getLogger("patchrerank.serving").setLevel(logging.INFO)
    memory = None if device_memory is None else memory_bytes(device_memory)
    where = {"on_device": on_device, "device_memory": memory}
    engine = open_engine(context, load_encoder=not lazy, **where)

    def started(address: str) -> None:
        """Say where the service is, once it listens."""
        images = engine.current.gallery.live_count
        if json:
            printing.print_json({"address": address, "images": images})
        else:
            printing.print_line(f"{images} images of {gallery} at {address}; what it takes: /docs")
        sys.stdout.flush()

    explorer = explorer_routes(engine, settings)
    app = make_app(engine, settings, routes=explorer, pages=explorer_pages(), poll=poll)
    serve(app, host, port, started)
