from __future__ import annotations

import numpy as np
import pytest
import torch

from local_twins import (
    KINDS,
    FakeGallery,
    chamfer_twin,
    make_local,
    make_queries,
    make_shortlist,
    one,
)
from patchrerank.encoders import Preprocessing, load_dense_encoder
from patchrerank.errors import GalleryError, QueryError, SettingError, ShortlistError
from patchrerank.fusion import Fusion
from patchrerank.gallery import (
    BuildOptions,
    LocalOptions,
    build_gallery,
    build_local,
    encode_local_queries,
    encode_queries,
)
from patchrerank.pipeline import Cascade, Stage
from patchrerank.regions import GridPyramid
from patchrerank.rerankers import RERANKERS, Patchify, Reranker, _local
from patchrerank.rerankers.chamfer import Chamfer, ChamferSettings
from patchrerank.types import Queries, Shortlist

COUNTS = [39, 0, 12, 1, 39, 5, 20, 39, 2, 33]
EVERY = [
    ChamferSettings(),
    ChamferSettings(best=3),
    ChamferSettings("symmetric"),
    ChamferSettings("symmetric", best=4),
]


def setting(kind="float32", queries=(9, 1, 14), seed=0):
    rng = np.random.default_rng(seed)
    local = make_local(rng, COUNTS, kind=kind)
    return FakeGallery(local), make_queries(rng, queries), make_shortlist(rng, len(queries), 9, 10)


