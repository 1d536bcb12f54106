"""What an adapter of a vector store must do with all that rerankers of ours read."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchrerank.errors import GalleryError, SettingError
from patchrerank.fusion import DEFAULT_FUSION, Fusion
from patchrerank.gallery import CompressOptions, Gallery, compress
from patchrerank.integrations.stores.described import TOLD
from patchrerank.integrations.stores.reranking import StorePatchify, StoreReranker
from patchrerank.integrations.stores.store import VectorStore
from patchrerank.pipeline import Cascade, Stage
from patchrerank.rerankers import Chamfer, ChamferSettings, Patchify, Ranker, RefineBoxes
from patchrerank.testing.colours import (
    COLOURS,
    IDS,
    colour_encoder,
    colour_gallery,
    colour_query,
)
from patchrerank.testing.made_galleries import CLOSE, KINDS, made_gallery, made_queries
from patchrerank.testing.store_changes import StoreChanges
from patchrerank.types import Ranking, Shortlist


def chamfer(evidence: Any) -> Ranker:
    """Return what compares all local descriptors."""
    return Chamfer(evidence, settings=ChamferSettings("symmetric"), fusion=Fusion(0.2, 3.0))


def refined(evidence: Any) -> Ranker:
    """Return what refines boxes by local descriptors."""
    return RefineBoxes(Patchify(evidence), evidence="local")


def by_patches(evidence: Any) -> Ranker:
    """Return what refines boxes by patches, and knows how wide pictures are."""
    return RefineBoxes(Patchify(evidence), evidence="patches", aspect=1.0)


def cascade(evidence: Any) -> Ranker:
    """Return stages that read different things of ever fewer candidates."""
    last = RefineBoxes(Chamfer(evidence), evidence="local")
    return Cascade(
        [
            Stage(Patchify(evidence), Fusion(0.3, 4.0)),
            Stage(Chamfer(evidence), Fusion(0.5, 2.0, 4)),
            Stage(last, Fusion(0.5, 2.0, 2)),
        ]
    )


class StoreEvidence(StoreChanges):
    """Tests that hold for every adapter."""

    def opened_again(self, store: VectorStore) -> VectorStore:
        """Return another object of the same place, which nobody has told anything."""
        fresh = copy.copy(store)
        for name in TOLD:
            fresh.__dict__.pop(name, None)
        return fresh

    def test_a_whitened_gallery_is_asked_with_pictures(self, tmp_path: Path) -> None:
        """Its whitening lies in the store, and is applied to queries."""
        options = CompressOptions(store="float32", whiten=2, progress=False)
        compress(colour_gallery(tmp_path / "plain"), tmp_path / "white", options)
        gallery = Gallery(tmp_path / "white")
        with self.opened(tmp_path / "store") as pushed:
            pushed.push(gallery, progress=False)
            store = self.opened_again(pushed)
            assert store.whitening is not None
            assert gallery.whitening is not None
            assert store.whitening.fingerprint == gallery.whitening.fingerprint
            rankers: list[Any] = [StoreReranker(store, colour_encoder())]
            if store.scores_there:
                rankers.append(StorePatchify(store, colour_encoder(), boxed=None))
            for colour in COLOURS:
                expected = Patchify(gallery, colour_encoder(), fusion=DEFAULT_FUSION).rank(
                    colour_query(colour), [*IDS]
                )
                for ranker in rankers:
                    found = ranker.rank(colour_query(colour), [*IDS])
                    scores = {hit.id: hit.local_score for hit in found}
                    for hit in expected:  # blends of grey and a colour have one direction
                        assert scores[hit.id] == pytest.approx(hit.local_score, abs=CLOSE)

    @pytest.mark.parametrize("make", [chamfer, refined, by_patches, cascade])
    def test_every_reranker(self, make: Callable[[Any], Ranker], tmp_path: Path) -> None:
        """Local descriptors and sizes of pictures give what the gallery gives."""
        gallery = made_gallery(tmp_path / "gallery", local="float16")
        with self.opened(tmp_path / "store") as pushed:
            if not pushed.holds_local and make is not by_patches:
                with pytest.raises(SettingError, match="no room for local descriptors"):
                    pushed.push(gallery, local=True, progress=False)
                return
            pushed.push(gallery, local=pushed.holds_local, progress=False)
            store = self.opened_again(pushed)
            self._same(make(gallery), gallery, StoreReranker(store, make=make), store)

    def _same(
        self, ours: Ranker, gallery: Gallery, theirs: StoreReranker, store: VectorStore
    ) -> None:
        queries, names = made_queries(), list(gallery.ids)
        scores = [np.linspace(0.9, 0.1, len(names)).tolist()] * len(queries)

        def of(ranker: Ranker) -> Ranking:
            lists = Shortlist.from_ids(ranker.gallery, [names] * len(queries), scores)
            return ranker.rerank(queries, lists)

        expected, found = of(ours), of(theirs)
        for query in range(len(queries)):
            given, wanted = gallery.ids.at(expected.rows[query]), found.rows[query]
            assert store.gallery.ids.at(wanted) == given
        for name in ("scores", "local_scores", "boxes"):
            np.testing.assert_allclose(
                getattr(found, name), getattr(expected, name), atol=CLOSE, err_msg=name
            )

    def test_local_descriptors_come_and_stay(self, tmp_path: Path) -> None:
        """They are pushed when they are asked for, and from then on with every push."""
        gallery = made_gallery(tmp_path / "gallery", local="float16")
        with self.opened(tmp_path / "store") as store:
            store.push(gallery, progress=False)
            with pytest.raises(GalleryError, match="local descriptors were not pushed"):
                StoreReranker(store, make=refined).rerank(made_queries(), self._all(store))
            if not store.holds_local:
                return
            assert store.push(gallery, local=True, progress=False).written == 4  # one has none
            assert store.push(gallery, progress=False).unchanged == 5
            store.delete([KINDS["text"][0]])
            found = StoreReranker(store, make=chamfer).rerank(made_queries(), self._all(store))
            assert np.isneginf(found.local_scores).sum() == 2 * len(found)  # gone; without any
            with pytest.raises(GalleryError, match="were made otherwise"):
                store.push(made_gallery(tmp_path / "other", local="int8"), progress=False)
            with pytest.raises(GalleryError, match="has no local descriptors"):
                store.push(made_gallery(tmp_path / "none"), progress=False)

    def _all(self, store: VectorStore) -> Shortlist:
        rows = store.gallery.rows_met(list(map(str, KINDS["text"])))
        scores = np.linspace(1, 0, len(rows), dtype=np.float32)
        return Shortlist(np.tile(rows, (4, 1)), np.tile(scores, (4, 1)))

    def test_what_stores_do_not_hold(self, tmp_path: Path) -> None:
        """Pictures and backgrounds are asked for by name."""
        with self.opened(tmp_path / "store") as store:
            store.push(made_gallery(tmp_path / "gallery"), progress=False)
            with pytest.raises(GalleryError, match="pictures are not pushed"):
                _ = store.gallery.pictures
            with pytest.raises(GalleryError, match=r"store\.backgrounds = gallery\.backgrounds"):
                _ = store.gallery.backgrounds
