"""``patchrerank search``: first stage and Patchify in one go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchrerank.cli import options as opt
from patchrerank.cli.hits import show_hits


def command(
    gallery: Annotated[Path, typer.Argument(help="Gallery folder.")],
    query: Annotated[Path, typer.Argument(help="Query picture.")],
    box: Annotated[
        str | None, typer.Option(help="Object in the query picture: x0,y0,x1,y1 in [0, 1].")
    ] = None,
    query_crop: opt.QueryCropOption = "none",
    first_stage: Annotated[str, typer.Option(help="faiss index-factory string.")] = "Flat",
    shortlist_size: opt.ShortlistSize = "100",
    lam: opt.Lam = 0.0,
    gamma: opt.Gamma = 1.0,
    top_k: Annotated[int, typer.Option(help="Hits to print.")] = 10,
    stages: opt.Stages = None,
    query_size: opt.QuerySize = 224,
    device: opt.Device = "auto",
    json: opt.Json = False,
) -> None:
    """Search a gallery with a picture: global first stage, then the best patch of each hit."""
    from patchrerank.first_stage import GlobalSearch
    from patchrerank.gallery import Gallery
    from patchrerank.rerankers.base import hits_of

    opened = Gallery(gallery)
    size = opt.shortlist_size(shortlist_size)
    default = f"patchify:all:{lam}:{gamma}"
    reranker = opt.make_ranker(opened, device, stages or default, query_crop, query_size)
    queries = reranker.encode([query], [opt.parse_box(box)])
    shortlist = GlobalSearch(opened, first_stage).search(queries, size)
    hits = hits_of(reranker.rerank(queries, shortlist), opened, top_k)[0]
    show_hits(hits, {"query": str(query), "query_crop": query_crop}, as_json=json)
