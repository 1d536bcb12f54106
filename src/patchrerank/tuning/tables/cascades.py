"""A cascade on a score table: what ``Cascade.rerank`` would give, without running any model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from patchrerank.fusion import narrowed
from patchrerank.metrics.average_precision import precisions_of
from patchrerank.metrics.lists import Bools, Doubles, RankedLists
from patchrerank.pipeline.stages import StageSpec
from patchrerank.tuning.fused.heads import Array, Head, joined
from patchrerank.tuning.fused.query_scores import GLOBAL, Cost, QueryScores, ms_before_stages
from patchrerank.tuning.tables.grids import check_depth, missing_scores
from patchrerank.tuning.tables.score_table import ScoreTable
from patchrerank.types import EMPTY, Floats, Rows

Missing = Callable[[ScoreTable, str, Bools], ScoreTable]
"""From a table, a reranker and the slots ``(Q, K)`` it needs to the table with these scores."""


@dataclass(frozen=True, eq=False)
class StageResult(QueryScores):
    """What a cascade is worth and what it costs.

    Attributes:
        AP, LocScore: see :class:`~patchrerank.tuning.fused.query_scores.QueryScores`; LocScore is
            all NaN if the table knows no overlaps of one of the rerankers.
        places: int64 ``(Q, n)``, the slots of the rescored head in their new order.
        size: K.
        milliseconds: a query, all stages, one thread; NaN if a cost is unknown.
        bytes_per_image: what the stages read, each kind once; NaN if a cost is unknown.
    """

    places: Rows
    size: int
    milliseconds: float
    bytes_per_image: float

    @cached_property
    def order(self) -> Rows:
        """int64 ``(Q, K)``: the slots of the first stage's list, best first after all stages."""
        head = self.places.shape[1]
        tail = np.broadcast_to(np.arange(head, self.size), (len(self.places), self.size - head))
        return np.concatenate([self.places, tail], axis=1)


class Step(NamedTuple):
    """A stage that does something, and its shortlist size: at least 1 and at most K."""

    stage: StageSpec
    size: int


def evaluate_stages(
    table: ScoreTable,
    stages: Sequence[StageSpec],
    missing: Missing | None = None,
    *,
    whole_image: bool = False,
) -> StageResult:
    """Return what ``Cascade(stages).rerank`` and ``measure`` would, from the table's arrays.

    Args:
        table: scores, relevance, overlaps.
        stages: reranker and fusion of each; a stage with ``shortlist_size=0`` does nothing.
            No stages at all: the first stage alone.
        missing: computes scores that are not there yet, for instance a
            :class:`~patchrerank.tuning.tables.fill_table.TableFiller`; None: they are an error.
        whole_image: a candidate that no stage located counts as located by the whole image,
            not as located nowhere.

    Raises:
        SettingError: an unknown reranker, or shortlist sizes that grow from stage to stage.
        TableError: scores that are needed were not computed and ``missing`` is None, or a
            reranker that looks at the list is asked about another one than it was scored on.
    """
    steps = steps_of(table, stages)
    table, head = rescored(table, steps, missing)
    precisions, located = _measured(table, head, steps, whole_image or not stages)
    places = head.slots - _starts(table)
    return StageResult(precisions, located, places, table.size, *_costs(table, steps))


def steps_of(table: ScoreTable, stages: Sequence[StageSpec]) -> list[Step]:
    """Return the stages that do something, after checking all as a cascade does."""
    steps: list[Step] = []
    limit = float("inf")
    for number, stage in enumerate(stages):
        name, size = table.reranker(stage.reranker), stage.shortlist_size
        limit = narrowed(limit, number, size)
        cut = table.size if size is None else min(size, table.size)
        check_depth(table, name, cut, first=not steps)
        if cut:
            steps.append(Step(stage, cut))
    return steps


def rescored(
    table: ScoreTable, steps: Sequence[Step], missing: Missing | None
) -> tuple[ScoreTable, Head]:
    """Return the head behind all steps, and the table with the scores that it took."""
    width = steps[0].size if steps else 0
    head = Head(_starts(table) + np.arange(width), table.global_scores[:, :width])
    for step in steps:
        table = _advance(table, head, step, missing)
    return table, head


def _starts(table: ScoreTable) -> Rows:
    """Return where each list begins in the flattened table, int64 ``(Q, 1)``."""
    queries, width = table.rows.shape
    starts: Rows = width * np.arange(queries, dtype=np.int64)[:, None]
    return starts


