"""The parts of a table under construction: one file for each reranker and block of queries."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from patchrerank.errors import TableError
from patchrerank.numpy_files import read_npz
from patchrerank.tuning.tables.table_folder import write_durably
from patchrerank.types import Floats, Shortlist

if TYPE_CHECKING:
    from patchrerank.metrics.lists import Bools
    from patchrerank.tuning.tables.pair_scorer import PairScorer

Part = tuple[Floats, Floats]
"""Local scores and overlaps, float32 ``(q, K)``."""


def scored(
    folder: Path,
    scorer: PairScorer,
    name: str,
    part: slice,
    shortlist: Shortlist,
    relevant: Bools,
) -> Part:
    """Return scores and overlaps of some queries, from an earlier run's file if there is one.

    Args:
        folder: of the parts.
        scorer: scores what is not there, which is then written.
        name: of the reranker.
        part: which queries.
        shortlist: of all queries.
        relevant: bool ``(Q, K)``.
    """
    number = list(scorer.rerankers).index(name)
    path = folder / f"{number}-{part.start}-{part.stop}.npz"
    kept = _read(path, (part.stop - part.start, shortlist.rows.shape[1]))
    if kept is not None:
        return kept
    some = Shortlist(shortlist.rows[part], shortlist.scores[part])
    found = scorer.score(name, np.arange(part.start, part.stop), some, relevant[part])
    buffer = BytesIO()
    np.savez(buffer, scores=found[0], overlaps=found[1])
    write_durably(path, buffer.getvalue())
    return found


def _read(path: Path, shape: tuple[int, int]) -> Part | None:
    """Return what a part's file holds; None if it is missing or damaged."""
    try:
        held = read_npz(path, TableError)
        scores, overlaps = held["scores"], held["overlaps"]
    except (TableError, KeyError):
        return None
    whole = scores.shape == overlaps.shape == shape
    return (scores, overlaps) if whole and scores.dtype == overlaps.dtype == np.float32 else None
