"""What every build of a score table begins with, whole or in shares: plan and blocks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from patchrerank.analysis.relevance import Relevance, relevance_of
from patchrerank.boxes import WHOLE_IMAGE
from patchrerank.errors import SettingError, TableError, near_matches
from patchrerank.json_files import read_json
from patchrerank.tuning.tables.table_folder import BUILDING, PARTS, write_durably
from patchrerank.types import Ranking, Shortlist

if TYPE_CHECKING:
    from patchrerank.tuning.tables.pair_scorer import PairScorer


def eager_names(scorer: PairScorer, asked: Sequence[str] | None) -> tuple[str, ...]:
    """Return the rerankers that score all pairs now: those asked for; None: all.

    Raises:
        SettingError: one is unknown.
    """
    names = tuple(scorer.rerankers) if asked is None else tuple(asked)
    for name in names:
        if name not in scorer.rerankers:
            near = near_matches(name, scorer.rerankers)
            raise SettingError(f"eager: there is no reranker {name!r}{near}")
    return names


def plan_of(scorer: PairScorer, shortlist: Shortlist) -> dict[str, str]:
    """Return what must be the same when a build goes on.

    Raises:
        TableError: not one shortlist a query.
    """
    if len(shortlist) != len(scorer.queries):
        raise TableError(f"{len(shortlist)} shortlists, but {len(scorer.queries)} queries")
    listed = hashlib.sha256(shortlist.rows.tobytes() + shortlist.scores.tobytes())
    size = shortlist.rows.shape[1]
    return {"fingerprint": scorer.fingerprint(size), "shortlist": listed.hexdigest()}


def begin(folder: Path, plan: Mapping[str, str]) -> None:
    """Write down what is built in a folder, whose lock is held, or see that it is the same.

    Raises:
        TableError: something else was begun there.
    """
    path = folder / BUILDING
    if path.exists():
        try:
            begun = read_json(path, TableError)
        except TableError:
            begun = None
        if begun != plan:
            raise TableError(
                f"{folder}: a table was begun here with another data set, gallery, shortlist or "
                "choice of rerankers; use the same, or delete the folder"
            )
    write_durably(path, json.dumps(plan).encode())
    (folder / PARTS).mkdir(exist_ok=True)


def relevance_in(scorer: PairScorer, shortlist: Shortlist) -> Relevance:
    """Return what is relevant, with the whole image as every candidate's box."""
    boxes = np.broadcast_to(WHOLE_IMAGE, (*shortlist.rows.shape, 4))
    scores = shortlist.scores
    ranking = Ranking(shortlist.rows, scores, scores, np.full_like(scores, np.nan), boxes)
    return relevance_of(ranking, scorer.gallery, scorer.dataset)


def blocks(count: int, block: int) -> Iterator[slice]:
    """Yield the queries that are scored together, and written to one part."""
    return (slice(start, min(start + block, count)) for start in range(0, count, block))
