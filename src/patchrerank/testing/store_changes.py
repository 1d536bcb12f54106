"""What an adapter of a vector store must do with galleries that are pushed and changed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from patchrerank.fusion import DEFAULT_FUSION
from patchrerank.gallery import Gallery, SyncOptions, merge, remove, sync
from patchrerank.integrations.stores.records import Record
from patchrerank.integrations.stores.reranking import StorePatchify, StoreReranker
from patchrerank.integrations.stores.store import VectorStore
from patchrerank.rerankers import Patchify, Ranker
from patchrerank.testing.colours import colour_encoder, colour_gallery, colour_query
from patchrerank.testing.made_galleries import CLOSE, KINDS, made_gallery, made_queries
from patchrerank.types import Queries


class StoreChanges(ABC):
    """Tests that hold for every adapter, on galleries of random vectors."""

    @abstractmethod
    def open(self, place: Path) -> VectorStore:
        """Return a store of a name that is not there; ``place`` is a folder that may be used."""

    def shut(self, store: VectorStore) -> None:  # noqa: B027
        """Close what :meth:`open` opened, where anything is to be closed."""

    @contextmanager
    def opened(self, place: Path) -> Iterator[VectorStore]:
        """Open a store for as long as a test needs it."""
        place.mkdir(parents=True, exist_ok=True)
        store = self.open(place)
        try:
            yield store
        finally:
            self.shut(store)

    @pytest.mark.parametrize("kind", KINDS)
    def test_ids_of_any_kind_and_ragged_sets(self, kind: str, tmp_path: Path) -> None:
        """They come back as they were; an image without patches has no evidence."""
        gallery = made_gallery(tmp_path / "gallery", kind)
        with self.opened(tmp_path / "store") as store:
            store.push(gallery, progress=False)
            self._compare(store, gallery)

    def test_float16_and_vectors_of_any_length(self, tmp_path: Path) -> None:
        """Halves are pushed as they are; a long query's cosines are those of a short one."""
        gallery = made_gallery(tmp_path / "gallery", store="float16")
        with self.opened(tmp_path / "store") as store:
            store.push(gallery, progress=False)
            self._compare(store, gallery, close=1e-3)
            queries = made_queries()
            longer = Queries(queries.vectors * 3)
            once, thrice = (store.search(asked, 5).scores for asked in (queries, longer))
            np.testing.assert_allclose(once, thrice, atol=CLOSE)

    def _compare(self, store: VectorStore, gallery: Gallery, close: float = CLOSE) -> None:
        queries, names = made_queries(), list(gallery.ids)
        expected = Patchify(gallery, fusion=DEFAULT_FUSION).rank_arrays(
            queries.vectors, ids=[names] * len(queries)
        )
        first = store.search(queries, len(names))
        assert {type(item) for item in store.gallery.ids} == {type(names[0])}
        for ranker in self._rankers(store):
            found = ranker.rerank(queries, first)
            for query in range(len(queries)):
                ours, theirs = (
                    dict(zip(held.ids.at(ranking.rows[query]),
                             zip(ranking.local_scores[query], ranking.boxes[query], strict=True),
                             strict=True))
                    for held, ranking in ((store.gallery, found), (gallery, expected))
                )  # fmt: skip
                assert ours.keys() == theirs.keys() == set(names)
                for name, (score, box) in theirs.items():
                    assert ours[name][0] == pytest.approx(score, abs=close)
                    np.testing.assert_allclose(ours[name][1], box, atol=1e-6)

    def _rankers(self, store: VectorStore) -> list[Ranker]:
        there: list[Ranker] = [StorePatchify(store, boxed=None)] if store.scores_there else []
        return [StoreReranker(store), *there]

    def test_deleted_between_search_and_rerank(self, tmp_path: Path) -> None:
        """Such an image comes last, without evidence; ids that are deleted twice are no error."""
        gallery = made_gallery(tmp_path / "gallery")
        with self.opened(tmp_path / "store") as store:
            store.push(gallery, progress=False)
            first = store.search(made_queries(1), 5)
            gone = KINDS["text"][3]
            store.delete([gone, gone, "never there"])
            for ranker in self._rankers(store):
                found = ranker.rerank(made_queries(1), first)
                place = store.gallery.ids.at(found.rows[0]).index(gone)
                assert found.local_scores[0, place] == -np.inf
                assert place >= 3  # behind all with patches
            assert store.search(made_queries(1), 5).rows.shape == (1, 4)

    def test_pushing_again(self, tmp_path: Path) -> None:
        """What is there is passed over; what was cut off goes on; pruning deletes the rest."""
        gallery = made_gallery(tmp_path / "gallery")
        with self.opened(tmp_path / "store") as store:
            write = store._write

            def fail(records: list[Record]) -> None:
                write(records[:2])
                raise KeyboardInterrupt

            store._write = fail  # type: ignore[method-assign, assignment]
            with pytest.raises(KeyboardInterrupt):
                store.push(gallery, progress=False)
            store._write = write  # type: ignore[method-assign]
            pushed = store.push(gallery, progress=False)
            assert (pushed.written, pushed.unchanged, pushed.deleted) == (3, 2, 0)
            self._compare(store, gallery)
            self._change(store, tmp_path / "changed")

    def test_following_a_folder_of_pictures(self, tmp_path: Path) -> None:
        """A gallery that was synchronised or pruned is pushed as it is then."""
        folder = tmp_path / "colours"
        gallery = colour_gallery(folder)
        with self.opened(tmp_path / "store") as store:
            store.push(gallery, progress=False)
            (folder / "pictures" / "red.png").unlink()
            colour_query("red").save(folder / "pictures" / "grey0.png")
            options = SyncOptions(progress=False)
            sync(folder / "pictures", gallery.folder, options, encoder=colour_encoder())
            pushed = store.push(Gallery(gallery.folder), prune=True, progress=False)
            assert (pushed.written, pushed.unchanged, pushed.deleted) == (1, 4, 1)
            remove(gallery.folder, ["blue.png"])
            pushed = store.push(Gallery(gallery.folder), prune=True, progress=False)
            assert (pushed.written, pushed.unchanged, pushed.deleted) == (0, 4, 1)
            found = StoreReranker(store, colour_encoder()).search(colour_query("red"), 9)
            names = sorted(path.name for path in (folder / "pictures").iterdir())
            assert found[0].id == "grey0.png"
            assert sorted(hit.id for hit in found) == sorted({*names} - {"blue.png"})

    def test_a_gallery_of_shards(self, tmp_path: Path) -> None:
        """It is pushed as one folder would be, its local descriptors, too."""
        parts = [
            made_gallery(tmp_path / str(number), rows=rows, local="float16")
            for number, rows in enumerate((slice(0, 2), slice(2, 5)))
        ]
        gallery = merge(tmp_path / "set", parts, progress=False)
        with self.opened(tmp_path / "store") as store:
            pushed = store.push(gallery, local=store.holds_local, progress=False)
            assert pushed.written == 5
            self._compare(store, gallery)
            whole = made_gallery(tmp_path / "whole", local="float16")
            assert store.push(whole, progress=False).unchanged == 5
            if store.holds_local:
                names = list(map(str, whole.ids))
                assert store.evidence(names).local.ends.tolist() == whole.local.ends.tolist()

    def _change(self, store: VectorStore, folder: Path) -> None:
        gallery = made_gallery(folder, changed=True)
        kept = store.push(gallery, progress=False)
        assert (kept.written, kept.unchanged, kept.deleted) == (1, 3, 0)
        assert len(store.held(KINDS["text"])) == 5
        pruned = store.push(gallery, prune=True, progress=False)
        assert (pruned.written, pruned.unchanged, pruned.deleted) == (0, 4, 1)
        self._compare(store, gallery)
