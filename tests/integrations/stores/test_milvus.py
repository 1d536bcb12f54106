from __future__ import annotations

import pytest

from later import later

pymilvus = later("pymilvus")
later("milvus_lite")

from patchrerank.errors import GalleryError, SettingError
from patchrerank.integrations.stores import milvus
from patchrerank.integrations.stores.milvus import MilvusStore
from patchrerank.testing.made_galleries import made_gallery, made_queries
from patchrerank.testing.stores import StoreConformance


class TestLite(StoreConformance):
    def open(self, place):
        return MilvusStore(pymilvus.MilvusClient(str(place / "milvus.db")), "images")

    def shut(self, store):
        store._client.close()


@pytest.fixture
def store(tmp_path):
    client = pymilvus.MilvusClient(str(tmp_path / "milvus.db"))
    yield MilvusStore(client, "images")
    client.close()


def test_more_patches_than_one_answer_holds(store, tmp_path, monkeypatch):
    gallery = made_gallery(tmp_path / "gallery")
    store.push(gallery, progress=False)
    vector, keys = made_queries().vectors[0], list(gallery.ids)
    before = store.best(vector, keys)
    monkeypatch.setattr(milvus, "MOST_ROWS", 8)
    assert store.best(vector, keys) == before
    assert store.evidence(keys).patch_ends.tolist() == gallery.patch_ends.tolist()


def test_searches_have_a_limit(store, tmp_path):
    store.push(made_gallery(tmp_path / "gallery"), progress=False)
    with pytest.raises(SettingError, match="at most 16384, got 16385"):
        store.search(made_queries(), 16385)


def test_a_strangers_collection_is_left_alone(store, tmp_path):
    schema = store._client.create_schema()
    schema.add_field("id", pymilvus.DataType.INT64, is_primary=True)
    schema.add_field("vector", pymilvus.DataType.FLOAT_VECTOR, dim=4)
    store._client.create_collection("images", schema=schema)  # no index, which waits half a second
    with pytest.raises(GalleryError, match="not made by patchrerank"):
        store.push(made_gallery(tmp_path / "gallery"), progress=False)
