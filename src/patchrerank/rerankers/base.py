"""What a reranker is: one method, which says all about itself."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy.typing as npt

from patchrerank.errors import QueryError, SettingError, described
from patchrerank.fusion import Fusion
from patchrerank.gallery import Gallery, encode_local_queries
from patchrerank.gallery.own_encoder import check_encoder
from patchrerank.gallery.query_views import read_masks
from patchrerank.gallery.stores import PATCH_ARRAYS
from patchrerank.rerankers.fallback import fallen_back
from patchrerank.rerankers.given_queries import Query
from patchrerank.rerankers.ranker import Ranker
from patchrerank.types import Hit, LocalScores, Queries, QueryCrop, Ranking, Shortlist

if TYPE_CHECKING:
    from patchrerank.encoders import DenseEncoder, Encoder
    from patchrerank.rerankers.stage_parts import StageParts

Read = Literal["patches", "local", "globals", "pictures"]
"""What of a gallery a reranker looks at."""


class Reranker(Ranker):
    """One method; a new one is one file with one class that implements :meth:`score`.

    It says all about itself, so that nobody asks for its class or name.

    Attributes:
        name: of the method, in a stage's text and in records.
        reads: what of the gallery it looks at: ``patches``, ``local`` (local descriptors),
            ``globals`` (global vectors), ``pictures`` (the files, again).
        list_depth: how many first candidates of a list a score depends on; 0: on the pair alone.
        takes_checkpoint: whether a stage's text names a file behind it, ``name@FILE``.
        dense_encoder: makes the local descriptors of query pictures, where it reads ``local``.

    Args:
        gallery: where the candidates' local evidence lies.
        encoder: encodes query pictures; not needed for ready vectors.
        fusion: how local and global scores are joined by :meth:`rerank`.
        query_crop: what is done with a query's box before it is encoded.

    Raises:
        SettingError: something else in their places (a path is no open gallery, text no encoder).
        QueryError: the encoder's vectors do not live in the gallery's space; says what differs.
    """

    name: str = ""
    reads: frozenset[Read] = frozenset()
    list_depth: int = 0
    takes_checkpoint: bool = False
    dense_encoder: DenseEncoder | None = None

    def __init__(
        self,
        gallery: Gallery,
        encoder: Encoder | None = None,
        fusion: Fusion | None = None,
        query_crop: QueryCrop = "none",
    ) -> None:
        check_parts(gallery, encoder, fusion, query_crop)
        self.gallery = gallery
        self.encoder = encoder
        self.fusion = fusion if fusion is not None else Fusion()
        self.query_crop = query_crop

    def __repr__(self) -> str:
        how = self.fusion.stage_text(self.name)
        return f"{type(self).__name__}({how} on {str(self.gallery.folder)!r})"

    @property
    def first_lam(self) -> float:
        """λ that weighs the scores of a shortlist; 0 where only its order counts."""
        return 0.0 if self.fusion.shortlist_size == 0 else self.fusion.lam

    @classmethod
    def from_stage(cls, parts: StageParts) -> Reranker:
        """Make one of a stage's text; classes with other arguments of their own override it."""
        return cls(parts.gallery, parts.encoder, query_crop=parts.query_crop)

    def bytes_read(self) -> dict[str, float]:
        """Return the bytes an image that it reads of its gallery, by what is read."""
        images = max(len(self.gallery), 1)
        return {kind: self._bytes_of(kind) / images for kind in sorted(self.reads)}

    def _bytes_of(self, kind: Read) -> float:
        """Return the bytes of all images; NaN where nobody knows."""
        if kind == "pictures":
            return float("nan")
        if kind == "local":
            return sum(self.gallery.local.nbytes().values())
        sizes = self.gallery.nbytes()
        names = PATCH_ARRAYS if kind == "patches" else ("globals",)
        return sum(sizes[name] for name in names if name in sizes)

    def complete(self, queries: Queries) -> Queries:
        """Add what it compares beside global vectors to queries that have pictures."""
        if "local" not in self.reads:
            return queries
        return with_local(queries, self.dense_encoder)

    def encode(
        self,
        queries: Sequence[Query],
        boxes: Sequence[npt.ArrayLike | None] | None = None,
        masks: Sequence[Any] | None = None,
    ) -> Queries:
        """Encode pictures with every encoder that it needs; see the base class."""
        return self.complete(super().encode(queries, boxes, masks))

    @abstractmethod
    def score(self, queries: Queries, shortlist: Shortlist) -> LocalScores:
        """Score each candidate by local evidence.

        Args:
            queries: Q encoded queries.
            shortlist: ``(Q, K)`` candidates.

        Returns:
            float32 scores ``(Q, K)``, higher is better, ``-inf`` in empty slots, and boxes
            ``(Q, K, 4)`` where the method localises.

        Raises:
            QueryError: the queries do not live in the gallery's space.
        """

    def answer(
        self, queries: Sequence[object], lists: Any, scores: Any, top_k: Any
    ) -> list[list[Hit]] | None:
        """Answer plain requests; see the base class."""
        return self.plain_answers(queries, lists, scores, top_k, self.fusion)

    def plain_answers(
        self, queries: Sequence[object], lists: Any, scores: Any, top_k: Any, fusion: Fusion
    ) -> list[list[Hit]] | None:
        """Return the hits of requests, fused like this, if there is a quick way; else None."""
        return None

    def rescored(self, fusion: Fusion, queries: Queries, ranking: Ranking, size: int) -> Ranking:
        """Score the first ``size`` candidates of a ranking and fuse; at least one."""
        local = self.score(queries, ranking.head(size))
        found = fusion.apply(ranking, local)
        if local.failed:
            found = fallen_back(found, ranking, self.name, local.failed)
        return found

    def rerank(self, queries: Queries, shortlist: Shortlist) -> Ranking:
        """Score the head of the shortlist that the fusion rescores, and fuse."""
        begun = Ranking.of(shortlist, queries.crops, queries.views)
        return rescore(self, self.fusion, queries, begun)


