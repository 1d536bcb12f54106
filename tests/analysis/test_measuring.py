from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from patchrerank.analysis.measuring import measure_probabilities
from patchrerank.analysis.relevance import Relevance
from patchrerank.calibration import reliability
from patchrerank.types import Ranking, Shortlist


def judged(seed=0, queries=4, width=20):
    rng = np.random.default_rng(seed)
    rows = np.tile(np.arange(width), (queries, 1))
    rows[1, 3:] = -1
    scores = np.tile(np.linspace(1, 0, width, dtype=np.float32), (queries, 1))
    ranking = Ranking.of(Shortlist(rows, scores))
    shape = rows.shape
    junk, nothing = rng.random(shape) < 0.2, np.zeros(shape, dtype=np.float32)
    relevance = Relevance(
        rng.random(shape) < 0.4, junk, nothing, nothing, np.full(queries, 9), rows >= 0
    )
    found = rng.random(shape).astype(np.float32)
    found[2, 12:] = np.nan
    return relevance, replace(ranking, probabilities=found)


def test_the_first_known_probabilities_are_compared_with_what_is_true():
    relevance, ranking = judged()
    found = measure_probabilities(relevance, ranking)
    for count in (5, 10):
        pairs = []
        for query in range(4):
            slots = [
                k for k in range(20)
                if relevance.valid[query, k] and not relevance.junk[query, k]
                and not np.isnan(ranking.probabilities[query, k])
            ]  # fmt: skip
            pairs += [
                (ranking.probabilities[query, k], relevance.relevant[query, k])
                for k in slots[:count]
            ]
        held = reliability(*zip(*pairs, strict=True))
        assert found[f"first {count}"]["brier"] == pytest.approx(held.brier)
        assert found[f"first {count}"]["calibration_error"] == pytest.approx(held.calibration_error)


def test_without_probabilities_nothing_is_said():
    relevance, ranking = judged()
    assert measure_probabilities(relevance, replace(ranking, probabilities=None)) is None
    unknown = np.full_like(ranking.probabilities, np.nan)
    assert measure_probabilities(relevance, replace(ranking, probabilities=unknown)) is None
