"""What is scored on a device is what the CPU finds (torch on the CPU; CUDA or MPS if there)."""

from __future__ import annotations

import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_twins import KINDS, gallery, make_store, patch_max_twin, shortlists
from learned_twins import ames, elvis, setting
from local_twins import KINDS as LOCAL_KINDS
from local_twins import FakeGallery, make_local, make_queries, make_shortlist
from patchrerank.errors import QueryError, SettingError, ShortlistError
from patchrerank.fusion import Fusion
from patchrerank.gallery import (
    CompressOptions,
    Gallery,
    compact,
    compress,
    encode_queries,
    remove,
)
from patchrerank.gallery.merging import merge
from patchrerank.kernels import RabitqStore
from patchrerank.kernels.copies import fetched
from patchrerank.kernels.devices import Device
from patchrerank.kernels.on_device import best_on_device
from patchrerank.pipeline import load_reranker, make_cascade
from patchrerank.rerankers import AMES, AmesSettings, ELViS, ElvisSettings, Patchify
from patchrerank.rerankers.chamfer import Chamfer, ChamferSettings
from patchrerank.types import Shortlist

WHERE = ["torch:cpu"]
WHERE += ["cuda"] * torch.cuda.is_available() + ["mps"] * torch.backends.mps.is_available()
ROOMS = (None, 0, 1500)  # everything, nothing, some images


@pytest.mark.parametrize("memory", ROOMS)
@pytest.mark.parametrize("device", WHERE)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=4, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    dim=st.integers(1, 70),
    images=st.integers(1, 12),
    most=st.sampled_from([2, 9, 60]),
)
def test_best_patches_are_those_of_the_twin(kind, device, memory, seed, dim, images, most):
    rng = np.random.default_rng(seed)
    vectors, ends = gallery(rng, images, dim, most)
    store = make_store(kind, vectors, rng)
    boxes = rng.random((len(vectors), 4), dtype=np.float32)
    held = Device(device, memory).hold(store, ends, boxes.__getitem__)
    rounded = 2e-4 if not isinstance(store, RabitqStore) else 1e-3
    for queries, width in ((1, 7), (4, 5), (3, 0), (0, 4)):  # images come again
        asked = rng.standard_normal((queries, dim), dtype=np.float32)
        rows = shortlists(rng, queries, width, images)
        best = best_on_device(held, asked, rows)
        scores, patches, seen = fetched(held.device, best.scores, best.patches, best.boxes)
        expected, winners, gaps = patch_max_twin(asked, store, ends, rows)
        np.testing.assert_allclose(scores, expected, rtol=2e-5, atol=rounded)
        clear = gaps > 5 * rounded
        np.testing.assert_array_equal(patches[clear], winners[clear])
        begins = np.r_[0, ends][rows.clip(min=0)]
        own = boxes[(begins + patches)[patches >= 0]]
        np.testing.assert_array_equal(seen[patches >= 0], own)
        assert np.isnan(seen[patches < 0]).all()


@pytest.fixture(scope="module")
def asked(tiny_encoder, photo_folder, tiny_gallery):
    """Five queries, their lists ragged and with an image twice."""
    queries = encode_queries(tiny_encoder, [photo_folder / tiny_gallery.ids[n] for n in range(5)])
    rows = np.random.default_rng(0).permuted(np.tile(np.arange(40), (5, 1)), axis=1)[:, :12]
    rows[0, 3], rows[2, 9:], rows[4] = rows[0, 2], -1, -1
    scores = np.tile(np.linspace(1, 0, 12, dtype=np.float32), (5, 1))
    return queries, Shortlist(rows, scores)


