"""LanceDB: a ``Reranker`` for vector and hybrid search.

Run with lancedb 0.40 (extra ``lancedb``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from patchrerank.errors import ShortlistError
from patchrerank.integrations.extras import of_extra
from patchrerank.integrations.frameworks.candidates import Placed
from patchrerank.integrations.frameworks.reranking import Reranking

with of_extra("lancedb", "lancedb", "pyarrow"):
    import pyarrow as pa
    from lancedb.rerankers import Reranker

BOX = pa.list_(pa.float32(), 4)


class PatchRerankReranker(Reranker):
    """Rows of a search in a better order, with ``_relevance_score`` (falls strictly).

    LanceDB hands rerankers a string alone, so a picture is given here. Columns ``_global_score``,
    ``_local_score``, ``_box`` and ``_status`` come along. LanceDB's default distance is the
    *squared* L2: say ``metric="l2-squared"`` in ``reranking``, or search with
    ``.distance_type("cosine")`` and say ``cosine-distance``; with no metric only the order counts.

    Args:
        reranking: the reranker, and what queries are.
        id_column: the column with the gallery's ids; it must be among those selected.
        query: what is asked for in place of LanceDB's string: a picture, a vector, words.
    """

    def __init__(self, reranking: Reranking, id_column: str = "id", query: Any = None) -> None:
        super().__init__("all")
        self.reranking, self.id_column, self.query = reranking, id_column, query

    def rerank_vector(self, query: str, vector_results: pa.Table) -> pa.Table:
        """Return the rows of a vector search in a better order.

        Raises:
            ShortlistError: there is no column of ids.
            PatchRerankError: as :meth:`patchrerank.rerankers.Ranker.rank` does.
        """
        scores = None
        if self.reranking.metric is not None and "_distance" in vector_results.column_names:
            scores = vector_results["_distance"].to_pylist()
        return self._placed(query, vector_results, scores)

    def rerank_fts(self, query: str, fts_results: pa.Table) -> pa.Table:
        """Return the rows of a full-text search in a better order; only their order counts."""
        return self._placed(query, fts_results, None)

    def rerank_hybrid(
        self, query: str, vector_results: pa.Table, fts_results: pa.Table
    ) -> pa.Table:
        """Return the rows of both, those of the vector search first; only their order counts."""
        return self._placed(query, self.merge_results(vector_results, fts_results), None)

    def _placed(self, query: str, table: pa.Table, scores: list[float] | None) -> pa.Table:
        if self.id_column not in table.column_names:
            raise ShortlistError(
                f"the search returned no column {self.id_column!r}, only "
                f"{', '.join(table.column_names)}; select it, or name another as id_column"
            )
        asked = query if self.query is None else self.query
        found = self.reranking.place(asked, table[self.id_column].to_pylist(), scores)
        moved = table.take(pa.array([one.index for one in found], pa.int64()))
        for name, column in _columns(found).items():
            moved = moved.append_column(name, column)
        return moved


def _columns(found: list[Placed]) -> dict[str, pa.Array]:
    records = [one.record() for one in found]
    scores = np.array([one.score for one in found], dtype=np.float32)
    return {
        "_global_score": pa.array([record["global_score"] for record in records], pa.float32()),
        "_local_score": pa.array([record["local_score"] for record in records], pa.float32()),
        "_box": pa.array([record["box"] for record in records], BOX),
        "_status": pa.array([record["status"] for record in records], pa.string()),
        "_relevance_score": pa.array(scores, pa.float32()),
    }