@pytest.mark.parametrize("how", EVERY, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_scores_and_boxes_equal_the_slow_twin(kind, how):
    gallery, queries, shortlist = setting(kind)
    found = Chamfer(gallery, settings=how).score(queries, shortlist)
    assert found.scores.dtype == found.boxes.dtype == np.float32
    for (number, slot), image in np.ndenumerate(shortlist.rows):
        expected = chamfer_twin(
            queries.local[number], gallery.local, image, how.direction == "symmetric", how.best
        )
        assert found.scores[number, slot] == pytest.approx(expected[0], abs=1e-5)
        np.testing.assert_allclose(found.boxes[number, slot], expected[1], atol=1e-6)


@pytest.mark.parametrize("how", EVERY, ids=str)
@pytest.mark.parametrize("kind", ["float16", "binary"])
def test_neither_batches_nor_blocks_nor_threads_matter(monkeypatch, kind, how):
    gallery, queries, shortlist = setting(kind)
    before = [query.vectors.copy() for query in queries.local], shortlist.rows.copy()
    together = Chamfer(gallery, settings=how).score(queries, shortlist)
    monkeypatch.setattr(_local, "BLOCK_BYTES", 4000)
    again = Chamfer(gallery, settings=how, threads=2).score(queries, shortlist)
    assert np.array_equal(again.scores, together.scores)
    assert np.array_equal(again.boxes, together.boxes, equal_nan=True)
    for number in range(len(queries)):
        alone = Chamfer(gallery, settings=how).score(*one(queries, shortlist, number))
        assert np.array_equal(alone.scores[0], together.scores[number])
        assert np.array_equal(alone.boxes[0], together.boxes[number], equal_nan=True)
    assert all(np.array_equal(a, b.vectors) for a, b in zip(before[0], queries.local, strict=True))
    assert np.array_equal(before[1], shortlist.rows)


def test_blocks_hold_no_more_than_their_limit(monkeypatch):
    gallery, _, _ = setting("binary")
    monkeypatch.setattr(_local, "BLOCK_BYTES", 3000)
    images = np.array([4, 1, 2, -1, 7, 3, 8])
    blocks = list(_local.blocks_of(gallery.local, images, 2, decoded=True))
    assert np.array_equal(np.concatenate([block.images for block in blocks]), images)
    for block in blocks:
        store, ends, _ = block.decoded(gallery.local)
        assert len(store) == len(block.rows) == ends[-1]
        assert len(block.images) == 1 or store.data.nbytes + 8 * len(block.images) <= 3000


@pytest.mark.parametrize("how", EVERY, ids=str)
def test_nothing_to_compare(how):
    gallery, queries, shortlist = setting(queries=(0, 4))
    found = Chamfer(gallery, settings=how).score(queries, shortlist)
    assert (found.scores[0] == -np.inf).all(), "a query without descriptors"
    assert np.isnan(found.boxes[0]).all()
    empty = (shortlist.rows[1] == 1) | (shortlist.rows[1] == -1)
    assert empty.sum() >= 2
    assert (found.scores[1, empty] == -np.inf).all()
    assert np.isnan(found.boxes[1, empty]).all()
    assert np.isfinite(found.scores[1, ~empty]).all()
    none = Shortlist(np.zeros((2, 0), np.int64), np.zeros((2, 0), np.float32))
    assert Chamfer(gallery, settings=how).score(queries, none).scores.shape == (2, 0)
    single = Shortlist(np.array([[4], [1]]), np.ones((2, 1), np.float32))
    assert Chamfer(gallery, settings=how).score(queries, single).boxes.shape == (2, 1, 4)
    assert len(Chamfer(gallery, settings=how).rerank(queries, single).rows) == 2


def test_errors():
    gallery, queries, shortlist = setting()
    with pytest.raises(QueryError, match=r"chamfer.*dense_encoder.*encode_local_queries"):
        Chamfer(gallery).score(Queries(queries.vectors), shortlist)
    with pytest.raises(QueryError, match="dimensions"):
        Chamfer(gallery).score(make_queries(np.random.default_rng(0), (2, 2, 2), 5), shortlist)
    with pytest.raises(QueryError, match="2 shortlists"):
        Chamfer(gallery).score(queries, Shortlist(shortlist.rows[:2], shortlist.scores[:2]))
    outside = Shortlist(np.full((3, 1), 10), np.ones((3, 1), np.float32))
    with pytest.raises(ShortlistError, match="not in a store of 10 images"):
        Chamfer(gallery).score(queries, outside)
    with pytest.raises(SettingError, match="direction"):
        ChamferSettings("both")
    with pytest.raises(SettingError, match="best"):
        ChamferSettings(best=0)


def test_every_name_is_a_reranker():
    assert {"patchify", "chamfer", "dense_correlation"} <= set(RERANKERS)
    assert all(issubclass(kind, Reranker) and kind.name == key for key, kind in RERANKERS.items())


class Cells(torch.nn.Module):
    """Twelve colour mixtures of each 4 × 4 pixels."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.mix = torch.nn.Parameter(torch.randn(12, 3, 1, 1, generator=generator))

    def forward(self, pixels):
        pooled = torch.nn.functional.avg_pool2d(pixels, 4)
        return torch.nn.functional.conv2d(pooled, self.mix)


@pytest.fixture(scope="module")
def dense():
    plain = Preprocessing((32, 32), (0.5,) * 3, (0.25,) * 3, "area")
    return load_dense_encoder(
        Cells(), preprocessing=plain, image_size=32, stride=4, device="cpu", name="cells"
    )


@pytest.fixture(scope="module")
def local_gallery(tmp_path_factory, photo_folder, tiny_encoder, dense):
    folder = tmp_path_factory.mktemp("local") / "g"
    quiet = BuildOptions(progress=False)
    gallery = build_gallery(folder, photo_folder, tiny_encoder, GridPyramid(2), quiet)
    build_local(gallery, dense, LocalOptions(progress=False))
    return gallery


def test_drop_in_call_on_a_built_gallery(local_gallery, tiny_gallery, tiny_encoder, dense):
    ids = list(local_gallery.ids[:12])
    file = local_gallery.pictures[7]
    reranker = Chamfer(local_gallery, tiny_encoder, dense_encoder=dense)
    hits = reranker.rank(file, ids, box=[0.25, 0.25, 0.75, 0.75])
    assert hits[0].id == ids[7]
    assert hits[0].score == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-3)
    assert hits[0].local_score == pytest.approx(1.0, abs=1e-3)
    np.testing.assert_allclose(hits[0].box, [0.25, 0.25, 0.75, 0.75], atol=0.2)
    whole = reranker.rank(file, ids)
    np.testing.assert_allclose(whole[0].box, [0, 0, 1, 1], atol=0.2)
    assert reranker.rank(file, []) == []
    with pytest.raises(QueryError, match="dense_encoder"):
        Chamfer(local_gallery, tiny_encoder).rank(file, ids)
    with pytest.raises(GalleryError, match="has no local descriptors"):
        Chamfer(tiny_gallery, tiny_encoder, dense_encoder=dense).rank(file, ids)


def test_in_a_cascade_behind_patchify(local_gallery, tiny_encoder, dense):
    files = [local_gallery.pictures[row] for row in (3, 20)]
    queries = encode_queries(tiny_encoder, files)
    local = encode_local_queries(dense, files)
    queries = Queries(queries.vectors, encoder=queries.encoder, local=local)
    shortlist = Shortlist(np.tile(np.arange(30), (2, 1)), np.tile(np.linspace(1, 0, 30), (2, 1)))
    chamfer = Chamfer(local_gallery)
    cascade = Cascade(
        [Stage(Patchify(local_gallery), Fusion()), Stage(chamfer, Fusion(shortlist_size=10))]
    )
    ranking = cascade.rerank(queries, shortlist)
    assert ranking.rows[:, 0].tolist() == [3, 20]
    first = Patchify(local_gallery).rerank(queries, shortlist)
    assert np.array_equal(ranking.rows[:, 10:], first.rows[:, 10:])
    head = Shortlist(ranking.rows[:, :10], np.tile(np.linspace(1, 0, 10), (2, 1)))
    found = chamfer.score(queries, head)
    np.testing.assert_array_equal(ranking.local_scores[:, :10], found.scores)
    np.testing.assert_array_equal(ranking.boxes[:, :10], found.boxes)


def test_a_cascade_encodes_pictures_for_all_its_stages(local_gallery, tiny_encoder, dense):
    patchify = Patchify(local_gallery, tiny_encoder)
    chamfer = Chamfer(local_gallery, dense_encoder=dense)
    cascade = Cascade([Stage(patchify, Fusion()), Stage(chamfer, Fusion(shortlist_size=10))])
    ids = list(local_gallery.ids[:20])
    hits = cascade.rank(local_gallery.pictures[3], ids, box=[0.1, 0.1, 0.9, 0.9])
    assert hits[0].id == ids[3]
    assert len(hits) == 20
