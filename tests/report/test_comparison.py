"""What of a ranking is shown, and the result in a sentence."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from patchrerank.fusion import Fusion
from patchrerank.report import ReportColumn, ReportQuery
from patchrerank.report.comparison import result_sentence, shown_scores
from patchrerank.types import LocalScores, Ranking, Shortlist

ROWS = np.array([[4, 2, 7, -1], [1, 0, -1, -1]])
GLOBAL = np.array([[0.9, 0.5, 0.4, -np.inf], [0.8, 0.7, -np.inf, -np.inf]], dtype=np.float32)
LOCAL = np.array([[0.1, 0.9, 0.3, -np.inf], [0.2, 0.6, -np.inf, -np.inf]], dtype=np.float32)


def fused(fusion):
    return fusion.apply(Ranking.of(Shortlist(ROWS, GLOBAL)), LocalScores(LOCAL))


def test_where_the_local_score_alone_made_the_order_it_is_shown():
    shown = shown_scores(fused(Fusion(0.0, 1.0)))
    expected = [[0.9, 0.3, 0.1, -np.inf], [0.6, 0.2, -np.inf, -np.inf]]
    np.testing.assert_array_equal(shown, np.array(expected, dtype=np.float32))


@pytest.mark.parametrize("fusion", [Fusion(0.95, 1.0), Fusion(0.0, 1.0, 2), Fusion(1.0, 1.0)])
def test_otherwise_the_fused_score_is_shown(fusion):
    ranking = fused(fusion)
    assert shown_scores(ranking) is ranking.scores


def test_of_the_first_stage_its_own_score_is_shown():
    ranking = Ranking.of(Shortlist(ROWS, GLOBAL))
    assert shown_scores(ranking) is ranking.scores


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ([0.2, 0.1, 0.0, -0.1], "2 of 4 queries better, 1 worse."),
        ([0.2, None, 0.0004], "1 of 2 queries better, none worse."),
        ([-0.2], "none of 1 queries better, 1 worse."),
    ],
)
def test_the_result_counts_the_queries_that_have_a_precision(gains, said):
    queries = [
        ReportQuery(
            "q",
            Image.new("RGB", (4, 4)),
            None,
            (
                ReportColumn("a", 0.5, ()),
                ReportColumn("b", 1.0, ()),
                ReportColumn("c", None if gain is None else 0.5 + gain, ()),
            ),
        )
        for gain in gains
    ]
    measured = {
        name: SimpleNamespace(metrics={"mAP": value})
        for name, value in (("a", 56.78), ("b", 99.0), ("c", 80.42))
    }
    assert result_sentence(queries, measured) == f"a 56.8 → c 80.4 mAP: {said}"
    assert result_sentence(queries, {"a": measured["a"]}) == ""
