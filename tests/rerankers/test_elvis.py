from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from learned_twins import DIM, SMALL_ELVIS, elvis, plain_scores, setting, torch_threads
from local_twins import FakeGallery, make_local, make_queries, one
from patchrerank.errors import QueryError, SettingError, ShortlistError
from patchrerank.fusion import Fusion
from patchrerank.rerankers import (
    ELVIS_FUSION,
    ELViS,
    ElvisConfig,
    ElvisSettings,
    Execution,
    draw_votes,
)
from patchrerank.rerankers.networks.elvis_network import ElvisNetwork
from patchrerank.rerankers.networks.elvis_pairs import ElvisPairs
from patchrerank.rerankers.votes import vote_boxes
from patchrerank.types import LocalDescriptors, Queries, Shortlist

REFERENCE = Path(__file__).parents[1] / "reference" / "elvis_model"
CASES = ("fp", "binarized", "fp_nomask")
TRIMMED = ElvisSettings(None, None, "none")
CONFIGS = {"published": SMALL_ELVIS, "binarised": replace(SMALL_ELVIS, binarized=True)}


@pytest.fixture(autouse=True)
def one_thread():
    with torch_threads(1):
        yield


def load_case(case):
    given = json.loads((REFERENCE / case / "config.json").read_text())
    state = torch.load(REFERENCE / case / "checkpoint.pt", weights_only=True)["state"]
    config = ElvisConfig.of_state(state, case)
    assert config == ElvisConfig(
        given["local_dim"],
        given["embed_dim"],
        given["proj_dim"],
        given["sh_iter"],
        given["sh_temp"],
        given["binarized"],
    )
    network = ElvisNetwork(config)
    network.load_state_dict(state)
    with np.load(REFERENCE / case / "io.npz") as data:
        arrays = {name: torch.from_numpy(data[name]) for name in data.files}
    return network.eval(), arrays


def inputs(arrays, dtype=torch.float32, swapped=False):
    sides = ("tgt", "src") if swapped else ("src", "tgt")
    names = [f"{side}_{part}" for part in ("local", "mask") for side in sides]
    found = [arrays[name] for name in names if name in arrays]
    return [part if part.dtype == torch.bool else part.to(dtype) for part in found]


def close(ours, theirs, rel=1e-5):
    np.testing.assert_allclose(ours.detach().numpy(), theirs.numpy(), rtol=rel, atol=0)


@pytest.mark.parametrize("case", CASES)
def test_recorded_similarities(case):
    network, arrays = load_case(case)
    with torch.inference_mode():
        close(network(*inputs(arrays)), arrays["sim"])
        close(network(*inputs(arrays, swapped=True)), arrays["sim_swapped"])
        close(network.double()(*inputs(arrays, torch.float64)), arrays["sim_float64"], 1e-6)


@pytest.mark.parametrize("case", ["fp", "binarized"])
def test_recorded_inner_values(case):
    network, arrays = load_case(case)
    src, tgt, src_mask, tgt_mask = inputs(arrays)
    with torch.inference_mode():
        query, target = network.query_side(src), network.gallery_side(tgt)
        found = network.match(src, tgt, src_mask, tgt_mask)
        cosines = query @ target.transpose(1, 2)
        bins = network.dust(query), network.dust(target)
    there = ~(src_mask[:, :, None] | tgt_mask[:, None])
    same = {"rtol": 0, "atol": 2e-5}
    np.testing.assert_allclose(cosines[there], arrays["dbg_correlation"][there], **same)
    np.testing.assert_allclose(bins[0], arrays["dbg_src_dust_bin"], **same)
    np.testing.assert_allclose(bins[1], arrays["dbg_tgt_dust_bin"], **same)
    np.testing.assert_allclose(found.transport[there], arrays["dbg_log_prob"][there], **same)
    assert (found.transport[~there] == -np.inf).all()
    np.testing.assert_allclose(found.best, arrays["dbg_best_prob"], **same)
    np.testing.assert_allclose(found.logits, arrays["dbg_vote_logit"], **same)


