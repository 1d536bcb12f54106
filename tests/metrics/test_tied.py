"""What ties leave open, against every order that is equally right."""

from __future__ import annotations

from itertools import chain, groupby, permutations, product

import numpy as np
import pytest

from patchrerank.metrics import average_precision, parse_convention
from patchrerank.metrics.tied import tied_range

NAMES = ["full", "@3", "revisited", "ilias@3", "ames-rectangular@3", "ames-trapezoidal"]


def orders(scores):
    """Every order of the places that keeps the scores in order."""
    places = range(len(scores))
    ties = [list(tie) for _, tie in groupby(places, key=lambda place: scores[place])]
    return [list(chain.from_iterable(chosen)) for chosen in product(*map(permutations, ties))]


@pytest.mark.parametrize("name", NAMES)
def test_the_range_is_that_of_all_orders(name):
    convention, rng = parse_convention(name), np.random.default_rng(3)
    for _ in range(25):
        scores = -np.sort(rng.integers(0, 3, 6)).astype(np.float32)
        relevant, junk = rng.random(6) < 0.4, rng.random(6) < 0.2
        if not (relevant & ~junk).any():
            continue
        n = int((relevant & ~junk).sum()) + 1
        values = [
            average_precision(relevant[order], n, convention, scores=scores, junk=junk[order])
            for order in orders(scores)
        ]
        found = tied_range(relevant[None], [n], convention, scores=[scores[None]], junk=junk[None])
        assert found.lowest == pytest.approx(min(values), abs=1e-12)
        assert found.highest == pytest.approx(max(values), abs=1e-12)
        assert found.queries == (max(values) > min(values) + 1e-12)


def test_candidates_tie_in_all_scores_or_not_at_all():
    relevant = [[False, True]]
    tied, parted, unknown = [[0.5, 0.5]], [[0.4, 0.3]], [[np.nan, np.nan]]
    assert tied_range(relevant, [1], scores=[tied, unknown]).highest == 1.0
    assert tied_range(relevant, [1], scores=[tied, parted]).highest == 0.5
    assert tied_range(relevant, [1], scores=[tied], valid=[[True, True]]).queries == 1


def test_queries_without_positives_and_empty_lists():
    found = tied_range([[False, False]], [0], scores=[[[1.0, 1.0]]])
    assert found.queries == 0 and np.isnan(found.lowest)
    empty = np.zeros((2, 0))
    assert tied_range(empty, [1, 1], scores=[empty]).highest == 0.0
    slots = np.array([[0.5, -np.inf, -np.inf]])
    filled = [[True, False, False]]
    assert tied_range([[True, False, False]], [1], scores=[slots], valid=filled).queries == 0
