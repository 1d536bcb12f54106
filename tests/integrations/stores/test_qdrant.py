from __future__ import annotations

import numpy as np
import pytest

from later import later

qdrant_client = later("qdrant_client")

from patchrerank.errors import GalleryError, SettingError, ShortlistError
from patchrerank.fusion import Fusion
from patchrerank.integrations.stores.points import point_id
from patchrerank.integrations.stores.qdrant import QdrantStore
from patchrerank.rerankers import Patchify
from patchrerank.testing.made_galleries import made_gallery, made_queries
from patchrerank.testing.stores import StoreConformance


class TestLocalMode(StoreConformance):
    def open(self, place):
        return QdrantStore(qdrant_client.QdrantClient(path=str(place)), "images")

    def shut(self, store):
        store._client.close()


@pytest.fixture
def store():
    return QdrantStore(qdrant_client.QdrantClient(":memory:"), "images")


def test_ids_are_mapped_reversibly():
    assert point_id("12", "int") == 12
    assert point_id("-12", "int") == point_id("-12", "int") != point_id("-13", "int")
    assert point_id("12", "text") != 12
    uuid = "00000000-0000-0000-0000-000000000005"
    assert point_id(uuid, "uuid") == uuid


def test_a_number_that_no_gallery_can_hold_is_not_there(store, tmp_path):
    store.push(made_gallery(tmp_path / "gallery", "int"), progress=False)
    asked = [7, 2**63, -(2**70), 2**62, 10**30]
    assert (store.gallery.rows_of(asked, strict=False) >= 0).tolist() == [
        item in (7, 2**62) for item in asked
    ]
    with pytest.raises(ShortlistError, match="3 of 5 ids"):
        store.gallery.rows_of(asked)


def fused_is_right(store, gallery, fusion):
    """The order and scores of a formula are those of the gallery's own reranker."""
    store.push(gallery, progress=False)
    queries, names = made_queries(), list(gallery.ids)
    found = store.search_fused(queries, 5, fusion, top_k=4)
    cosines = queries.vectors @ gallery.global_vectors.T
    order = np.argsort(-cosines, axis=1)
    expected = Patchify(gallery, fusion=fusion).rank_arrays(
        queries.vectors, rows=order, scores=np.take_along_axis(cosines, order, axis=1)
    )
    assert found.rows.shape == (len(queries), 4)
    for query in range(len(queries)):
        ours = store.gallery.ids.at(found.rows[query])
        assert ours == gallery.ids.at(expected.rows[query, :4])
        assert set(ours) <= set(names)
    for name in ("scores", "global_scores", "local_scores", "boxes"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name)[:, :4], atol=1e-5, err_msg=name
        )


@pytest.mark.parametrize("fusion", [Fusion(0.3, 4.0), Fusion(0.9, 0.5), Fusion(0.0, 2.0)])
def test_the_whole_fusion_in_one_round_trip(store, tmp_path, fusion):
    fused_is_right(store, made_gallery(tmp_path / "gallery"), fusion)


def test_a_slope_that_formulas_cannot_compute_is_refused(store, tmp_path):
    store.push(made_gallery(tmp_path / "gallery"), progress=False)
    with pytest.raises(SettingError, match="gamma is 900"):
        store.search_fused(made_queries(), 5, Fusion(0.5, 900.0))
    assert store.search_fused(made_queries(), 5, Fusion(0.5, 700.0)).rows.shape == (4, 5)


def test_a_strangers_collection_is_left_alone(store, tmp_path):
    store._client.create_collection("images", vectors_config={})
    with pytest.raises(GalleryError, match="not made by patchrerank"):
        store.push(made_gallery(tmp_path / "gallery"), progress=False)