def assert_same_ranking(found, expected):
    np.testing.assert_array_equal(found.rows, expected.rows)
    for name in ("scores", "global_scores", "local_scores", "boxes"):
        mine, theirs = getattr(found, name), getattr(expected, name)
        assert mine.dtype == theirs.dtype, name
        np.testing.assert_allclose(mine, theirs, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("memory", ROOMS)
@pytest.mark.parametrize("device", WHERE)
@pytest.mark.parametrize(
    "fusion",
    [Fusion(), Fusion(0.3, 4), Fusion(0.5, 1, 5), Fusion(0.4, 0), Fusion(1.0), Fusion(0.3, 4, 0)],
)
def test_rankings_are_those_of_the_cpu(tiny_gallery, asked, device, memory, fusion):
    plain = Patchify(tiny_gallery, fusion=fusion)
    there = plain.on_device(device, memory)
    assert_same_ranking(there.rerank(*asked), plain.rerank(*asked))
    found, expected = there.score(*asked), plain.score(*asked)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    assert there.on_device("cpu").rank_arrays(asked[0].vectors, rows=asked[1].rows[:, :1]).rows.size


@pytest.mark.parametrize("device", WHERE)
def test_hits_of_lists_are_those_of_the_cpu(tiny_gallery, asked, device):
    plain = load_reranker(tiny_gallery, "patchify:8:0.3:4,query-expansion:4,patchify:2:0.5:2")
    there, ids = plain.on_device(device), list(tiny_gallery.ids[:10])
    lists = [ids, [], ids[3:4], ["nobody", *ids[::-1]], ids[5:]]
    vectors = list(asked[0].vectors)
    for missing in ("keep", "drop"):
        found, expected = (r.rank_batch(vectors, lists, missing=missing) for r in (there, plain))
        for one, other in zip(found, expected, strict=True):
            assert [(h.id, h.rank, h.status, h.box) for h in one] == [
                (h.id, h.rank, h.status, h.box) for h in other
            ]
            assert [h.score for h in one] == pytest.approx([h.score for h in other], abs=1e-5)
    with pytest.raises(ShortlistError, match="nobody"):
        there.rank(vectors[0], ["nobody"])


@pytest.mark.parametrize("memory", ROOMS)
@pytest.mark.parametrize("device", WHERE)
def test_shards(tiny_gallery, asked, tmp_path, device, memory):
    merged = merge(tmp_path / "shards", [tiny_gallery], progress=False)
    plain = Patchify(Gallery(merged.folder), fusion=Fusion(0.3, 4))
    assert_same_ranking(plain.on_device(device, memory).rerank(*asked), plain.rerank(*asked))


@pytest.fixture(scope="module")
def coded(tmp_path_factory, tiny_gallery):
    """Codes with finer rows beside them, and the finer rows alone."""
    folder = tmp_path_factory.mktemp("coded")
    for store in ("rabitq1+int8", "int8"):
        compress(tiny_gallery, folder / store, CompressOptions(store, progress=False))
    return folder


def assert_same_hits(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert [(h.id, h.rank, h.status, h.box) for h in one] == [
            (h.id, h.rank, h.status, h.box) for h in other
        ]
        assert [h.score for h in one] == pytest.approx([h.score for h in other], abs=1e-5)


@pytest.mark.parametrize("memory", [None, 0, 1, 1500])
@pytest.mark.parametrize("device", WHERE)
@pytest.mark.parametrize("stages", ["patchify", "patchify:9:0.3:4,patchify+refine-patches:4:0.5:2"])
def test_finer_rows_score_all_whatever_is_rescored(coded, asked, stages, device, memory):
    fine, vectors = load_reranker(coded / "int8", stages), list(asked[0].vectors)
    ids = list(fine.gallery.ids)
    lists = [ids, [], ids[3:4], ["nobody", *ids[::-1]], ids[5:]]
    joined = merge(coded / f"set-{memory}-{len(stages)}-{device[:4]}", [coded / "rabitq1+int8"])
    for place in (coded / "rabitq1+int8", joined.folder):
        for rescore in (0, 2, None):
            plain = load_reranker(Gallery(place, rescore=rescore), stages)
            there = plain.on_device(device, memory)
            for missing in ("keep", "drop"):
                how = {"missing": missing}
                assert_same_hits(
                    there.rank_batch(vectors, lists, **how), fine.rank_batch(vectors, lists, **how)
                )


@pytest.mark.parametrize("device", WHERE)
def test_threads_share_what_is_kept_there(coded, asked, device):
    fine, vectors = load_reranker(coded / "int8"), list(asked[0].vectors)
    there = load_reranker(coded / "rabitq1+int8").on_device(device, 1500)
    orders = [list(np.random.default_rng(n).permutation(fine.gallery.ids)) for n in range(30)]
    with ThreadPoolExecutor(5) as pool:
        jobs = [pool.submit(there.rank, vectors[n % 5], ids) for n, ids in enumerate(orders)]
        found = [job.result() for job in jobs]
    for n, (hits, ids) in enumerate(zip(found, orders, strict=True)):
        expected = fine.rank(vectors[n % 5], ids)
        one, other = ({h.id: h.local_score for h in each} for each in (hits, expected))
        assert one == pytest.approx(other, abs=1e-5)
        scores = [[h.score for h in each] for each in (hits, expected)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-5), "in order, but for near ties"


@pytest.mark.parametrize("memory", [None, 0, 1])
@pytest.mark.parametrize("device", WHERE)
def test_a_gallery_that_changes_beneath(coded, tmp_path, asked, device, memory):
    for name in ("rabitq1+int8", "int8"):
        shutil.copytree(coded / name, tmp_path / name)
    there = load_reranker(tmp_path / "rabitq1+int8").on_device(device, memory)
    vector, ids = asked[0].vectors[0], list(there.gallery.ids)
    before = there.rank(vector, ids)
    for name in ("rabitq1+int8", "int8"):
        remove(tmp_path / name, ids[:3])
        compact(tmp_path / name)
    assert there.rank(vector, ids) == before, "what is open stays as it was"
    fine = load_reranker(tmp_path / "int8")
    again = load_reranker(tmp_path / "rabitq1+int8").on_device(device, memory)
    assert_same_hits([again.rank(vector, ids[3:])], [fine.rank(vector, ids[3:])])
    with pytest.raises(ShortlistError, match="3 of 40"):
        again.rank(vector, ids)
    remove(tmp_path / "rabitq1+int8", ids[3:])
    none = load_reranker(compact(tmp_path / "rabitq1+int8")).on_device(device, memory)
    assert none.rank(vector, []) == []
    assert [hit.status for hit in none.rank(vector, ids[:2], missing="keep")] == ["kept"] * 2


COUNTS = [39, 0, 12, 1, 39, 5, 20, 39, 2, 33]


@pytest.mark.parametrize("memory", [None, 0, 9000])
@pytest.mark.parametrize("device", WHERE)
@pytest.mark.parametrize("kind", LOCAL_KINDS)
@pytest.mark.parametrize(
    "how",
    [
        ChamferSettings(),
        ChamferSettings(best=3),
        ChamferSettings("symmetric"),
        ChamferSettings("symmetric", best=4),
    ],
    ids=str,
)
def test_chamfer_is_that_of_the_cpu(monkeypatch, how, kind, device, memory):
    rng = np.random.default_rng(0)
    drawn = FakeGallery(make_local(rng, COUNTS, kind=kind))
    queries, shortlist = make_queries(rng, (9, 0, 14, 1)), make_shortlist(rng, 4, 9, 10)
    plain = Chamfer(drawn, settings=how, fusion=Fusion(0.3, 4, 7))
    there = plain.on_device(device, memory)
    for _ in range(2):  # images come again
        found, expected = there.score(queries, shortlist), plain.score(queries, shortlist)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
        np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-6)
        assert_same_ranking(there.rerank(queries, shortlist), plain.rerank(queries, shortlist))
    for most in (4000, 40_000):  # blocks of lists, and of parts of one
        monkeypatch.setattr("patchrerank.kernels.on_device.BLOCK_BYTES", most)
        np.testing.assert_allclose(
            there.score(queries, shortlist).scores, expected.scores, atol=1e-5
        )
    none = Shortlist(np.zeros((4, 0), np.int64), np.zeros((4, 0), np.float32))
    assert there.rerank(queries, none).rows.shape == (4, 0)


@pytest.mark.parametrize("memory", [None, 0])
@pytest.mark.parametrize("device", WHERE)
@pytest.mark.parametrize("kind", ["float32", "int8"])
@pytest.mark.parametrize(
    ("make", "how"),
    [
        (lambda drawn, how: AMES(drawn, network=ames(), settings=how), AmesSettings(12, 20)),
        (lambda drawn, how: ELViS(drawn, network=elvis(), settings=how), ElvisSettings(12, 20)),
    ],
    ids=["ames", "elvis"],
)
def test_networks_of_pairs_score_as_on_the_cpu(make, how, kind, device, memory):
    drawn, queries, shortlist = setting(kind, (9, 0, 14))
    plain = make(drawn, how)
    there = plain.on_device(device, memory)
    found, expected = there.score(queries, shortlist), plain.score(queries, shortlist)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4, atol=1e-4)
    if plain.localises:
        np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-4)
    assert plain.execution.device == "cpu"
    assert plain.device is None


