"""PyTerrier: a transformer whose λ, γ and shortlist size its own grid search tunes.

Run with python-terrier 1.1 (extra ``pyterrier``); no Java is started by it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from patchrerank.errors import ShortlistError, check_kind
from patchrerank.fusion import DEFAULT_FUSION, Fusion
from patchrerank.integrations.extras import of_extra
from patchrerank.integrations.frameworks.candidates import Placed
from patchrerank.integrations.frameworks.reranking import Reranking
from patchrerank.pipeline import Cascade, Stage
from patchrerank.rerankers.base import Reranker

with of_extra("pyterrier", "pandas", "pyterrier"):
    import pandas as pd
    import pyterrier as pt

TOLD = ("global_score", "local_score", "box", "status")


class PatchRerankTransformer(pt.Transformer):
    """Rows ``qid, query, docno, score`` in a better order, with new scores and ranks from 0.

    ``first % 100 >> PatchRerankTransformer(…)``; λ, γ and the size are parameters, so
    ``pt.GridSearch`` finds them. Columns ``global_score``, ``local_score``, ``box`` and ``status``
    come along.

    Args:
        reranking: a reranker (no cascade), and what queries are.
        lam: λ in [0, 1].
        gamma: γ ≥ 0.
        shortlist_size: how many of each query's rows are rescored; None: all.
        query_column: holds the queries; pictures and vectors may stand in it, too.

    Raises:
        SettingError: λ, γ or the size are out of range, or the ranker is a cascade.
    """

    def __init__(
        self,
        reranking: Reranking,
        lam: float = DEFAULT_FUSION.lam,
        gamma: float = DEFAULT_FUSION.gamma,
        shortlist_size: int | None = None,
        query_column: str = "query",
    ) -> None:
        super().__init__()
        self.reranking, self.query_column = reranking, query_column
        self.lam, self.gamma, self.shortlist_size = lam, gamma, shortlist_size
        self._tuned()

    def _tuned(self) -> Reranking:
        ranker = self.reranking.ranker
        check_kind("ranker", ranker, Reranker, "one reranker, such as Patchify(gallery, encoder)")
        assert isinstance(ranker, Reranker)
        fusion = Fusion(self.lam, self.gamma, self.shortlist_size)
        return replace(self.reranking, ranker=Cascade([Stage(ranker, fusion)]))

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of all queries, best first; an empty frame with all columns for none.

        Raises:
            ShortlistError: there is no column of queries or documents.
            PatchRerankError: as :meth:`patchrerank.rerankers.Ranker.rank` does.
        """
        lacking = [name for name in ("qid", "docno", self.query_column) if name not in inp.columns]
        if lacking:
            raise ShortlistError(f"the frame has no column {', '.join(lacking)}")
        frames = [group.reset_index(drop=True) for _, group in inp.groupby("qid", sort=False)]
        frames = [_best_first(frame) for frame in frames]
        queries = [frame[self.query_column].iloc[0] for frame in frames]
        ids = [frame["docno"].tolist() for frame in frames]
        placed = self._tuned().place_batch(queries, ids, [_scores(frame) for frame in frames])
        moved = [_moved(*pair) for pair in zip(frames, placed, strict=True)]
        return pd.concat(moved, ignore_index=True) if moved else _moved(inp, [])


def _best_first(frame: pd.DataFrame) -> pd.DataFrame:
    by = "rank" if "rank" in frame.columns else None
    return frame if by is None else frame.sort_values(by, kind="stable").reset_index(drop=True)


def _scores(frame: pd.DataFrame) -> list[Any] | None:
    if "score" not in frame.columns or frame["score"].isna().any():
        return None
    return [float(score) for score in frame["score"]]


def _moved(frame: pd.DataFrame, placed: list[Placed]) -> pd.DataFrame:
    """Return a query's rows at their new places."""
    records = [one.record() for one in placed]
    moved = frame.iloc[[one.index for one in placed]].reset_index(drop=True)
    moved = moved.assign(
        score=np.array([one.score for one in placed], dtype=np.float64),
        rank=np.arange(len(placed)),
    )
    return moved.assign(**{name: [record[name] for record in records] for name in TOLD})
