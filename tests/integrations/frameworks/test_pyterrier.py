from __future__ import annotations

import pytest

pt = pytest.importorskip("pyterrier")
pd = pytest.importorskip("pandas")

from patchrerank.errors import SettingError, ShortlistError
from patchrerank.integrations.frameworks.pyterrier import PatchRerankTransformer
from patchrerank.pipeline import Cascade, Stage
from patchrerank.testing.colours import IDS, colour_query
from patchrerank.testing.frameworks import Answer, FrameworkConformance, ranked


def frame(candidates, query, qid="1"):
    rows = [
        {"qid": qid, "query": query, "docno": c.id, "score": c.score, "rank": n, "body": c.body}
        for n, c in enumerate(candidates)
    ]
    return pd.DataFrame(rows, columns=["qid", "query", "docno", "score", "rank", "body"])


class TestTransformer(FrameworkConformance):
    def rerank(self, reranking, query, candidates, top_k=None):
        given = frame(candidates, query)
        before = given.copy(deep=True)
        found = PatchRerankTransformer(reranking)(given)
        pd.testing.assert_frame_equal(given, before)
        assert found["rank"].tolist() == list(range(len(found)))
        rows = found.to_dict("records")[:top_k]
        return [Answer(row["docno"], float(row["score"]), row) for row in rows]

    def test_several_queries_and_pictures(self, reranking):
        both = pd.concat(
            [frame(ranked(IDS), "red", "a"), frame(ranked(IDS), colour_query("green"), "b")]
        )
        found = PatchRerankTransformer(reranking)(both)
        best = found[found["rank"] == 0].set_index("qid")["docno"].to_dict()
        assert best == {"a": "red.png", "b": "green.png"}

    def test_in_a_pipeline(self, reranking):
        first = pt.Transformer.from_df(frame(ranked(IDS), "blue"))
        pipeline = first % 4 >> PatchRerankTransformer(reranking)
        found = pipeline(pd.DataFrame([{"qid": "1", "query": "blue"}]))
        assert len(found) == 4
        assert found["docno"][0] == "blue.png"

    def test_its_grid_search_finds_lam(self, reranking):
        topics = pd.DataFrame([{"qid": "1", "query": "blue"}])
        first = pt.Transformer.from_df(frame(ranked(IDS), "blue"))
        ours = PatchRerankTransformer(reranking, lam=1.0)
        qrels = pd.DataFrame([{"qid": "1", "docno": "blue.png", "label": 1}])
        _, best, settings = pt.GridSearch(
            first >> ours, {ours: {"lam": [1.0, 0.0]}}, topics, qrels, "map", return_type="both"
        )
        assert [(name, value) for _, name, value in settings] == [("lam", 0.0)]
        assert best == 1.0

    def test_settings_are_checked(self, reranking):
        with pytest.raises(SettingError, match="lam must lie in"):
            PatchRerankTransformer(reranking, lam=2.0)
        cascade = Cascade([Stage(reranking.ranker, reranking.ranker.fusion)])
        with pytest.raises(SettingError, match="ranker is"):
            PatchRerankTransformer(type(reranking)(cascade))

    def test_lacking_columns_are_named(self, reranking):
        with pytest.raises(ShortlistError, match="no column docno, query"):
            PatchRerankTransformer(reranking)(pd.DataFrame([{"qid": "1"}]))