@pytest.mark.parametrize("case", CASES)
def test_recorded_training_step(case):
    network, arrays = load_case(case)
    network.train().requires_grad_(True)
    logits = network(*inputs(arrays))
    np.testing.assert_allclose(logits.detach(), arrays["sim_train"], rtol=0, atol=1e-4)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, arrays["train_labels"])
    assert float(loss.detach()) == pytest.approx(float(arrays["train_loss"]), abs=1e-5)
    loss.backward()
    norms = json.loads((REFERENCE / case / "train_grad_norms.json").read_text())
    assert set(norms) == {name for name, _ in network.named_parameters()}
    for name, weight in network.named_parameters():
        assert float(weight.grad.norm()) == pytest.approx(norms[name], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_pairs_score_the_recorded_rows(case):
    """Padded rows count, but are never computed; row 4 hides garbage, which has a small say."""
    network, arrays = load_case(case)
    src, tgt, *masks = inputs(arrays)
    masks = masks or [torch.zeros(part.shape[:2], dtype=torch.bool) for part in (src, tgt)]
    pairs = ElvisPairs(network)
    for row in range(len(src)):
        own, theirs = src[row][~masks[0][row]], tgt[row][~masks[1][row]]
        if not len(own) or not len(theirs):
            continue
        for slots, name in ((src.shape[1], tgt.shape[1]), "sim"), ((0, len(theirs)), "sim_trimmed"):
            if name not in arrays or (name == "sim" and row == 4):
                continue
            with torch.inference_mode():
                query = pairs.side(network.query_side(own), slots[0])
                there, count = torch.ones(1, len(theirs)), torch.tensor([float(slots[1])])
                found, votes = pairs(*query, network.gallery_side(theirs[None]), there, count)
            close(found, arrays[name][row : row + 1])
            assert votes.shape == (1, len(theirs)) and 0 <= votes.min() <= votes.max() <= 1


def test_initial_weights():
    network = ElvisNetwork()
    assert sum(weight.numel() for weight in network.parameters()) == 115_604
    assert float(network.dust_bin.detach()) == 1.0
    assert not network.f[0].bias.any()


@pytest.mark.parametrize(
    "settings",
    [TRIMMED, ElvisSettings(50, 45), ElvisSettings(6, 4), ElvisSettings(6, 4, "none")],
    ids=str,
)
@pytest.mark.parametrize("name", CONFIGS)
def test_scores_equal_the_plain_network_pair_by_pair(name, settings):
    gallery, queries, shortlist = setting()
    network = elvis(CONFIGS[name])
    found = ELViS(gallery, network=network, settings=settings).score(queries, shortlist)
    limits = settings.query_descriptors, settings.gallery_descriptors
    expected = plain_scores(network, gallery, queries, shortlist, limits, settings.slots)
    assert found.scores.dtype == found.boxes.dtype == np.float32
    assert expected[np.isfinite(expected)].std() > 0.5, "weights that show"
    np.testing.assert_allclose(found.scores, expected, rtol=1e-5)


@pytest.mark.parametrize(("dust", "temperature"), [(7.0, 10.0), (-0.5, 90.0)])
def test_large_exponents_are_computed_in_more_digits(dust, temperature):
    gallery, queries, shortlist = setting()
    network = elvis(replace(SMALL_ELVIS, temperature=temperature))
    with torch.no_grad():
        network.dust_bin.fill_(dust)
    found = ELViS(gallery, network=network, settings=TRIMMED).score(queries, shortlist).scores
    expected = plain_scores(network, gallery, queries, shortlist)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    with pytest.raises(SettingError, match="temperature × dust bin"):
        ELViS(gallery, network=elvis(replace(SMALL_ELVIS, temperature=1000.0)))


def test_threads_do_not_matter_and_batches_hardly():
    gallery, queries, shortlist = setting("float16")
    network = elvis()
    one_thread, two = (
        ELViS(gallery, network=network, execution=Execution(threads=threads)) for threads in (1, 2)
    )
    together = one_thread.score(queries, shortlist)
    for again in (two.score(queries, shortlist), two.score(queries, shortlist)):
        assert np.array_equal(again.scores, together.scores)
        assert np.array_equal(again.boxes, together.boxes, equal_nan=True)
    for tokens in (1, 60, 5000):
        how = Execution(threads=2, max_tokens=tokens)
        again = ELViS(gallery, network=network, execution=how).score(queries, shortlist)
        np.testing.assert_allclose(again.scores, together.scores, rtol=1e-5)
    for number in range(len(queries)):
        alone = one_thread.score(*one(queries, shortlist, number))
        assert np.array_equal(alone.scores[0], together.scores[number])


def test_nothing_to_compare():
    gallery, queries, shortlist = setting(queries=(0, 4))
    reranker = ELViS(gallery, network=elvis())
    found = reranker.score(queries, shortlist)
    assert (found.scores[0] == -np.inf).all(), "a query without descriptors"
    assert np.isnan(found.boxes[0]).all()
    empty = (shortlist.rows[1] == 1) | (shortlist.rows[1] == -1)
    assert empty.sum() >= 2
    assert (found.scores[1, empty] == -np.inf).all()
    assert np.isnan(found.boxes[1, empty]).all()
    assert np.isfinite(found.scores[1, ~empty]).all()
    none = Shortlist(np.zeros((2, 0), np.int64), np.zeros((2, 0), np.float32))
    assert reranker.score(queries, none).boxes.shape == (2, 0, 4)
    single = Shortlist(np.array([[4], [1]]), np.ones((2, 1), np.float32))
    assert reranker.score(queries, single).scores.tolist() == [[-np.inf], [-np.inf]]
    assert len(reranker.rerank(queries, single).rows) == 2


def test_errors():
    gallery, queries, shortlist = setting()
    reranker = ELViS(gallery, network=elvis())
    with pytest.raises(QueryError, match=r"elvis.*dense_encoder.*encode_local_queries"):
        reranker.score(Queries(queries.vectors), shortlist)
    with pytest.raises(QueryError, match="dimensions"):
        reranker.score(make_queries(np.random.default_rng(0), (2, 2, 2), 5), shortlist)
    with pytest.raises(ShortlistError, match="not in a store"):
        reranker.score(queries, Shortlist(np.full((3, 1), 10), np.ones((3, 1), np.float32)))
    with pytest.raises(SettingError, match="elvis needs trained weights"):
        ELViS(gallery)
    with pytest.raises(SettingError, match="padding"):
        ElvisSettings(padding="zeros")
    with pytest.raises(SettingError, match="temperature"):
        ElvisConfig(temperature=0)
    with pytest.raises(SettingError, match="iterations"):
        ElvisConfig(iterations=0)
    assert Fusion(0.5, 0.5, 100) == ELVIS_FUSION


def test_openvino_gives_the_same_scores():
    if find_spec("openvino") is None:
        pytest.skip("openvino is absent")
    gallery, queries, shortlist = setting()
    network, how = elvis(), Execution(backend="openvino", threads=2)
    eager = ELViS(gallery, network=network).score(queries, shortlist)
    found = ELViS(gallery, network=network, execution=how).score(queries, shortlist)
    np.testing.assert_allclose(found.scores, eager.scores, rtol=1e-4)
    np.testing.assert_allclose(found.boxes, eager.boxes, atol=1e-6)


def test_bfloat16_is_close():
    gallery, queries, shortlist = setting()
    network, how = elvis(), Execution(precision="bfloat16", threads=1)
    exact = ELViS(gallery, network=network).score(queries, shortlist).scores
    found = ELViS(gallery, network=network, execution=how).score(queries, shortlist).scores
    np.testing.assert_allclose(found, exact, rtol=0.05)


def voting_network():
    """Descriptors are compared as they are; a share above ½ is a vote, one below it is none."""
    network = ElvisNetwork(ElvisConfig(128, embed_dim=2, proj_dim=2, temperature=30.0))
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
        network.remap_local[0].weight.copy_(torch.eye(128))
        network.remap_local[1].weight.fill_(1)
        network.dust_bin_mlp[2].bias.fill_(0.5)
        network.f[0].weight.copy_(torch.tensor([[1.0], [-1.0]]))
        network.f[0].bias.copy_(torch.tensor([-0.5, 0.5]))
        network.f[1].weight.fill_(1)
        network.f[3].weight.copy_(torch.tensor([[8.0, -8.0]]))
    return network.eval()


@pytest.fixture
def planted():
    """A candidate on a 10 × 10 grid whose cells 3…6 across and 5…7 down the query shows too."""
    rng = np.random.default_rng(3)
    local = make_local(rng, [100, 100], grids=((10, 10),), dim=128)
    setting_of = setting()[0].local
    local.manifest, local.folder, local.identity = (
        setting_of.manifest,
        setting_of.folder,
        setting_of.identity,
    )
    places = np.floor(local.positions[100:] * 10).astype(int)
    rows = 100 + np.flatnonzero((places >= (3, 5)).all(axis=1) & (places <= (6, 7)).all(axis=1))
    vectors = local.store.decode(rows)
    strange = make_queries(rng, (20,), 128).local[0].vectors
    own = np.concatenate([vectors, strange])
    query = LocalDescriptors(
        own,
        rng.random((len(own), 2), dtype=np.float32),
        np.zeros(len(own), np.int16),
        np.ones(len(own), np.float32),
    )
    gallery = FakeGallery(local)
    return ELViS(gallery, network=voting_network(), settings=TRIMMED), query, rows - 100


def test_votes_lie_where_the_query_is_seen(planted):
    reranker, query, seen = planted
    votes = reranker.vote_map(query, 1)
    assert sorted(np.flatnonzero(votes.votes > 0.5)) == sorted(seen)
    assert (votes.query_votes > 0.5).sum() == len(seen)
    assert votes.query_matches[: len(seen)].tolist() == seen.tolist()
    assert votes.matches[seen].tolist() == list(range(len(seen)))
    assert votes.shares.shape == (len(query), 100)
    np.testing.assert_array_equal(votes.query_positions, query.positions)
    np.testing.assert_allclose(votes.cells, 0.1)
    np.testing.assert_allclose(votes.box, [0.3, 0.5, 0.7, 0.8], atol=0.11)
    queries = Queries(np.zeros((1, 8), np.float32), local=[query])
    found = reranker.score(queries, Shortlist(np.array([[1, 0]]), np.array([[1.0, 0.5]])))
    assert found.scores[0, 0] == pytest.approx(votes.score, rel=1e-5)
    np.testing.assert_allclose(found.boxes[0, 0], votes.box, atol=1e-6)
    assert found.scores[0, 0] > found.scores[0, 1] + 10
    assert np.isnan(found.boxes[0, 1]).all(), "nothing of it is seen in image 0"


def test_votes_as_a_picture(planted):
    reranker, query, seen = planted
    votes = reranker.vote_map(query, 1)
    plain = Image.new("RGB", (200, 100), (40, 40, 40))
    drawn = np.asarray(draw_votes(votes, plain, box=False)).astype(int)
    assert drawn.shape == (100, 200, 3) and plain.getpixel((100, 65)) == (40, 40, 40)
    for number, (x, y) in enumerate(votes.positions):
        red = drawn[int(y * 100), int(x * 200), 0]
        assert red > 120 if number in seen else red < 60
    framed = np.asarray(draw_votes(votes, plain)).astype(int)
    changed = np.argwhere((framed != drawn).any(axis=2)) / (100, 200)
    np.testing.assert_allclose(changed.min(axis=0)[::-1], votes.box[:2], atol=0.02)
    np.testing.assert_allclose(changed.max(axis=0)[::-1], votes.box[2:], atol=0.02)


def test_vote_map_needs_descriptors():
    gallery, queries, _ = setting()
    reranker = ELViS(gallery, network=elvis())
    for row in (1, -1, 10):
        with pytest.raises(ShortlistError):
            reranker.vote_map(queries.local[0], row)
    for row in (0, 4):
        votes = reranker.vote_map(queries.local[0], row)
        shortlist = Shortlist(np.array([[row]]), np.ones((1, 1), np.float32))
        found = reranker.score(Queries(queries.vectors[:1], local=queries.local[:1]), shortlist)
        assert found.scores[0, 0] == pytest.approx(votes.score, rel=1e-5)
    with pytest.raises(QueryError, match="dimensions"):
        reranker.vote_map(make_queries(np.random.default_rng(0), (3,), 5).local[0], 0)


def test_boxes_hold_the_votes_without_the_outliers():
    rng = np.random.default_rng(0)
    positions = rng.random((6, 40, 2), dtype=np.float32)
    cells = np.full((6, 40, 2), 0.02, np.float32)
    votes = rng.random((6, 40), dtype=np.float32) ** 3
    votes[5] = 0
    votes[4, 1:] = 0
    found = vote_boxes(positions, cells, votes)
    assert np.isnan(found[5]).all()
    np.testing.assert_allclose(found[4, :2], (positions[4, 0] - 0.02).clip(0, 1), atol=1e-6)
    np.testing.assert_allclose(found[4, 2:], (positions[4, 0] + 0.02).clip(0, 1), atol=1e-6)
    for place, weight, box in zip(positions[:4], votes[:4], found[:4], strict=True):
        for axis in (0, 1):
            below = weight[place[:, axis] - 0.02 < box[axis] - 1e-6].sum() / weight.sum()
            above = weight[place[:, axis] + 0.02 > box[axis + 2] + 1e-6].sum() / weight.sum()
            assert below <= 0.1 and above <= 0.1
            assert (weight[place[:, axis] - 0.02 <= box[axis] + 1e-6].sum() / weight.sum()) > 0.1


def test_dim_of_the_settings():
    assert elvis().local_dim == DIM and elvis().model_dim == 128


def test_float32_is_left_only_where_exponentials_need_it():
    types = {}
    for temperature in (39.0, 41.0, 299.0):
        network = elvis(replace(SMALL_ELVIS, temperature=temperature))
        with torch.no_grad():
            network.dust_bin.fill_(0.5)
        types[temperature] = ElvisPairs(network).wide
    assert types == {39.0: torch.float32, 41.0: torch.float64, 299.0: torch.float64}
