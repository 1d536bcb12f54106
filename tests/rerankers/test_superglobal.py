"""SuperGlobal against the recorded numbers and a slow twin."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.helpers.synthetic import VectorGallery

from patchrerank.errors import QueryError, SettingError
from patchrerank.first_stage import GlobalSearch
from patchrerank.fusion import Fusion
from patchrerank.rerankers.superglobal import (
    SuperGlobal,
    SuperGlobalSettings,
    refine_descriptors,
    superglobal_scores,
)
from patchrerank.types import Queries, Shortlist

REFERENCE = Path(__file__).parents[1] / "reference" / "superglobal"
CASES = ["small", "short_database"]


def case(name):
    config = json.loads((REFERENCE / name / "config.json").read_text())
    settings = SuperGlobalSettings(config["M"], config["K"], config["beta"])
    return settings, np.load(REFERENCE / name / "data.npz")


def unit(seed, count, dim=12):
    vectors = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def slow_scores(query, vectors, neighbours, beta):
    """One descriptor at a time, float64."""
    vectors = vectors.astype(np.float64)
    refined = []
    for vector in vectors:
        order = sorted(range(len(vectors)), key=lambda row: (-(vectors[row] @ vector), row))
        chosen = order[: neighbours + 1]
        weights = [1.0, *(beta * (vectors[row] @ vector) for row in chosen[1:])]
        total = sum(w * vectors[row] for w, row in zip(weights, chosen, strict=True))
        refined.append(total / sum(weights))
    refined = np.array(refined)
    first = refined @ query
    best = np.argsort(-first, kind="stable")[: neighbours + 1]
    return (first + refined @ refined[best].max(axis=0)) / 2


@pytest.mark.parametrize("name", CASES)
def test_every_recorded_number(name):
    settings, data = case(name)
    depth = data["refined_scores"].shape[1]
    for number, query in enumerate(data["Q"]):
        top = data["initial_ranks"][number, :depth]
        vectors = data["X"][top]
        refined = refine_descriptors(vectors, settings.neighbours, settings.beta)
        np.testing.assert_allclose(refined, data["refined_database"][number], rtol=0, atol=1e-6)
        first = refined @ query
        np.testing.assert_allclose(first, data["refined_scores"][number], rtol=0, atol=1e-6)
        order = data["refined_order"][number]
        assert np.array_equal(np.argsort(-first, kind="stable"), order)
        scores = superglobal_scores(query, vectors, settings.neighbours, settings.beta)
        expected = data["final_scores_sorted_by_refined"][number]
        np.testing.assert_allclose(scores[order], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_recorded_ranks_from_search_to_ranking(name):
    settings, data = case(name)
    gallery, queries = VectorGallery(data["X"]), Queries(data["Q"])
    shortlist = GlobalSearch(gallery).search(queries)
    assert np.array_equal(shortlist.rows, data["initial_ranks"])
    ranking = SuperGlobal(gallery, settings=settings).rerank(queries, shortlist)
    assert np.array_equal(ranking.rows, data["final_ranks"])
    whole = SuperGlobal(gallery, fusion=Fusion(), settings=settings).rerank(queries, shortlist)
    assert np.array_equal(whole.rows, data["final_ranks"]), "the rest keeps its order behind M"


@pytest.mark.parametrize(("count", "neighbours"), [(1, 9), (5, 0), (30, 4), (8, 9)])
def test_scores_equal_the_slow_twin(count, neighbours):
    query, vectors = unit(0, 1)[0], unit(1, count)
    expected = slow_scores(query, vectors, neighbours, 0.3)
    found = superglobal_scores(query, vectors, neighbours, 0.3)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_batches_empty_slots_and_no_candidates():
    gallery, queries = VectorGallery(unit(1, 30)), Queries(unit(0, 3))
    rows = GlobalSearch(gallery).search(queries, 12).rows.copy()
    rows[1, 1:], rows[2] = -1, -1
    shortlist = Shortlist(rows, np.tile(np.linspace(1, 0, 12, dtype=np.float32), (3, 1)))
    reranker = SuperGlobal(gallery)
    local = reranker.score(queries, shortlist)
    assert local.boxes is None
    assert np.array_equal(np.isfinite(local.scores), rows >= 0)
    one = reranker.score(
        Queries(queries.vectors[:1]), Shortlist(rows[:1], np.zeros((1, 12), np.float32))
    )
    assert np.array_equal(one.scores[0], local.scores[0])
    none = Shortlist(np.zeros((3, 0), np.int64), np.zeros((3, 0), np.float32))
    assert reranker.rerank(queries, none).rows.shape == (3, 0)
    assert superglobal_scores(queries.vectors[0], np.zeros((0, 12))).shape == (0,)


def test_on_a_gallery(tiny_gallery, tiny_encoder, photo_folder):
    reranker = SuperGlobal(tiny_gallery, tiny_encoder)
    ids = list(tiny_gallery.ids[:6])
    hits = reranker.rank(photo_folder / ids[3], ids)
    assert sorted(hit.id for hit in hits) == sorted(ids)
    assert all(hit.box is None for hit in hits)
    assert reranker.rank(photo_folder / ids[3], []) == []
    assert len(reranker.rank(photo_folder / ids[3], ids[:1])) == 1


def test_bad_settings_and_queries():
    for wrong in ({"candidates": 0}, {"neighbours": -1}, {"beta": -0.1}, {"beta": float("nan")}):
        with pytest.raises(SettingError, match=next(iter(wrong))):
            SuperGlobalSettings(**wrong)
    gallery = VectorGallery(unit(1, 4))
    shortlist = Shortlist([[0]], np.ones((1, 1), np.float32))
    with pytest.raises(QueryError):
        SuperGlobal(gallery).score(Queries(np.ones((1, 3))), shortlist)