def test_stages_that_cannot_run_there_run_on_the_cpu(tiny_gallery, caplog):
    caplog.set_level("INFO")
    text = "patchify+refine-patches:10:0.3:4,query-expansion:5"
    there = make_cascade(text, tiny_gallery).on_device("torch:cpu")
    assert [stage.reranker.device is None for stage in there.stages] == [True, True]
    assert there.stages[0].reranker.reranker.device.name == "torch:cpu"
    assert "scores on the CPU" in caplog.text


def test_stages_share_what_is_held(tiny_gallery, asked):
    there = make_cascade("patchify:10,patchify:5", tiny_gallery).on_device("torch:cpu")
    there.rerank(*asked)
    (device,) = {
        id(stage.reranker.device): stage.reranker.device for stage in there.stages
    }.values()
    assert len(device._held) == 1
    fresh = pickle.loads(pickle.dumps(there))
    assert not fresh.stages[0].reranker.device._held
    assert_same_ranking(fresh.rerank(*asked), there.rerank(*asked))


def test_descriptors_that_lie_there_serve_stages_with_boxes_and_without():
    drawn, queries, shortlist = setting("float16", (9, 0, 14))
    plain = [ELViS(drawn, network=elvis(), settings=ElvisSettings(12, 20)), Chamfer(drawn)]
    for order in (plain, plain[::-1]):
        device = Device("torch:cpu")
        for one in order:
            found = one._placed(device).score(queries, shortlist)
            np.testing.assert_allclose(
                found.scores, one.score(queries, shortlist).scores, rtol=1e-4, atol=1e-4
            )
    assert len(device._held) == 1, "descriptors with boxes serve both"