def with_local(queries: Queries, encoder: DenseEncoder | None) -> Queries:
    """Add local descriptors, in boxes and masks, to queries with pictures and no ``local``."""
    if encoder is None or queries.images is None or queries.local is not None:
        return queries
    boxes = None if queries.boxes is None else list(queries.boxes)
    masks = None if queries.masks is None else read_masks(queries.images, queries.masks)
    return replace(queries, local=encode_local_queries(encoder, queries.images, boxes, masks))


def check_parts(gallery: object, encoder: object, fusion: object, query_crop: object) -> None:
    """Refuse what no reranker can be made of.

    Raises:
        SettingError: names the argument, what was given, and what belongs there.
        QueryError: the encoder is not the gallery's.
    """
    if isinstance(gallery, str | os.PathLike):
        raise SettingError(
            f"the gallery is {described(gallery)}; open it, as in Gallery({str(gallery)!r}), or "
            f"make the reranker with load_reranker({str(gallery)!r})"
        )
    if fusion is not None and not isinstance(fusion, Fusion):
        raise SettingError(f"the fusion is {described(fusion)}; use Fusion(lam=…, gamma=…)")
    if query_crop not in get_args(QueryCrop):
        raise SettingError(f"query_crop is {described(query_crop)}; use 'none' or 'box'")
    if not hasattr(gallery, "check_queries"):
        raise SettingError(
            f"the gallery is {described(gallery)}; open one, as in Gallery('folder')"
        )
    if encoder is not None:
        check_encoder(cast(Gallery, gallery), cast("Encoder", encoder))


def rescore(reranker: Reranker, fusion: Fusion, queries: Queries, ranking: Ranking) -> Ranking:
    """Run one stage: only candidates within its cut are scored, fused and re-sorted."""
    if len(queries) != len(ranking):
        raise QueryError(f"{len(queries)} queries but {len(ranking)} shortlists")
    size = fusion.size_of(ranking.rows.shape[1])
    if not size:
        return ranking
    found = reranker.rescored(fusion, queries, ranking, size)
    return replace(found, settings=(*ranking.settings, f"{reranker.name}: {fusion.record}"))
