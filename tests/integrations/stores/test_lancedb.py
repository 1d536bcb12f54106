from __future__ import annotations

import numpy as np
import pytest

from later import later

lancedb = later("lancedb")

from drawn_galleries import draw_gallery
from patchrerank.errors import GalleryError
from patchrerank.gallery import CompressOptions, Gallery, compress
from patchrerank.integrations.stores.lancedb import LanceStore
from patchrerank.testing.made_galleries import made_gallery, made_queries
from patchrerank.testing.stores import StoreConformance


class TestLance(StoreConformance):
    def open(self, place):
        return LanceStore(lancedb.connect(str(place)), "images")


def test_what_another_connection_changed_is_seen(tmp_path):
    store, other = (LanceStore(lancedb.connect(str(tmp_path / "db")), "images") for _ in range(2))
    store.push(made_gallery(tmp_path / "gallery"), progress=False)
    assert other.search(made_queries(), 9).rows.shape == (4, 5)
    store.delete(["0"])
    assert other.search(made_queries(), 9).rows.shape == (4, 4)


def test_a_strangers_table_is_left_alone(tmp_path):
    connection = lancedb.connect(str(tmp_path / "db"))
    connection.create_table("images", [{"id": 1, "vector": np.zeros(3, np.float32)}])
    with pytest.raises(GalleryError, match="not made by patchrerank"):
        LanceStore(connection, "images").push(made_gallery(tmp_path / "gallery"), progress=False)


def test_an_index_changes_nothing(tmp_path):
    store = LanceStore(lancedb.connect(str(tmp_path / "db")), "images")
    gallery = made_gallery(tmp_path / "gallery")
    store.push(gallery, progress=False)
    vector, keys = made_queries().vectors[0], list(gallery.ids)
    before, first = store.best(vector, keys), store.search(made_queries(), 5)
    for column in ("vector", "patches"):
        store._table.create_index(
            metric="cosine",
            vector_column_name=column,
            index_type="IVF_FLAT",
            num_partitions=1,
            replace=True,
        )
    assert store.best(vector, keys) == pytest.approx(before, abs=1e-6)
    np.testing.assert_allclose(store.search(made_queries(), 5).scores, first.scores, atol=1e-6)


def test_of_codes_with_finer_rows_the_finer_ones_are_pushed(tmp_path):
    whole = draw_gallery(tmp_path / "g", [str(n) for n in range(9)], 3, 16, store="float32")
    found = []
    for kind in ("rabitq1+int8", "int8"):
        compress(whole, tmp_path / kind, CompressOptions(kind, progress=False))
        store = LanceStore(lancedb.connect(str(tmp_path / f"{kind}-db")), "images")
        store.push(Gallery(tmp_path / kind), progress=False)
        found.append(store.best(np.asarray(whole.global_vectors[4]), list(whole.ids)))
    assert found[0] == found[1]
