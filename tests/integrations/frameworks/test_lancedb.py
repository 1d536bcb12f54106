from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from later import later

lancedb = later("lancedb")
pa = later("pyarrow")
adapter = later("patchrerank.integrations.frameworks.lancedb")

from patchrerank.errors import ShortlistError
from patchrerank.testing.colours import BOXES, IDS, colour_query
from patchrerank.testing.frameworks import Answer, FrameworkConformance


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    rows = [{"id": name, "vector": [float(n), 1.0]} for n, name in enumerate(IDS)]
    return lancedb.connect(tmp_path_factory.mktemp("lance")).create_table("t", rows)


class TestReranker(FrameworkConformance):
    def rerank(self, reranking, query, candidates, top_k=None):
        ids = [None if c.id is None else str(c.id) for c in candidates]
        given = pa.table({"id": pa.array(ids, pa.string()), "_distance": np.zeros(len(ids))})
        found = adapter.PatchRerankReranker(reranking).rerank_vector(query, given)
        assert found["_relevance_score"].type == pa.float32()
        assert given.column_names == ["id", "_distance"]
        rows = found.slice(0, top_k).to_pylist()
        known = [{name.lstrip("_"): value for name, value in row.items()} for row in rows]
        return [
            Answer(row["id"], row["_relevance_score"], more)
            for row, more in zip(rows, known, strict=True)
        ]

    def test_in_a_search(self, reranking, table):
        made = adapter.PatchRerankReranker(reranking)
        found = table.search([0.0, 1.0]).limit(6).rerank(made, query_string="blue").to_list()
        assert found[0]["id"] == "blue.png"
        assert found[0]["_box"] == pytest.approx(BOXES["blue"])

    def test_in_an_asynchronous_search(self, reranking, tmp_path):
        async def search():
            connection = await lancedb.connect_async(tmp_path)
            rows = [{"id": name, "vector": [float(n), 1.0]} for n, name in enumerate(IDS)]
            table = await connection.create_table("t", rows)
            query = table.query().nearest_to([0.0, 1.0]).limit(6)
            return await query.rerank(made, query_string="blue").to_list()

        made = adapter.PatchRerankReranker(reranking)
        found = asyncio.run(search())
        assert found[0]["id"] == "blue.png"
        scores = [row["_relevance_score"] for row in found]
        assert scores == sorted(set(scores), reverse=True)

    def test_a_picture_is_given_to_the_reranker(self, reranking, table):
        made = adapter.PatchRerankReranker(reranking, query=colour_query("green"))
        found = table.search([0.0, 1.0]).limit(6).rerank(made, query_string="any").to_list()
        assert found[0]["id"] == "green.png"

    def test_distances_are_read_by_their_metric(self, reranking, table):
        told = replace(reranking, metric="l2-squared")
        made = adapter.PatchRerankReranker(told)
        given = pa.table({"id": list(IDS), "_distance": [0.0, 0.5, 1.0, 1.5, 1.6, 1.7]})
        found = made.rerank_vector("red", given).to_pylist()
        known = {row["id"]: row["_global_score"] for row in found}
        assert [known[name] for name in IDS] == pytest.approx([1, 0.75, 0.5, 0.25, 0.2, 0.15])

    def test_a_lacking_column_is_named(self, reranking):
        with pytest.raises(ShortlistError, match="no column 'id', only name"):
            adapter.PatchRerankReranker(reranking).rerank_vector("red", pa.table({"name": ["a"]}))
