"""Cascades: several rerankers, each rescoring the head that the one before it left."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from patchrerank.calibration import Calibration
from patchrerank.errors import SettingError, described
from patchrerank.fusion import Fusion, narrowed
from patchrerank.rerankers.base import Reranker, rescore, with_local
from patchrerank.rerankers.given_queries import Query
from patchrerank.rerankers.ranker import Ranker
from patchrerank.types import EMPTY, Floats, Hit, Queries, Ranking, Shortlist

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder
    from patchrerank.kernels.devices import Device
    from patchrerank.pipeline.query_encoders import QueryEncoders


@dataclass(frozen=True)
class Stage:
    """One reranker and how its scores are fused with what came before.

    Raises:
        SettingError: something else in their places.
    """

    reranker: Reranker
    fusion: Fusion

    def __post_init__(self) -> None:
        if not isinstance(self.reranker, Reranker):
            raise SettingError(
                f"a stage's reranker is {described(self.reranker)}; make it of one, such as "
                "Stage(Patchify(gallery), Fusion(0.3, 4)), or name it in text: "
                "load_reranker(gallery, 'patchify:400:0.3:4')"
            )
        if not isinstance(self.fusion, Fusion):
            raise SettingError(f"a stage's fusion is {described(self.fusion)}; use Fusion(…)")

    def __repr__(self) -> str:
        return f"Stage({self.fusion.stage_text(self.reranker.name)})"


class Cascade(Ranker):
    """A list of stages; the fused score of one is the global score of the next.

    A stage with ``shortlist_size=0`` does nothing. Later stages must not reach further down
    than earlier ones: behind a stage's cut the scores are on another scale.

    Args:
        stages: all on one gallery, with one query crop and the same query views.
        calibration: gives the candidates that the last stage rescored a probability; it must
            have been fitted behind these stages, since others have scores on another scale.
        encoders: of query pictures, where no stage has its own; loaded when a picture comes.

    Raises:
        SettingError: no stages, something that is none, several galleries, query crops or
            views, or growing shortlists.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        calibration: Calibration | None = None,
        encoders: QueryEncoders | None = None,
    ) -> None:
        self.stages = _checked(stages)
        self.calibration = calibration
        self._encoders = encoders
        first = self.stages[0].reranker
        self.gallery = first.gallery
        self.query_crop = first.query_crop
        self.query_views = first.query_views
        own = (stage.reranker.encoder for stage in self.stages)
        self.encoder = next((encoder for encoder in own if encoder is not None), None)

    def query_encoder(self) -> Encoder | None:
        """Return what encodes query pictures: a stage's own, or what is loaded now."""
        if self.encoder is None and self._encoders is not None:
            return self._encoders.encoder
        return self.encoder

    def __repr__(self) -> str:
        stages = ", ".join(map(repr, self.stages))
        return f"Cascade({stages} on {str(self.gallery.folder)!r})"

    @property
    def first_lam(self) -> float:
        """λ of the first stage that does anything; see the base class."""
        rescoring = (s.fusion.lam for s in self.stages if s.fusion.shortlist_size != 0)
        return next(rescoring, 0.0)

    def encode(
        self,
        queries: Sequence[Query],
        boxes: Sequence[npt.ArrayLike | None] | None = None,
        masks: Sequence[Any] | None = None,
    ) -> Queries:
        """Encode pictures once with whatever any of the stages needs; see the base class."""
        return self.complete(super().encode(queries, boxes, masks))

    def complete(self, queries: Queries) -> Queries:
        """Add the local descriptors that a stage needs to queries that have pictures."""
        for stage in self.stages:
            queries = stage.reranker.complete(queries)
        wanting = any("local" in stage.reranker.reads for stage in self.stages)
        if not wanting or self._encoders is None or queries.images is None or queries.local:
            return queries
        return with_local(queries, self._encoders.dense_encoder)

    def answer(
        self, queries: Sequence[object], lists: Any, scores: Any, top_k: Any
    ) -> list[list[Hit]] | None:
        """Answer plain requests, where there is only one stage; see the base class."""
        if len(self.stages) > 1 or self.calibration is not None:
            return None
        only = self.stages[0]
        return only.reranker.plain_answers(queries, lists, scores, top_k, only.fusion)

    def _placed(self, device: Device | None) -> Self:
        made = copy(self)
        stages = ((stage.reranker._placed(device), stage.fusion) for stage in self.stages)
        made.stages = tuple(Stage(*stage) for stage in stages)
        return made

    def rerank(self, queries: Queries, shortlist: Shortlist) -> Ranking:
        """Run all stages.

        In the result, ``global_scores`` are the first stage's, ``local_scores`` those of the
        last stage that saw the candidate, and a box is the last one that was found.
        Probabilities are those of the candidates that the last stage rescored.
        """
        ranking = Ranking.of(shortlist, queries.crops, queries.views)
        for stage in self.stages:
            ranking = rescore(stage.reranker, stage.fusion, queries, ranking)
        if self.calibration is None:
            return ranking
        return replace(ranking, probabilities=self._probabilities(self.calibration, ranking))

    def _probabilities(self, calibration: Calibration, ranking: Ranking) -> Floats:
        """Return them for what the last stage rescored; behind that, scores are of another one."""
        sizes = [stage.fusion.shortlist_size for stage in self.stages]
        head = next((size for size in reversed(sizes) if size != 0), 0)
        filled = ranking.rows != EMPTY
        found = np.full(ranking.rows.shape, np.nan, dtype=np.float32)
        found[:, :head] = calibration.probabilities(ranking.scores[:, :head], filled[:, :head])
        found[~filled] = np.nan
        if ranking.failed:  # scores of an earlier stage are on another scale
            found[[bool(reason) for reason in ranking.failed]] = np.nan
        return found


def _checked(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    if not isinstance(stages, list | tuple):
        raise SettingError(f"the stages are {described(stages)}; use a list of Stage")
    if not stages:
        raise SettingError("a cascade needs at least one stage")
    other = next((stage for stage in stages if not isinstance(stage, Stage)), None)
    if other is not None:
        raise SettingError(f"a stage is {described(other)}; use Stage(reranker, Fusion(…))")
    first = stages[0].reranker
    limit = float("inf")
    for number, stage in enumerate(stages):
        if stage.reranker.gallery is not first.gallery:
            raise SettingError(f"stage {number} uses another gallery than stage 0")
        if stage.reranker.query_crop != first.query_crop:
            raise SettingError(f"stage {number} has another query_crop than stage 0")
        if stage.reranker.query_views != first.query_views:
            raise SettingError(f"stage {number} has other query_views than stage 0")
        limit = narrowed(limit, number, stage.fusion.shortlist_size)
    return tuple(stages)
