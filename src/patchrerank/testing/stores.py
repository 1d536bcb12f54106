"""What an adapter of a vector store must do.

Subclass :class:`StoreConformance` in a test, say how an empty store is opened, and run it with
pytest::

    class TestMine(StoreConformance):
        def open(self, place):
            return MyStore(…)
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchrerank.errors import GalleryError, QueryError, ShortlistError
from patchrerank.first_stage import GlobalSearch
from patchrerank.fusion import DEFAULT_FUSION, Fusion
from patchrerank.gallery import Gallery
from patchrerank.integrations.stores.reranking import StorePatchify, StoreReranker
from patchrerank.integrations.stores.store import VectorStore
from patchrerank.pipeline import Cascade, Stage
from patchrerank.rerankers import Patchify, Ranker, RefineBoxes
from patchrerank.testing.colours import (
    BOXES,
    COLOURS,
    IDS,
    colour_encoder,
    colour_gallery,
    colour_query,
)
from patchrerank.testing.made_galleries import CLOSE, assert_same, made_gallery
from patchrerank.testing.store_evidence import StoreEvidence
from patchrerank.types import Queries


class StoreConformance(StoreEvidence):
    """Tests that hold for every adapter."""

    @pytest.fixture(scope="class")
    def gallery(self, tmp_path_factory: Any) -> Gallery:
        """The colours' gallery."""
        return colour_gallery(tmp_path_factory.mktemp("colours"))

    @pytest.fixture(scope="class")
    def store(self, gallery: Gallery, tmp_path_factory: Any) -> Iterator[VectorStore]:
        """The colours in the store; tests leave it as it is."""
        with self.opened(tmp_path_factory.mktemp("store")) as store:
            pushed = store.push(gallery, progress=False)
            assert (pushed.written, pushed.unchanged, pushed.deleted) == (len(IDS), 0, 0)
            yield store

    @pytest.fixture(params=["here", "there"])
    def ranker(self, store: VectorStore, request: Any) -> Any:
        """Both ways to rerank."""
        if request.param == "here":
            return StoreReranker(store, colour_encoder())
        if not store.scores_there:
            pytest.skip("the store computes no exact max similarity")
        return StorePatchify(store, colour_encoder(), boxed=None)

    @pytest.mark.parametrize("colour", COLOURS)
    def test_search_and_rerank(self, ranker: Any, colour: str) -> None:
        """The right one comes first, with its box; scores fall strictly."""
        hits = ranker.search(colour_query(colour), len(IDS))
        assert hits[0].id == f"{colour}.png"
        assert hits[0].box == pytest.approx(BOXES[colour])
        assert hits[0].local_score == pytest.approx(1.0, abs=CLOSE)
        assert sorted(hit.id for hit in hits) == sorted(IDS)
        assert all(a.score > b.score for a, b in pairwise(hits))

    def test_shortlists_are_those_of_the_gallery(
        self, store: VectorStore, gallery: Gallery
    ) -> None:
        """Scores are cosines, higher is better, best first; fewer are asked for, fewer come."""
        queries = Queries(np.eye(3, dtype=np.float32))
        found = store.search(queries, 3)
        assert found.rows.shape == (len(COLOURS), 3)
        expected = GlobalSearch(gallery).search(queries, 3).scores
        np.testing.assert_allclose(found.scores, expected, atol=CLOSE)
        assert store.search(queries, 0).rows.shape == (len(COLOURS), 0)
        assert store.search(queries, 100).rows.shape == (len(COLOURS), len(IDS))

    def test_the_gallerys_scores_and_boxes(self, ranker: Any, gallery: Gallery) -> None:
        """Maximum, not sum; the same to 1e-5, and the same box of the same patch."""
        for colour in COLOURS:
            expected = Patchify(gallery, colour_encoder(), fusion=DEFAULT_FUSION).rank(
                colour_query(colour), list(IDS)
            )
            assert_same(ranker.rank(colour_query(colour), list(IDS)), expected)

    def test_candidates_that_are_not_there(self, ranker: Any) -> None:
        """They are an error, keep their places, or are dropped."""
        names, query = ["new.png", "grey0.png", "red.png", "newer.png"], colour_query("red")
        with pytest.raises(ShortlistError, match="2 of 4 ids are not in"):
            ranker.rank(query, names)
        kept = [hit.id for hit in ranker.rank(query, names, missing="keep")]
        assert kept == ["new.png", "red.png", "grey0.png", "newer.png"]
        dropped = [hit.id for hit in ranker.rank(query, names, missing="drop")]
        assert dropped == ["red.png", "grey0.png"]
        assert ranker.rank(query, []) == []

    def test_a_batch_is_its_single_queries(self, ranker: Any) -> None:
        """Lists of any length, with the same hits."""
        lists = [list(IDS), list(IDS[:2]), [IDS[4]]]
        queries = [colour_query(colour) for colour in COLOURS]
        together = ranker.rank_batch(queries, lists)
        for query, names, hits in zip(queries, lists, together, strict=True):
            assert_same(hits, ranker.rank(query, names))

    def test_nothing_that_is_passed_in_changes(self, ranker: Any) -> None:
        """Neither ids nor scores nor vectors."""
        names, scores, vector = list(IDS), [0.9] * len(IDS), np.eye(3, dtype=np.float32)[0]
        ranker.rank(vector, names, scores)
        assert (names, scores) == (list(IDS), [0.9] * len(IDS))
        assert (vector == np.eye(3)[0]).all()

    def test_queries_of_another_space(self, ranker: Any, store: VectorStore) -> None:
        """Another dimension, another encoder, no direction."""
        with pytest.raises(QueryError, match="dimensions"):
            ranker.rank(np.ones(5, dtype=np.float32) / 5**0.5, list(IDS))
        with pytest.raises(QueryError, match="another encoder"):
            store.search(Queries(np.eye(3, dtype=np.float32), encoder="other"), 3)
        with pytest.raises(QueryError, match="no direction"):
            store.search(Queries(np.zeros((1, 3), dtype=np.float32)), 3)

    def test_several_threads(self, ranker: Any) -> None:
        """Threads do not disturb each other."""
        alone = {name: ranker.rank(colour_query(name), list(IDS)) for name in COLOURS}
        found: dict[str, Any] = {}

        def ask(name: str) -> None:
            for _ in range(3):
                found[name] = ranker.rank(colour_query(name), list(IDS))

        threads = [threading.Thread(target=ask, args=(name,)) for name in COLOURS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found.keys() == alone.keys()
        for name, hits in found.items():
            assert_same(hits, alone[name])

    def test_other_rerankers(self, store: VectorStore, gallery: Gallery) -> None:
        """Refined boxes and cascades work on what is fetched; tuned settings apply unchanged."""

        def make(evidence: Any) -> Ranker:
            first, second = Patchify(evidence), Patchify(evidence)
            fine = RefineBoxes(second, evidence="patches")
            return Cascade([Stage(first, Fusion(0.3, 4.0)), Stage(fine, Fusion(0.5, 2.0, 3))])

        scores, query = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4], np.eye(3, dtype=np.float32)[1]
        expected = make(gallery).rank(query, list(IDS), scores)
        found = StoreReranker(store, make=make).rank(query, list(IDS), scores)
        assert_same(found, expected)

    def test_one_space_a_store(self, store: VectorStore, tmp_path: Path) -> None:
        """Vectors of another encoder, or what nobody pushed, are refused."""
        with pytest.raises(GalleryError, match="another encoder"):
            store.push(made_gallery(tmp_path / "gallery"), progress=False)
        with self.opened(tmp_path / "store") as empty, pytest.raises(GalleryError, match="push"):
            StoreReranker(empty)
