"""Component scores are enough to fuse anew, whatever the settings."""

from __future__ import annotations

import numpy as np
import pytest

from patchrerank.fusion import Fusion
from patchrerank.pipeline import Cascade, Stage
from patchrerank.rerankers import Patchify, QueryExpansion
from patchrerank.serving.explorer.components import components, scores_alone
from patchrerank.types import Queries
from synthetic import TableReranker, VectorGallery, unit_rows

OWN = (Fusion(0.3, 4.0, 9), Fusion(0.5, 1.0, 5))


class Late(TableReranker):
    """Never answers in time."""

    def score(self, queries, shortlist):
        found = super().score(queries, shortlist)
        return type(found)(found.scores, failed=("too late",))


class OfTheList(TableReranker):
    list_depth = 3


@pytest.fixture
def gallery():
    return VectorGallery(unit_rows(np.random.default_rng(2), 12, 4))


@pytest.fixture
def shortlist():
    from patchrerank.types import Shortlist

    rng = np.random.default_rng(3)
    scores = -np.sort(-rng.random((1, 12))).astype(np.float32)
    return Shortlist(rng.permutation(12)[None], scores)


def cascade(gallery, *kinds):
    rng = np.random.default_rng(4)
    made = [kind(gallery, rng.standard_normal(12)) for kind in kinds]
    return Cascade([Stage(one, how) for one, how in zip(made, OWN, strict=True)])


QUERIES = Queries(unit_rows(np.random.default_rng(5), 1, 4))


def test_stages_that_score_pairs_score_all_candidates_in_the_first_order(gallery, shortlist):
    reranker = cascade(gallery, TableReranker, TableReranker)
    for found, stage in zip(
        components(reranker, OWN, QUERIES, shortlist), reranker.stages, strict=True
    ):
        alone = stage.reranker.score(QUERIES, shortlist)
        np.testing.assert_array_equal(found.scores, alone.scores[0])
        np.testing.assert_array_equal(found.boxes, alone.boxes[0])
        assert found.head is None and not found.failed


def test_a_stage_that_looks_at_the_list_scores_what_the_settings_put_before_it(gallery, shortlist):
    reranker = cascade(gallery, TableReranker, OfTheList)
    for first in (Fusion(0.3, 4.0, 9), Fusion(0.0, 4.0, 12), Fusion(1.0, 1.0)):
        found = components(reranker, (first, OWN[1]), QUERIES, shortlist)[1]
        before = Cascade([Stage(reranker.stages[0].reranker, first)]).rerank(QUERIES, shortlist)
        rows = shortlist.rows[0][found.head]
        np.testing.assert_array_equal(rows, before.rows[0, :5])
        assert np.isnan(np.delete(found.scores, found.head)).all()
        assert not np.isnan(found.scores[found.head]).any()


def test_a_stage_that_fails_is_left_out_and_says_why(gallery, shortlist):
    found = components(cascade(gallery, Late, TableReranker), OWN, QUERIES, shortlist)
    assert found[0].failed == "too late" and not found[1].failed
    assert np.isnan(found[0].scores).all() and not np.isnan(found[1].scores).any()


def test_what_scores_alone(photos, gallery):
    opened = photos.current.gallery
    assert scores_alone(Patchify(opened))
    assert not scores_alone(QueryExpansion(opened))
    slow = TableReranker(gallery, np.zeros(12))
    slow.reads = frozenset({"pictures"})
    assert not scores_alone(slow)
