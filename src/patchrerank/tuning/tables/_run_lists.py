"""Runs and judgements as arrays ``(Q, K)`` in the order of the first stage's lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from patchrerank.errors import TableError, near_matches
from patchrerank.tuning.tables._given_runs import given_run
from patchrerank.tuning.tables.run_files import PathLike
from patchrerank.types import Floats, Rows

if TYPE_CHECKING:
    from patchrerank.tuning.tables.import_options import ImportOptions

Judgements = Mapping[str, Mapping[str, int]]
RunLike = Mapping[str, Mapping[str, float]]


def checked_run(
    name: str, run: RunLike | PathLike | object, judged: Judgements, how: ImportOptions
) -> RunLike:
    """Return a run, read if it is a file, taken over from ranx, after checking it."""
    table = given_run(name, run)
    strangers = [query for query in table if query not in judged]
    if strangers and how.extra == "error":
        raise TableError(
            f"{name}: {len(strangers)} queries have no judgements, for example {strangers[0]!r}"
            f"{near_matches(strangers[0], judged)}; drop them, or pass extra='ignore'"
        )
    for query, listed in table.items():
        bad = next((item for item, score in listed.items() if not np.isfinite(score)), None)
        if bad is not None:
            raise TableError(f"{name}: query {query!r}: the score of {bad!r} is {listed[bad]}")
    return table


def ordered(listed: Mapping[str, float]) -> list[str]:
    """Return the documents, best first; Python's sort keeps the order of equal ones."""
    return sorted(listed, key=lambda document: -listed[document])


def aligned_values(
    lists: Mapping[str, list[str]], values: Mapping[str, Mapping[str, float]], fill: float
) -> npt.NDArray[np.float64]:
    """Return a number for each document of each list, ``(Q, K)``; ``fill`` where none is known."""
    width = max((len(names) for names in lists.values()), default=0)
    table = np.full((len(lists), width), fill, dtype=np.float64)
    for number, (query, names) in enumerate(lists.items()):
        known = values.get(query, {})
        table[number, : len(names)] = [known.get(name, fill) for name in names]
    return table


def local_scores_of(
    name: str, run: RunLike, lists: Mapping[str, list[str]], how: ImportOptions
) -> Floats:
    """Return a run's scores of the first stage's documents; see the options for what lacks."""
    for query, names in lists.items():
        listed, wanted = run.get(query, {}), set(names)
        strangers = [item for item in listed if item not in wanted]
        if strangers and how.extra == "error":
            raise TableError(
                f"{name}: query {query!r} scores {len(strangers)} documents that the first stage "
                f"does not list, for example {strangers[0]!r}; pass extra='ignore' to drop them"
            )
        absent = [item for item in names if item not in listed]
        if absent and how.absent == "error":
            raise TableError(
                f"{name}: query {query!r} lacks {len(absent)} documents of the first stage, for "
                f"example {absent[0]!r}; pass absent='no_evidence' to score them −inf"
            )
    fill = np.nan if how.absent == "not_computed" else -np.inf
    return aligned_values(lists, run, fill).astype(np.float32)


def grades_of(lists: Mapping[str, list[str]], judged: Judgements) -> npt.NDArray[np.float64]:
    """Return the grade of each document of each list; NaN where nobody judged it."""
    return aligned_values(lists, judged, np.nan)


def junk_of(
    lists: Mapping[str, list[str]], judged: Judgements, how: ImportOptions
) -> npt.NDArray[np.bool_]:
    """Return which documents of each list are junk."""
    grades = grades_of(lists, judged)
    if how.junk_grade is None:
        return np.zeros(grades.shape, dtype=np.bool_)
    return np.asarray(grades == how.junk_grade)


def group_numbers(queries: list[str], groups: Mapping[str, str] | None) -> Rows:
    """Return the number of each query's group; each is its own where there are none."""
    if groups is None:
        return np.arange(len(queries))
    if not isinstance(groups, Mapping):
        raise TableError(f"groups: expected {{query: group}}, got a {type(groups).__name__}")
    lacking = next((query for query in queries if query not in groups), None)
    if lacking is not None:
        raise TableError(f"groups: query {lacking!r} has none")
    number = {name: place for place, name in enumerate(dict.fromkeys(groups.values()))}
    return np.array([number[groups[query]] for query in queries], dtype=np.int64)
