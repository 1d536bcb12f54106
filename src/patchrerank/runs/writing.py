"""Writing runs that keep their order whoever reads them: trec_eval, ranx, ir-measures."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from patchrerank.errors import SettingError, ShortlistError, shown
from patchrerank.files import write_whole
from patchrerank.hit_scores import falling_scores
from patchrerank.runs.trec import LAYOUT, fits, is_run_line
from patchrerank.types import Hit

Run: TypeAlias = Mapping[str, Mapping[str, float]]

TAG = "patchrerank"


def run_of_hits(query_ids: Sequence[str], lists: Sequence[Sequence[Hit]]) -> Run:
    """Return ``{query id: {document id: score}}`` of lists of hits, best first; ids as text.

    Raises:
        ShortlistError: another number of ids than of lists, or one that stands twice.
    """
    if len(query_ids) != len(lists) or len(set(query_ids)) < len(query_ids):
        raise ShortlistError(
            f"{len(query_ids)} query ids ({len(set(query_ids))} different) for {len(lists)} lists "
            "of hits; pass one of its own for each"
        )
    return {
        query: {str(hit.id): hit.score for hit in hits}
        for query, hits in zip(query_ids, lists, strict=True)
    }


def write_run(path: str | os.PathLike[str], run: Run, tag: str = TAG) -> None:
    """Write a run as TREC lines, or as JSON ``{query: {document: score}}`` by the suffix ``.json``.

    Scores are written so that they read back as the same float32 and fall strictly (see
    :func:`patchrerank.hit_scores.falling_scores`): whoever sorts by them finds the order of the
    run. The file appears whole or not at all.

    Args:
        path: the file; a run that is there is replaced, nothing else is.
        run: ``{query id: {document id: score}}``, each query's documents best first.
        tag: the name of the run, in TREC lines.

    Raises:
        SettingError: the file cannot be written, or is there and is no run.
        ShortlistError: an id that a TREC line cannot hold, or scores that rise.
    """
    where = Path(path)
    check_run_path(where)
    lists = {query: _falling(query, row) for query, row in run.items()}
    if where.suffix == ".json":
        text = json.dumps(lists, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    else:
        check_ids((tag, *lists), "query or tag")
        check_ids((document for row in lists.values() for document in row), "document")
        text = "".join(_lines(lists, tag))
    write_whole(where, text.encode())


def check_run_path(path: str | os.PathLike[str]) -> None:
    """Refuse, before any work, a place where no run can be written.

    Raises:
        SettingError: no such folder, a folder itself, or a file that is no run.
    """
    where = Path(path)
    if not where.parent.is_dir():
        raise SettingError(f"{where}: there is no folder {where.parent}; make it first")
    if where.is_dir():
        raise SettingError(f"{where}: is a folder; name a file for the run")
    if where.exists() and not (where.is_file() and _is_replaceable(where)):
        raise SettingError(f"{where}: is there and is no run; choose another file for the run")


def check_ids(names: Iterator[str] | Sequence[str], what: str) -> None:
    """Refuse ids that a TREC line cannot hold.

    Raises:
        ShortlistError: names the first of them.
    """
    bad = next((name for name in names if not fits(name)), None)
    if bad is not None:
        raise ShortlistError(
            f"the {what} id {shown(bad)} does not fit into a TREC line ({LAYOUT}), which white "
            "space cuts; write the run to a .json file, which holds any id"
        )


def _falling(query: str, row: Mapping[str, float]) -> dict[str, float]:
    scores = np.fromiter(row.values(), dtype=np.float64, count=len(row))
    rising = np.flatnonzero(np.diff(scores) > 0)
    if rising.size:
        raise ShortlistError(
            f"query {shown(query)}: the score at position {rising[0] + 1} is higher than the one "
            "before it; a run is written best first"
        )
    return dict(zip(row, falling_scores(scores[None])[0].tolist(), strict=True))


def _lines(run: Run, tag: str) -> Iterator[str]:
    for query, row in run.items():
        for rank, (document, score) in enumerate(row.items(), start=1):
            yield f"{query} Q0 {document} {rank} {score!r} {tag}\n"


def _is_replaceable(path: Path) -> bool:
    """Tell whether a file is empty or a run, which may be written again."""
    try:
        with path.open(encoding="utf-8") as file:
            first = file.readline()
            if path.suffix != ".json":
                return not first or is_run_line(first)
            content = json.loads(first + file.read() or "{}")
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and all(
        isinstance(row, dict) and all(type(score) in (int, float) for score in row.values())
        for row in content.values()
    )