def _advance(table: ScoreTable, head: Head, step: Step, missing: Missing | None) -> ScoreTable:
    """Re-sort the head by one more stage; return the table, with new scores if some lacked."""
    slots = head.slots[:, : step.size]
    table, local = _local(table, slots, step, missing)
    empty = table.rows.reshape(-1).take(slots) == EMPTY if table.has_gaps else None
    head.advance(step.stage.lam, step.stage.gamma, local, empty)
    return table


def _local(
    table: ScoreTable, slots: Rows, step: Step, missing: Missing | None
) -> tuple[ScoreTable, Floats]:
    """Return the local scores of a head, after computing those that lack."""
    found = table.local_scores[step.stage.reranker].reshape(-1).take(slots)
    lacking = np.isnan(found)
    if not lacking.any():
        return table, found
    lacking &= table.rows.reshape(-1).take(slots) != EMPTY
    if lacking.any():
        if missing is None:
            raise missing_scores(step.stage.reranker, int(lacking.sum()))
        wanted = np.zeros(table.rows.shape, dtype=np.bool_)
        wanted.reshape(-1)[slots[lacking]] = True
        table = missing(table, step.stage.reranker, wanted)
        found = table.local_scores[step.stage.reranker].reshape(-1).take(slots)
    return table, np.where(np.isnan(found), np.float32(-np.inf), found)


def _measured(
    table: ScoreTable, head: Head, steps: Sequence[Step], whole_image: bool
) -> tuple[Doubles, Doubles]:
    """Return average precisions and LocScores of the new order."""
    relevant = _moved(table.relevant, head.slots)
    counted = table.valid if table.has_gaps else None
    if table.has_junk:
        kept = ~_moved(table.junk, head.slots)
        counted = kept if counted is None else kept & counted
    lists = RankedLists(relevant, counted, table.listed, table.n_positives)
    tied = table.convention.ties == "threshold"
    scores = joined(head.scores, table.global_scores) if tied else None
    paid = _paid(table, head.slots, relevant, steps, whole_image)
    weights = (None,) if paid is None else (None, paid)
    precisions, *located = precisions_of(lists, table.convention, scores, weights)
    return precisions, located[0] if located else np.full(len(table), np.nan)


def _moved(values: Array, slots: Rows) -> Array:
    """Return ``values`` ``(Q, K)`` in the new order."""
    return joined(values.reshape(-1).take(slots), values)


def _paid(
    table: ScoreTable, slots: Rows, relevant: Bools, steps: Sequence[Step], whole_image: bool
) -> Floats | None:
    """Return the overlap ``(Q, K)`` of each positive's last box; None where a stage's is unknown.

    Sizes never grow, so a stage has seen just the candidates that end up before its cut.
    """
    names = [*([GLOBAL] if whole_image else []), *(step.stage.reranker for step in steps)]
    if any(name not in table.overlaps for name in names):
        return None
    query, position = np.nonzero(relevant)
    slot = query * table.size + position
    inside = position < slots.shape[1]
    slot[inside] = slots[query[inside], position[inside]]
    overlap = np.zeros(len(query), dtype=np.float32)
    if whole_image:
        overlap = np.nan_to_num(table.overlaps[GLOBAL].reshape(-1)[slot], nan=0.0)
    for step in steps:
        found = table.overlaps[step.stage.reranker].reshape(-1)[slot]
        seen = (position < step.size) & ~np.isnan(found)
        overlap[seen] = found[seen]
    paid = np.zeros(relevant.shape, dtype=np.float32)
    paid[query, position] = np.clip(overlap, 0.0, 1.0)
    return paid


def _costs(table: ScoreTable, steps: Sequence[Step]) -> tuple[float, float]:
    """Return milliseconds a query and bytes an image."""
    costs = [(table.costs.get(step.stage.reranker), step.size) for step in steps]
    if any(cost is None for cost, _ in costs):
        return float("nan"), float("nan")
    known = [(cost, size) for cost, size in costs if cost is not None]
    reads = Cost(reads={kind: size for cost, _ in known for kind, size in cost.reads.items()})
    spent = sum(cost.milliseconds(size) for cost, size in known)
    return ms_before_stages(table.costs) + spent, reads.bytes_per_image
