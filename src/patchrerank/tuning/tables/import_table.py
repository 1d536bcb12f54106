"""Score tables of other people's results: arrays, TREC and ranx runs, ILIAS similarities."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.datasets.ilias_similarities import read_similarities
from patchrerank.errors import TableError, near_matches
from patchrerank.metrics import FULL, APConvention, ilias_at, instance_of
from patchrerank.tuning.fused.query_scores import Cost
from patchrerank.tuning.tables._given_runs import RanxLike, given_qrels
from patchrerank.tuning.tables._run_lists import (
    Judgements,
    RunLike,
    aligned_values,
    checked_run,
    grades_of,
    group_numbers,
    junk_of,
    local_scores_of,
    ordered,
)
from patchrerank.tuning.tables.import_options import ImportOptions
from patchrerank.tuning.tables.run_files import PathLike, Qrels
from patchrerank.tuning.tables.score_table import ScoreTable
from patchrerank.tuning.tables.table_checks import array_of, fixed
from patchrerank.types import EMPTY


def table_from_arrays(
    rows: npt.ArrayLike,
    global_scores: npt.ArrayLike,
    local_scores: Mapping[str, npt.ArrayLike],
    relevant: npt.ArrayLike,
    n_positives: npt.ArrayLike,
    *,
    overlaps: Mapping[str, npt.ArrayLike] | None = None,
    junk: npt.ArrayLike | None = None,
    areas: npt.ArrayLike | None = None,
    positive_areas: npt.ArrayLike | None = None,
    query_ids: Sequence[str] | None = None,
    gallery_ids: Sequence[str] | None = None,
    groups: npt.ArrayLike | None = None,
    costs: Mapping[str, Cost] | None = None,
    convention: APConvention = FULL,
    about: Mapping[str, str] | None = None,
) -> ScoreTable:
    """Return a table of arrays; see :class:`~patchrerank.tuning.tables.score_table.ScoreTable`.

    What is left out: no overlaps (and no LocScore), no junk, areas unknown, ids ``0``, ``1``, …,
    each query a group of its own. ``n_positives`` counts the whole data set and cannot be left
    out, since a list alone does not say what it misses.

    Raises:
        TableError: something has the wrong shape or kind, or contradicts something else.
    """
    shape = array_of("rows", rows).shape
    if len(shape) != 2:
        raise TableError(f"rows: expected the shape (Q, K), got {shape}")
    images = int(fixed("rows", rows, np.int64, (-1, -1)).max(initial=-1)) + 1
    given: dict[str, Any] = {
        "overlaps": overlaps or {},
        "junk": np.zeros(shape, dtype=np.bool_) if junk is None else junk,
        "areas": np.full(shape, np.nan, dtype=np.float32) if areas is None else areas,
        "positive_areas": np.empty((shape[0], 0)) if positive_areas is None else positive_areas,
        "query_ids": _numbers(shape[0]) if query_ids is None else query_ids,
        "gallery_ids": _numbers(images) if gallery_ids is None else gallery_ids,
        "groups": np.arange(shape[0]) if groups is None else groups,
    }
    lists: dict[str, Any] = {
        "rows": rows,
        "global_scores": global_scores,
        "local_scores": local_scores,
        "relevant": relevant,
        "n_positives": n_positives,
    }
    return ScoreTable(**lists, **given, costs=costs or {}, convention=convention, about=about or {})


def table_from_runs(
    first_stage: RunLike | PathLike | RanxLike,
    local: Mapping[str, RunLike | PathLike | RanxLike],
    qrels: Judgements | PathLike | RanxLike,
    options: ImportOptions | None = None,
    groups: Mapping[str, str] | None = None,
) -> ScoreTable:
    """Return a table of a first stage's run, local runs and judgements.

    Args:
        first_stage: ``{query: {document: score}}``, a ``ranx.Run``, or a file (see
            :func:`~patchrerank.tuning.tables.run_files.read_run`). Nothing is cut off: K is the
            longest list's length. Equal scores keep the order given.
        local: by reranker, likewise.
        qrels: ``{query: {document: grade}}``, a ``ranx.Qrels``, or a file. Its queries,
            in order, are the table's.
        options: see :class:`ImportOptions`.
        groups: the instance of each query; None: each is a group of its own.

    Raises:
        TableError: a run and the judgements do not fit together (see the options), a score is
            not finite, or a file is damaged.
    """
    how = options or ImportOptions()
    judged: Judgements = given_qrels(qrels)
    if not isinstance(local, Mapping):
        raise TableError(
            f"local runs: expected {{reranker: run}}, got a {type(local).__name__}; give the "
            "reranker a name"
        )
    first = checked_run("first stage", first_stage, judged, how)
    runs = {name: checked_run(name, run, judged, how) for name, run in local.items()}
    lists = {query: ordered(first.get(query, {})) for query in judged}
    documents = list(dict.fromkeys(name for names in lists.values() for name in names))
    numbers = {name: number for number, name in enumerate(documents)}
    return table_from_arrays(
        aligned_values(lists, dict.fromkeys(lists, numbers), EMPTY).astype(np.int64),
        aligned_values(lists, first, -np.inf).astype(np.float32),
        {name: local_scores_of(name, run, lists, how) for name, run in runs.items()},
        grades_of(lists, judged) >= how.relevant_from,
        [sum(grade >= how.relevant_from for grade in row.values()) for row in judged.values()],
        junk=junk_of(lists, judged, how),
        query_ids=list(judged),
        gallery_ids=documents,
        groups=group_numbers(list(judged), groups),
        convention=how.convention,
    )


def table_from_ilias(
    first_stage: PathLike,
    local: Mapping[str, PathLike],
    positives: Mapping[str, Collection[str]],
    options: ImportOptions | None = None,
) -> ScoreTable:
    """Return a table of ILIAS similarity files.

    Args:
        first_stage: ``.json`` or ``.pkl``; see
            :func:`patchrerank.datasets.ilias_similarities.read_similarities`.
        local: by reranker, such a file; similarities are local scores.
        positives: ``{instance: ids of its positives}``; a query's instance is its id's part
            before ``/``. Queries are those of the first stage's file.
        options: None: ILIAS' own average precision, mAP@1000.

    Raises:
        DatasetError: a file is damaged.
        TableError: a query's instance is unknown, or the files do not fit together.
    """
    first = read_similarities(first_stage)
    judged: Qrels = {}
    for query in first:
        instance = instance_of(query)
        if instance not in positives:
            raise TableError(
                f"query {query!r}: its instance {instance!r} has no entry among the positives"
                f"{near_matches(instance, positives)}"
            )
        judged[query] = dict.fromkeys(positives[instance], 1)
    runs = {name: read_similarities(path) for name, path in local.items()}
    options = options or ImportOptions(convention=ilias_at())
    groups = {query: instance_of(query) for query in first}
    return table_from_runs(first, runs, judged, options, groups)


def _numbers(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))
