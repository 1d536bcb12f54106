from __future__ import annotations

import pytest

from later import later

chromadb = later("chromadb")

from patchrerank.errors import GalleryError, SettingError
from patchrerank.integrations.stores.chroma import ChromaStore
from patchrerank.integrations.stores.reranking import StorePatchify
from patchrerank.testing.made_galleries import made_gallery
from patchrerank.testing.stores import StoreConformance


class TestChroma(StoreConformance):
    def open(self, place):
        return ChromaStore(chromadb.PersistentClient(str(place)), "images")


def test_it_does_not_score_there(tmp_path):
    store = ChromaStore(chromadb.PersistentClient(str(tmp_path / "db")), "images")
    store.push(made_gallery(tmp_path / "gallery"), progress=False)
    with pytest.raises(SettingError, match="use StoreReranker"):
        StorePatchify(store)


def test_a_strangers_collection_is_left_alone(tmp_path):
    client = chromadb.PersistentClient(str(tmp_path / "db"))
    client.create_collection("images", embedding_function=None)
    with pytest.raises(GalleryError, match="not made by patchrerank"):
        ChromaStore(client, "images").push(made_gallery(tmp_path / "gallery"), progress=False)
