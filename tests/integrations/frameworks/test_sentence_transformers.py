from __future__ import annotations

import numpy as np
import pytest

from patchrerank.integrations.frameworks.sentence_transformers import PatchRerankEncoder
from patchrerank.testing.colours import IDS, colour_query
from patchrerank.testing.frameworks import Answer, FrameworkConformance


class TestEncoder(FrameworkConformance):
    def rerank(self, reranking, query, candidates, top_k=None):
        found = PatchRerankEncoder(reranking).rank(
            query, [c.id for c in candidates], top_k, return_documents=True
        )
        assert all(candidates[one["corpus_id"]].id == one["text"] for one in found)
        return [Answer(one["text"], one["score"], one) for one in found]

    def test_pairs_are_predicted_in_their_order(self, reranking):
        made = PatchRerankEncoder(reranking)
        pairs = [("red", "grey0.png"), ("green", "green.png"), ("red", "red.png"), ("red", "?")]
        scores = made.predict(pairs)
        assert scores.dtype == np.float32
        assert scores[2] > 0.99 > scores[0] > -1e9
        assert scores[1] > 0.99
        assert scores[3] == -1e9
        assert made.predict(("red", "red.png")) == scores[2]
        assert made.predict([(colour_query("red"), {"id": "red.png"})])[0] > 0.99
        assert made.predict([]).shape == (0,)

    def test_its_own_evaluator_takes_it(self, reranking):
        module = pytest.importorskip("sentence_transformers.cross_encoder.evaluation")
        samples = [
            {"query": name, "positive": [f"{name}.png"], "documents": list(IDS)[::-1]}
            for name in ("red", "green", "blue")
        ]
        evaluator = module.CrossEncoderRerankingEvaluator(samples, show_progress_bar=False)
        found = evaluator(PatchRerankEncoder(reranking))
        assert {round(value, 6) for key, value in found.items() if "base" not in key} == {1.0}
