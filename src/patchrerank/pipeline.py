"""Cascades: several rerankers, each rescoring the head that the one before it left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from patchrerank.errors import SettingError
from patchrerank.fusion import Fusion
from patchrerank.rerankers._local import with_local
from patchrerank.rerankers.base import Query, Ranker, Reranker, rescore
from patchrerank.types import Queries, Ranking, Shortlist


@dataclass(frozen=True)
class Stage:
    """One reranker and how its scores are fused with what came before."""

    reranker: Reranker
    fusion: Fusion


@dataclass(frozen=True)
class StageSpec:
    """One stage as text: a reranker's name and its fusion."""

    name: str
    fusion: Fusion


def parse_stages(text: str) -> list[StageSpec]:
    """Parse ``patchify:400,chamfer:100:0.5:2``: stages ``name[:K[:lam[:gamma]]]``.

    K is a number of candidates or ``all`` (the default); λ is 0 and γ is 1 unless given.

    Raises:
        SettingError: a malformed stage, or settings out of range. Whether a reranker of that
            name exists is for whoever makes it to say.
    """
    return [_parse_stage(part.strip()) for part in text.split(",")]


def _parse_stage(text: str) -> StageSpec:
    name, *numbers = text.split(":")
    try:
        size = None if not numbers or numbers[0] == "all" else int(numbers[0])
        lam, gamma = (float(value) for value in [*numbers[1:], *("0", "1")[len(numbers[1:]) :]])
    except ValueError:
        raise SettingError(
            f"stage {text!r} is malformed; use name[:K[:lam[:gamma]]], as in patchify:400:0.3:4"
        ) from None
    if not name:
        raise SettingError(f"stage {text!r} names no reranker")
    return StageSpec(name, Fusion(lam, gamma, size))


class Cascade(Ranker):
    """A list of stages; the fused score of one is the global score of the next.

    A stage with ``shortlist_size=0`` does nothing. Later stages must not reach further down
    than earlier ones: behind a stage's cut the scores are on another scale.

    Args:
        stages: all on one gallery, with one query crop.

    Raises:
        SettingError: no stages, several galleries or query crops, or growing shortlists.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        if not stages:
            raise SettingError("a cascade needs at least one stage")
        self.stages = tuple(stages)
        first = self.stages[0].reranker
        self.gallery = first.gallery
        self.query_crop = first.query_crop
        self.encoder = next(
            (s.reranker.encoder for s in self.stages if s.reranker.encoder is not None), None
        )
        _check(self.stages)

    def encode(
        self, queries: Sequence[Query], boxes: Sequence[npt.ArrayLike | None] | None = None
    ) -> Queries:
        """Encode pictures once with whatever any of the stages needs; see the base class."""
        return self.complete(super().encode(queries, boxes))

    def complete(self, queries: Queries) -> Queries:
        """Add the local descriptors that a stage needs to queries that have pictures."""
        for stage in self.stages:
            queries = with_local(queries, getattr(stage.reranker, "dense_encoder", None))
        return queries

    def rerank(self, queries: Queries, shortlist: Shortlist) -> Ranking:
        """Run all stages.

        In the result, ``global_scores`` are the first stage's, ``local_scores`` those of the
        last stage that saw the candidate, and a box is the last one that was found.
        """
        ranking = Ranking(
            rows=shortlist.rows,
            scores=shortlist.scores,
            global_scores=shortlist.scores,
            local_scores=np.full(shortlist.rows.shape, np.nan, dtype=np.float32),
            boxes=np.full((*shortlist.rows.shape, 4), np.nan, dtype=np.float32),
            crop=queries.crop,
        )
        for stage in self.stages:
            size = stage.fusion.shortlist_size
            width = ranking.rows.shape[1]
            if size != 0 and width:
                ranking = _advance(ranking, stage, queries, width if size is None else size)
        return ranking


def _advance(ranking: Ranking, stage: Stage, queries: Queries, size: int) -> Ranking:
    """Replace the first ``size`` slots of ``ranking`` by what ``stage`` makes of them."""
    head = Shortlist(ranking.rows[:, :size], ranking.scores[:, :size])
    fusion = replace(stage.fusion, shortlist_size=None)
    new = rescore(stage.reranker, fusion, queries, head)
    place = _places(head, new)
    boxes = np.take_along_axis(ranking.boxes[:, :size], place[..., None], axis=1)
    found = ~np.isnan(new.boxes).any(axis=-1, keepdims=True)
    kept = np.take_along_axis(ranking.global_scores[:, :size], place, axis=1)
    return Ranking(
        rows=np.concatenate([new.rows, ranking.rows[:, size:]], axis=1),
        scores=np.concatenate([new.scores, ranking.scores[:, size:]], axis=1),
        global_scores=np.concatenate([kept, ranking.global_scores[:, size:]], axis=1),
        local_scores=np.concatenate([new.local_scores, ranking.local_scores[:, size:]], axis=1),
        boxes=np.concatenate([np.where(found, new.boxes, boxes), ranking.boxes[:, size:]], axis=1),
        crop=ranking.crop,
        settings=(*ranking.settings, f"{stage.reranker.name}: {stage.fusion}"),
    )


def _places(head: Shortlist, new: Ranking) -> npt.NDArray[np.int64]:
    """Return for each slot of ``new`` where its image stood in ``head``."""
    before = np.argsort(head.rows, axis=1, kind="stable")
    after = np.argsort(np.argsort(new.rows, axis=1, kind="stable"), axis=1, kind="stable")
    return np.take_along_axis(before, after, axis=1)


def _check(stages: Sequence[Stage]) -> None:
    first = stages[0].reranker
    limit = float("inf")
    for number, stage in enumerate(stages):
        if stage.reranker.gallery is not first.gallery:
            raise SettingError(f"stage {number} uses another gallery than stage 0")
        if stage.reranker.query_crop != first.query_crop:
            raise SettingError(f"stage {number} has another query_crop than stage 0")
        size = stage.fusion.shortlist_size
        reach = float("inf") if size is None else size
        if reach > limit:
            raise SettingError(
                f"stage {number} rescores {size or 'all'} candidates, an earlier stage only "
                f"{limit:g}; shortlist sizes must not grow from stage to stage"
            )
        limit = min(limit, reach or limit)
