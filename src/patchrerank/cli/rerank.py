"""``patchrerank rerank``: somebody else's shortlist in, a better order out."""

from __future__ import annotations

import json as json_module
import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from patchrerank.cli import options as opt
from patchrerank.cli.hits import show_hits
from patchrerank.cli.tuned_option import TunedFile, open_reranker, read_tuned
from patchrerank.errors import ShortlistError

logger = logging.getLogger(__name__)


def command(
    context: typer.Context,
    gallery: Annotated[Path, typer.Argument(help="Gallery folder.")],
    query: Annotated[Path, typer.Argument(help="Query picture.")],
    candidates: Annotated[
        Path,
        typer.Argument(
            help="Shortlist, best first: JSON [[id, score], …], [{'id', 'score'}, …], [id, …] or "
            "{id: score}, or text with 'id<TAB>score' or 'id' lines; - reads standard input."
        ),
    ],
    box: Annotated[
        str | None, typer.Option(help="Object in the query picture: x0,y0,x1,y1 in [0, 1].")
    ] = None,
    query_crop: opt.QueryCropOption = "none",
    sort: Annotated[bool, typer.Option("--sort", help="Accept and sort unordered scores.")] = False,
    shortlist_size: opt.ShortlistSize = "all",
    lam: opt.Lam = opt.LAM,
    gamma: opt.Gamma = opt.GAMMA,
    top_k: Annotated[int | None, typer.Option(help="Hits to print; default all.")] = None,
    stages: opt.Stages = None,
    tuned: TunedFile = None,
    query_size: opt.QuerySize = 224,
    query_part: opt.QueryPartOption = "box",
    root: opt.Root = None,
    device: opt.Device = "auto",
    json: opt.Json = False,
) -> None:
    """Rerank candidates that your own search returned."""
    best = read_tuned(context, tuned)
    ids, scores = read_candidates(candidates)
    opt.shortlist_size(shortlist_size)
    if best is not None and scores is None and best.stages[0].lam > 0:
        logger.warning("λ was tuned for similarities, but this shortlist comes without scores")
    default = f"patchify:{shortlist_size}:{lam}:{gamma}"
    reranker = open_reranker(context, gallery, default, best, device)
    hits = reranker.rank(query, ids, scores, top_k, box=opt.parse_box(box), sort=sort)
    settings = {"query": str(query), "query_crop": reranker.query_crop}
    show_hits(hits, settings, as_json=json, calibration=reranker.calibration)


def read_candidates(path: Path) -> tuple[list[str], list[float] | None]:
    """Read a shortlist; scores are None where none are given.

    Raises:
        ShortlistError: the file cannot be read, or its entries have different forms.
    """
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ShortlistError(f"{path}: cannot be read ({error})") from error
    entries = _json_entries(path, text) if text.lstrip()[:1] in ("[", "{") else _lines(text)
    scored = [len(entry) == 2 for entry in entries]
    if any(scored) and not all(scored):
        raise ShortlistError(
            f"{path}: entry {scored.index(False)} has no score, others have; give all or none"
        )
    try:
        scores = [float(entry[1]) for entry in entries] if any(scored) else None
    except (TypeError, ValueError) as error:
        raise ShortlistError(f"{path}: a score is not a number ({error})") from error
    return [str(entry[0]) for entry in entries], scores


def _json_entries(path: Path, text: str) -> list[list[Any]]:
    try:
        content = json_module.loads(text)
    except ValueError as error:
        raise ShortlistError(f"{path}: not valid JSON ({error})") from error
    if isinstance(content, dict):
        return [[name, score] for name, score in content.items()]
    entries = [_json_entry(entry) for entry in content]
    wrong = next((number for number, entry in enumerate(entries) if len(entry) not in (1, 2)), None)
    if wrong is not None:
        raise ShortlistError(f"{path}: entry {wrong} is {entries[wrong]!r}; use [id, score] or id")
    return entries


def _json_entry(entry: Any) -> list[Any]:
    if isinstance(entry, dict) and "id" in entry:
        return [entry["id"], entry["score"]] if "score" in entry else [entry["id"]]
    return entry if isinstance(entry, list) else [entry]


def _lines(text: str) -> list[list[str]]:
    return [line.rsplit("\t", 1) for line in text.splitlines() if line.strip()]
