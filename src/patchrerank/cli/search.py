"""``patchrerank search``: first stage and Patchify in one go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import own_index as own
from patchrerank.cli import query_option as ask
from patchrerank.cli.hits import show_hits
from patchrerank.cli.tuned_option import (
    TunedFile,
    check_beside_stages,
    open_reranker,
    read_tuned,
)
from patchrerank.cli.views_option import MaskFile, QueryViewsOption, looked, masks_of, uses_masks

EXAMPLE = "patchrerank search gallery/ query.jpg --box 0.2,0.1,0.6,0.9 --query-crop box"


def command(
    context: typer.Context,
    gallery: Annotated[Path, typer.Argument(help="Gallery folder.")],
    query: ask.QueryFile = None,
    text: ask.Words = None,
    template: ask.Templates = None,
    box: opt.Box = None,
    mask: MaskFile = None,
    query_crop: opt.QueryCropOption = "none",
    query_views: QueryViewsOption = "auto",
    first_stage: opt.FirstStage = "Flat",
    index: own.Index = None,
    index_ids: own.IndexIds = None,
    missing: own.MissingLabels = "error",
    nprobe: own.Nprobe = None,
    shortlist_size: opt.ShortlistSize = "100",
    lam: opt.Lam = opt.LAM,
    gamma: opt.Gamma = opt.GAMMA,
    top_k: Annotated[int, typer.Option(help="Hits to print.")] = 10,
    query_id: opt.QueryId = None,
    run: opt.RunFile = None,
    stages: opt.Stages = None,
    tuned: TunedFile = None,
    query_image_size: opt.QueryImageSize = 224,
    query_part: opt.QueryPartOption = "box",
    rescore: opt.Rescore = None,
    root: opt.Root = None,
    device: opt.Device = "auto",
    json: opt.Json = False,
) -> None:
    """Search a gallery with a picture or words: global first stage, then each hit's best patch."""
    from patchrerank.rerankers.hits import hits_of
    from patchrerank.runs import run_of_hits, write_run

    given = ask.asked(query, text, template)
    name = ask.run_query(run, query_id, given.name)
    best = read_tuned(context, tuned)
    check_beside_stages(context, "lam", "gamma")
    own.check_index(context)
    size = opt.shortlist_size(shortlist_size) if best is None else best.tuned_on.candidates
    reranker = open_reranker(context, gallery, f"patchify:all:{lam}:{gamma}", best, device)
    searched = own.first_stage_of(context, reranker.gallery)
    masks = masks_of(context, mask, used=uses_masks(reranker))
    queries = reranker.encode([given.query], [opt.parse_box(box)], masks)
    shortlist = searched.search(queries, size)
    hits = hits_of(reranker.rerank(queries, shortlist), reranker.gallery, top_k)[0]
    if run is not None:
        write_run(run, run_of_hits([name], [hits]))
    settings = {**given.record, **looked(reranker)}
    show_hits(hits, settings, as_json=json, calibration=reranker.calibration)
