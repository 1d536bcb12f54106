"""Query expansion and linear adaptation against ILIAS' recorded numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.helpers.synthetic import VectorGallery

from patchrerank.datasets.ilias_features import read_database, read_features
from patchrerank.datasets.ilias_similarities import read_similarities, similarities_of
from patchrerank.errors import EncoderError, QueryError, SettingError
from patchrerank.first_stage import GlobalSearch
from patchrerank.metrics import evaluate_ilias, positives_by_instance
from patchrerank.rerankers.linear_adaptation import LinearAdaptation
from patchrerank.rerankers.query_expansion import (
    ExpansionSettings,
    QueryExpansion,
    expand_query,
    neighbour_weights,
)
from patchrerank.types import Queries, Shortlist

REFERENCE = Path(__file__).parents[1] / "reference" / "ilias_knn"
EXPECTED = json.loads((REFERENCE / "expected.json").read_text())
EXPANDED = np.load(REFERENCE / "expanded.npz")
N = EXPECTED["qe_neighbours"]


QUERIES = read_features(REFERENCE / "features/features_image_queries.hdf5")
DATABASE = read_database(REFERENCE / "features")
ADAPTATION = LinearAdaptation.load(REFERENCE / "lin_adapt.npz")


def positives():
    lines = (REFERENCE / "dataset/image_ids/positive_ids.txt").read_text().split()
    return positives_by_instance(line.split(",")[0] for line in lines)


def search(vectors, queries, k):
    return GlobalSearch(VectorGallery(vectors)).search(Queries(queries), k)


def check(setting, shortlist, ids):
    """Every recorded number of one setting."""
    expected = EXPECTED[setting]
    found = similarities_of(QUERIES.ids, ids, shortlist)
    assert list(found) == expected["queries"]
    for query, top in expected["top"].items():
        assert list(found[query]) == [name for name, _ in top]
        values = [value for _, value in top]
        np.testing.assert_allclose(list(found[query].values()), values, rtol=0, atol=1e-6)
    result = evaluate_ilias(found, positives(), k=expected["k"])
    np.testing.assert_allclose(100 * result.average_precisions, expected["aps"], atol=1e-9)
    assert 100 * result.mean_average_precision == pytest.approx(expected["map"], abs=1e-9)
    assert 100 * result.mean_oracle == pytest.approx(expected["oracle"], abs=1e-9)
    return found


def adapted_expansion(first, weights, n):
    """Neighbours as they were before the adaptation, weighted, then adapted."""
    queries = ADAPTATION.apply(QUERIES.vectors)
    return np.stack(
        [
            expand_query(query, DATABASE.vectors[rows[:n]], w[:n], ADAPTATION)
            for query, rows, w in zip(queries, first.rows, weights, strict=True)
        ]
    )


def test_plain_search_and_both_result_files():
    found = check("plain", search(DATABASE.vectors, QUERIES.vectors, 12), DATABASE.ids)
    for suffix in ("json", "pkl"):
        theirs = read_similarities(REFERENCE / f"similarities_plain.{suffix}")
        assert {q: list(row) for q, row in theirs.items()} == {q: [*r] for q, r in found.items()}
        for query, row in theirs.items():
            np.testing.assert_allclose(
                list(found[query].values()), list(row.values()), rtol=0, atol=1e-6
            )


def test_search_with_selected_distractors():
    selected = (REFERENCE / "selected_ids.txt").read_text().split()
    database = read_database(REFERENCE / "features", selected=selected)
    assert len(database) < len(DATABASE)
    check("selected", search(database.vectors, QUERIES.vectors, 5), database.ids)


def test_expansion_and_second_search():
    gallery, queries = VectorGallery(DATABASE.vectors), Queries(QUERIES.vectors)
    first = GlobalSearch(gallery).search(queries, 12)
    for n in (1, N):
        reranker = QueryExpansion(gallery, settings=ExpansionSettings.ilias(n))
        expanded = reranker.expand(queries, first)
        np.testing.assert_allclose(
            expanded.vectors, EXPANDED[f"plain_expanded_{n}"], rtol=0, atol=1e-6
        )
    assert np.array_equal(first.rows[:, :N], EXPANDED["plain_shortlist"])
    found = check("qe", GlobalSearch(gallery).search(expanded, 12), DATABASE.ids)
    theirs = read_similarities(REFERENCE / "similarities_qe.pkl")
    assert {q: list(row) for q, row in theirs.items()} == {q: [*r] for q, r in found.items()}
    assert theirs == read_similarities(REFERENCE / "similarities_qe.json")


def test_linear_adaptation_and_its_expansion():
    queries, database = ADAPTATION.apply(QUERIES.vectors), ADAPTATION.apply(DATABASE.vectors)
    np.testing.assert_allclose(queries, EXPANDED["lin_adapt_queries"], rtol=0, atol=1e-6)
    first = search(database, queries, 12)
    check("lin_adapt", first, DATABASE.ids)
    np.testing.assert_allclose(
        first.scores[:, :N], EXPANDED["lin_adapt_weights"], rtol=0, atol=1e-6
    )
    for n in (1, N):
        expanded = adapted_expansion(first, first.scores, n)
        np.testing.assert_allclose(expanded, EXPANDED[f"lin_adapt_expanded_{n}"], rtol=0, atol=1e-6)
    check("lin_adapt_qe", search(database, expanded, 12), DATABASE.ids)


def test_adaptations_load_alike_and_safely(tmp_path):
    theirs = LinearAdaptation.load(REFERENCE / "lin_adapt.pth")
    assert np.array_equal(theirs.weight, ADAPTATION.weight)
    assert np.array_equal(theirs.bias, ADAPTATION.bias)
    np.savez(tmp_path / "keys.npz", wieght=np.eye(2), bias=np.ones(2))
    np.savez(tmp_path / "shape.npz", weight=np.eye(2), bias=np.ones(3))
    np.savez(tmp_path / "nan.npz", weight=np.eye(2) * np.nan, bias=np.ones(2))
    np.savez(tmp_path / "text.npz", weight=np.array(["a"]), bias=np.ones(2))
    np.savez(tmp_path / "objects.npz", weight=np.array([{}], dtype=object), bias=np.ones(2))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 nothing")
    (tmp_path / "broken.pth").write_bytes(b"nothing")
    for name, hint in {
        "keys.npz": "did you mean wieght",
        "shape.npz": r"shape.npz.*\(d, D\)",
        "nan.npz": "finite",
        "text.npz": "text.npz",
        "objects.npz": "objects.npz",
        "broken.npz": "read safely",
        "broken.pth": "read safely",
        "missing.npz": "missing.npz",
        "missing.pth": "no such",
    }.items():
        with pytest.raises(EncoderError, match=hint):
            LinearAdaptation.load(tmp_path / name)
    with pytest.raises(EncoderError, match=r"\(N, 16\)"):
        ADAPTATION.apply(np.ones((1, 3)))
    with pytest.raises(EncoderError, match="vector 0 has no direction"):
        LinearAdaptation(np.eye(2), np.zeros(2)).apply(np.zeros((1, 2)))


def test_alpha_weighs_neighbours():
    similarities = np.array([0.9, 0.5, -0.2], np.float32)
    weights = neighbour_weights(similarities, ExpansionSettings(3, 3.0))
    np.testing.assert_allclose(weights, [0.729, 0.125, 0.0], atol=1e-6)
    kept = neighbour_weights(similarities, ExpansionSettings.ilias(3))
    assert np.array_equal(kept, similarities)
    assert neighbour_weights(similarities, ExpansionSettings(3, 0.0)).tolist() == [1.0, 1.0, 1.0]
    vectors = np.eye(3, dtype=np.float32)
    expected = np.array([1.0, 0.5, 0.0]) / np.linalg.norm([1.0, 0.5])
    np.testing.assert_allclose(expand_query(vectors[0], vectors[1:], [0.5, 0.0]), expected)
    assert expand_query(vectors[0], -vectors[:1], [1.0]).tolist() == [0.0, 0.0, 0.0]


def test_rescanning_the_shortlist():
    gallery, queries = VectorGallery(DATABASE.vectors), Queries(QUERIES.vectors)
    shortlist = GlobalSearch(gallery).search(queries, 12)
    reranker = QueryExpansion(gallery, settings=ExpansionSettings(3, 2.0))
    local = reranker.score(queries, shortlist)
    expanded = reranker.expand(queries, shortlist).vectors
    expected = np.einsum("qd,qkd->qk", expanded, gallery.global_vectors[shortlist.rows])
    np.testing.assert_allclose(local.scores, expected, atol=1e-6)
    ranking = reranker.rerank(queries, shortlist)
    assert all(sorted(a) == sorted(b) for a, b in zip(ranking.rows, shortlist.rows, strict=True))
    one = reranker.score(
        Queries(queries.vectors[2:3]), Shortlist(shortlist.rows[2:3], shortlist.scores[2:3])
    )
    assert np.array_equal(one.scores[0], local.scores[2])


def test_no_candidates_one_candidate_empty_slots():
    gallery = VectorGallery(DATABASE.vectors)
    queries = Queries(QUERIES.vectors[:2], boxes=np.full((2, 4), np.nan, np.float32))
    rows = np.array([[4, -1], [-1, -1]])
    shortlist = Shortlist(rows, np.ones((2, 2), np.float32))
    reranker = QueryExpansion(gallery)
    local = reranker.score(queries, shortlist)
    assert np.array_equal(np.isfinite(local.scores), rows >= 0)
    assert local.boxes is None
    expanded = reranker.expand(queries, shortlist)
    assert expanded.boxes is queries.boxes
    own = queries.vectors[1] / np.linalg.norm(queries.vectors[1])
    np.testing.assert_allclose(expanded.vectors[1], own, atol=1e-6)
    none = Shortlist(np.zeros((2, 0), np.int64), np.zeros((2, 0), np.float32))
    assert reranker.rerank(queries, none).rows.shape == (2, 0)


def test_on_a_gallery(tiny_gallery, tiny_encoder, photo_folder):
    reranker = QueryExpansion(tiny_gallery, tiny_encoder, settings=ExpansionSettings(2))
    ids = list(tiny_gallery.ids[:6])
    hits = reranker.rank(photo_folder / ids[0], ids)
    assert hits[0].id == ids[0]
    queries = reranker.encode([photo_folder / ids[0]])
    search = GlobalSearch(tiny_gallery)
    again = search.search(reranker.expand(queries, search.search(queries, 5)), 5)
    assert again.rows.shape == (1, 5), "expanded queries still belong to the gallery's space"
    with pytest.raises(QueryError, match="dimensions"):
        reranker.expand(Queries(np.ones((1, 3))), Shortlist([[0]], np.ones((1, 1), np.float32)))


def test_bad_settings():
    for wrong in ({"neighbours": -1}, {"alpha": -1.0}, {"alpha": 2.0, "negative": True}):
        with pytest.raises(SettingError):
            ExpansionSettings(**wrong)
