"""Tables of what earlier stages leave, as if that were the first stage's order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.pipeline.stages import StageSpec
from patchrerank.tuning.fused.query_scores import GLOBAL
from patchrerank.tuning.tables.cascades import Missing, rescored, steps_of
from patchrerank.tuning.tables.grids import require_scores
from patchrerank.tuning.tables.score_table import ScoreTable
from patchrerank.types import EMPTY, Floats, Rows

MOVED = ("rows", "relevant", "junk", "areas")


def after_stages(
    table: ScoreTable, stages: Sequence[StageSpec], missing: Missing | None = None
) -> ScoreTable:
    """Return the table whose first stage is a cascade: its order, its fused scores.

    Further stages on this table, none longer than the last of ``stages``, then give the same
    order as behind them in one cascade. Candidates behind the cut get scores below all others.
    Boxes and costs are those of further stages alone. Rerankers that look at the list are left
    out, since it is another list now.

    Args:
        table: of the original first stage.
        stages: as for :func:`patchrerank.tuning.evaluate_stages`.
        missing: likewise.

    Raises:
        SettingError, TableError: likewise.
    """
    steps = steps_of(table, stages)
    if not steps:
        return table
    width = steps[0].size
    table, head = rescored(table, steps, missing)
    starts = table.size * np.arange(len(table))[:, None]
    tail = np.broadcast_to(np.arange(width, table.size), (len(table), table.size - width))
    order = np.concatenate([head.slots - starts, tail], axis=1)
    scores = np.concatenate([head.scores, table.global_scores[:, width:]], axis=1)
    for cut in sorted({step.size for step in steps}):
        scores = _falling(scores, cut)
    name = ",".join(f"{step.stage.reranker}:{step.size}:{step.stage.fusion}" for step in steps)
    return _reordered(table, order, scores, f"behind {name}")


def ranked_by(table: ScoreTable, reranker: str) -> ScoreTable:
    """Return the table whose first stage is a reranker itself: its order, its own raw scores.

    For instance Patchify as a retriever, whose similarities are the global scores of the next
    stage. No cascade gives these fused scores, since a stage's scores go through its sigmoid.

    Raises:
        SettingError: no such reranker.
        TableError: it has not scored all candidates.
    """
    name = table.reranker(reranker)
    require_scores(table, name, table.size)
    empty = table.rows == EMPTY
    scores = np.where(empty, np.float32(-np.inf), table.local_scores[name])
    order = np.argsort(-scores, axis=1, kind="stable")
    filled = np.where(np.isneginf(scores) & ~empty, np.finfo(np.float32).min, scores)
    moved = np.take_along_axis(filled.astype(np.float32), order, axis=1)
    return _reordered(table, order, moved, f"ranked by {name}")


def _falling(scores: Floats, cut: int) -> Floats:
    """Move the scores from slot ``cut`` on below those before, which keeps their order."""
    if cut in (0, scores.shape[1]):
        return scores
    moved = scores.copy()
    least = np.where(np.isfinite(scores[:, :cut]), scores[:, :cut], np.inf).min(axis=1)
    behind, first = scores[:, cut:], scores[:, cut, None]
    with np.errstate(invalid="ignore"):
        lowered = least[:, None] + np.minimum(behind - first, 0)
    moved[:, cut:] = np.where(np.isneginf(behind), -np.inf, lowered)
    return moved


def _reordered(table: ScoreTable, order: Rows, scores: Floats, how: str) -> ScoreTable:
    def move(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.take_along_axis(values, order, axis=1)

    kept = [name for name in table.local_scores if name not in table.list_depths]
    fields: dict[str, Any] = {name: move(getattr(table, name)) for name in MOVED}
    whole = [name for name in table.overlaps if name in kept or name not in table.local_scores]
    made_of = f"{table.fingerprint}|{how}" if table.fingerprint else ""
    return replace(
        table,
        **fields,
        global_scores=scores,
        local_scores={name: move(table.local_scores[name]) for name in kept},
        overlaps={name: move(table.overlaps[name]) for name in whole},
        costs={name: cost for name, cost in table.costs.items() if name in (*kept, GLOBAL)},
        list_depths={},
        fingerprint=made_of and hashlib.sha256(made_of.encode()).hexdigest(),
        about={**table.about, "first_stage": how},
    )
