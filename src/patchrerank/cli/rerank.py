"""``patchrerank rerank``: somebody else's shortlist in, a better order out."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import query_option as ask
from patchrerank.cli.hits import show_hits
from patchrerank.cli.tuned_option import (
    TunedFile,
    check_beside_stages,
    open_reranker,
    read_tuned,
)
from patchrerank.cli.views_option import MaskFile, QueryViewsOption, looked, masks_of, uses_masks
from patchrerank.errors import SettingError, ShortlistError
from patchrerank.runs import (
    ShortlistFile,
    parse_shortlist,
    read_shortlist,
    run_of_hits,
    write_run,
)
from patchrerank.score_reading import Metric
from patchrerank.types import Missing

logger = logging.getLogger(__name__)

EXAMPLE = "patchrerank rerank gallery/ query.jpg shortlist.json --metric cosine-distance --top-k 10"


def command(
    context: typer.Context,
    gallery: Annotated[Path, typer.Argument(help="Gallery folder.")],
    query: ask.QueryFile = None,
    candidates: Annotated[
        Path | None,
        typer.Argument(
            show_default=False,
            help="Shortlist, best first: JSON [[id, score], …], [{'id', 'score'}, …], [id, …] or "
            "{id: score}, JSON lines, text with 'id<TAB>score', 'id,score' or 'id' lines, or a "
            "TREC run; - reads standard input.",
        ),
    ] = None,
    text: ask.Words = None,
    template: ask.Templates = None,
    box: opt.Box = None,
    mask: MaskFile = None,
    query_crop: opt.QueryCropOption = "none",
    query_views: QueryViewsOption = "auto",
    sort: Annotated[bool, typer.Option("--sort", help="Accept and sort unordered scores.")] = False,
    metric: Annotated[
        Metric | None,
        typer.Option(
            help="What the scores are, to make cosines of them; inner-product: of unit vectors."
        ),
    ] = None,
    query_vectors: Annotated[
        int | None, typer.Option(help="Vectors that the query had, for --metric maxsim-sum.")
    ] = None,
    higher_is_better: Annotated[
        bool | None,
        typer.Option(
            "--higher-is-better/--lower-is-better", help="Which way is better, if no metric says."
        ),
    ] = None,
    missing: Annotated[
        Missing,
        typer.Option(
            help="What a candidate is that the gallery does not hold: an error; or keep: it keeps "
            "its place and score among the hits; or drop: left out."
        ),
    ] = "error",
    query_id: opt.QueryId = None,
    run: opt.RunFile = None,
    shortlist_size: opt.ShortlistSize = "all",
    lam: opt.Lam = opt.LAM,
    gamma: opt.Gamma = opt.GAMMA,
    top_k: Annotated[int | None, typer.Option(help="Hits to print; default all.")] = None,
    stages: opt.Stages = None,
    tuned: TunedFile = None,
    query_image_size: opt.QueryImageSize = 224,
    query_part: opt.QueryPartOption = "box",
    rescore: opt.Rescore = None,
    root: opt.Root = None,
    device: opt.Device = "auto",
    json: opt.Json = False,
) -> None:
    """Rerank candidates that your own search returned."""
    best = read_tuned(context, tuned)
    check_beside_stages(context, "shortlist_size", "lam", "gamma")
    if text is not None and candidates is None:
        query, candidates = None, query  # GALLERY CANDIDATES --text WORDS
    if candidates is None:
        raise SettingError("there is no shortlist; name its file behind the query, or -")
    asked = ask.asked(query, text, template)
    given = read_candidates(
        candidates, query_id, said=metric is not None or higher_is_better is not None
    )
    name = ask.run_query(run, given.query_id, asked.name)
    opt.shortlist_size(shortlist_size)
    if best is not None and given.scores is None and best.stages[0].lam > 0:
        logger.warning("λ was tuned for similarities, but this shortlist comes without scores")
    default = f"patchify:{shortlist_size}:{lam}:{gamma}"
    reranker = open_reranker(context, gallery, default, best, device)
    masks = masks_of(context, mask, used=uses_masks(reranker))
    hits = reranker.rank(
        asked.query,
        reranker.gallery.ids.kind.read(given.ids),
        given.scores,
        top_k,
        box=opt.parse_box(box),
        mask=None if masks is None else masks[0],
        sort=sort,
        higher_is_better=higher_is_better,
        metric=metric,
        n_query_vectors=query_vectors,
        missing=missing,
    )
    if run is not None:
        write_run(run, run_of_hits([name], [hits]))
    settings = {**asked.record, **looked(reranker)}
    show_hits(hits, settings, as_json=json, calibration=reranker.calibration)


def read_candidates(path: Path, query_id: str | None, *, said: bool) -> ShortlistFile:
    """Read a shortlist from a file, or from standard input for ``-``."""
    if str(path) != "-":
        return read_shortlist(path, query_id=query_id, said=said)
    try:
        text = sys.stdin.read()
    except UnicodeDecodeError as error:
        raise ShortlistError(f"-: cannot be read ({error})") from error
    return parse_shortlist(text, "-", query_id=query_id, said=said)
