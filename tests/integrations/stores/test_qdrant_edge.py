from __future__ import annotations

import pytest

from later import later

later("qdrant_edge")

from tests.integrations.stores.test_qdrant import fused_is_right

from patchrerank.errors import GalleryError
from patchrerank.fusion import Fusion
from patchrerank.integrations.stores.qdrant_edge import QdrantEdgeStore
from patchrerank.testing.made_galleries import made_gallery, made_queries
from patchrerank.testing.stores import StoreConformance


class TestEdge(StoreConformance):
    def open(self, place):
        return QdrantEdgeStore(place / "shard")

    def shut(self, store):
        store.close()


@pytest.mark.parametrize("fusion", [Fusion(0.3, 4.0), Fusion(0.9, 0.5), Fusion(0.0, 2.0)])
def test_the_whole_fusion_in_one_round_trip(tmp_path, fusion):
    with QdrantEdgeStore(tmp_path / "shard") as store:
        fused_is_right(store, made_gallery(tmp_path / "gallery"), fusion)


def test_a_folder_that_is_open_elsewhere_is_named(tmp_path):
    with QdrantEdgeStore(tmp_path / "shard") as store:
        store.push(made_gallery(tmp_path / "gallery"), progress=False)
        with pytest.raises(GalleryError, match="one process at a time"):
            QdrantEdgeStore(tmp_path / "shard").search(made_queries(), 3)
    with QdrantEdgeStore(tmp_path / "shard") as store:
        assert store.search(made_queries(), 3).rows.shape == (4, 3)