def test_memory_is_kept_to(tiny_gallery, asked):
    device = Device("torch:cpu", 3000)
    there = Patchify(tiny_gallery)._placed(device)
    there.rerank(*asked)
    (held,) = device._held.values()
    assert 0 < held.nbytes <= 3000
    assert not held.whole


def test_bad_devices_memory_and_queries(tiny_gallery, asked):
    plain = Patchify(tiny_gallery)
    with pytest.raises(SettingError, match=r"device 'tpu9000' cannot be used: .*use cpu, cuda"):
        plain.on_device("tpu9000")
    for memory in (-1, 0.5, "1G"):
        with pytest.raises(SettingError, match="memory must be a number of bytes"):
            plain.on_device("torch:cpu", memory)
    there = plain.on_device("torch:cpu")
    outside = Shortlist(np.full((5, 1), 40), np.ones((5, 1), np.float32))
    with pytest.raises(ShortlistError, match="row 40 is not in a store of 40 images"):
        there.score(asked[0], outside)
    with pytest.raises(QueryError, match="5 queries but 1 shortlists"):
        there.score(asked[0], Shortlist(outside.rows[:1], outside.scores[:1]))


@pytest.mark.slow
def test_the_compiled_form_is_the_plain_one():
    """As on CUDA; needs a C++ compiler here."""
    from patchrerank.kernels import _torch

    compiled, generator = _torch.Compiled(), torch.Generator().manual_seed(0)
    queries = torch.randn(7, 64, generator=generator)
    owners = torch.randint(0, 7, (200,), generator=generator)
    counts = torch.randint(0, 9, (200,), generator=generator)
    begins = torch.randint(0, 290, (200,), generator=generator)
    numbers = torch.arange(8)
    for data, scales in (
        (torch.randn(300, 64, generator=generator).half(), None),
        (torch.randint(-127, 128, (300, 64), generator=generator).to(torch.int8), torch.rand(300)),
    ):
        table = _torch.Table(data, scales)
        plain = _torch.best_patches(table, queries, owners, begins, counts, 8)
        held = data, queries, scales
        found = compiled(_torch._best_of, _torch._summed, held, owners, begins, counts, numbers)
        if found is None:
            pytest.skip("torch.compile does not work here")
        torch.testing.assert_close(found[0], plain[0], rtol=1e-4, atol=1e-4)
        assert (found[1] == plain[1]).float().mean() > 0.99
