from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from learned_twins import DIM, SMALL_AMES, ames, elvis, plain_scores, setting, torch_threads
from local_twins import make_queries, one
from patchrerank.errors import QueryError, SettingError, ShortlistError
from patchrerank.rerankers import AMES, AMES_PRESETS, AmesConfig, AmesSettings, Execution
from patchrerank.rerankers._candidates import batches_of
from patchrerank.rerankers.networks.ames_network import AmesNetwork
from patchrerank.rerankers.networks.ames_pairs import AmesPairs
from patchrerank.types import LocalDescriptors, Queries, Shortlist

REFERENCE = Path(__file__).parents[1] / "reference" / "ames_model"
CASES = ("fp", "binarized", "fp_gelu_prenorm")
EVERY = AmesSettings(None, None)
CONFIGS = {
    "published": SMALL_AMES,
    "binarised": replace(SMALL_AMES, binarized=True),
    "prenorm": replace(SMALL_AMES, prenorm=True, activation="gelu", heads=4),
    "one layer": replace(SMALL_AMES, layers=1),
    "one layer, prenorm": replace(SMALL_AMES, layers=1, prenorm=True),
}


@pytest.fixture(autouse=True)
def one_thread():
    with torch_threads(1):
        yield


def load_case(case):
    given = json.loads((REFERENCE / case / "config.json").read_text())
    state = torch.load(REFERENCE / case / "checkpoint.pt", weights_only=True)["state"]
    derived = AmesConfig.of_state(state, case)
    config = replace(derived, heads=given["nhead"], activation=given["activation"])
    assert config == AmesConfig(
        given["local_dim"],
        given["model_dim"],
        given["nhead"],
        given["num_encoder_layers"],
        given["dim_feedforward"],
        given["activation"],
        given["normalize_before"],
        given["binarized"],
    )
    network = AmesNetwork(config)
    network.load_state_dict(state)
    with np.load(REFERENCE / case / "io.npz") as data:
        arrays = {name: torch.from_numpy(data[name]) for name in data.files}
    return network.eval(), arrays


def inputs(arrays, dtype=torch.float32):
    found = (arrays[f"{side}_{part}"] for part in ("local", "mask") for side in ("src", "tgt"))
    return [part if part.dtype == torch.bool else part.to(dtype) for part in found]


def worst(ours, theirs):
    return float((ours.detach() - theirs).abs().max())


@pytest.mark.parametrize("case", CASES)
def test_recorded_similarities(case):
    network, arrays = load_case(case)
    src, tgt, src_mask, tgt_mask = inputs(arrays)
    with torch.inference_mode():
        assert worst(network(src, tgt, src_mask, tgt_mask), arrays["sim"]) < 2e-5
        assert worst(network(tgt, src, tgt_mask, src_mask), arrays["sim_swapped"]) < 2e-5
        assert worst(network.tokens(src, tgt, src_mask, tgt_mask), arrays["tokens"]) < 2e-5
        exact = network.double()(*inputs(arrays, torch.float64))
        assert worst(exact, arrays["sim_float64"]) < 1e-13


@pytest.mark.parametrize("case", ["fp", "binarized"])
def test_recorded_inner_values(case):
    network, arrays = load_case(case)
    src, tgt, src_mask, tgt_mask = inputs(arrays)
    outputs = []
    for layer in network.decoder.layers:
        layer.register_forward_hook(lambda _module, _given, out: outputs.append(out))
    with torch.inference_mode():
        assert worst(network.query_side(src), arrays["dbg_src_remap"]) < 2e-5
        assert worst(network.query_side(tgt), arrays["dbg_tgt_remap"]) < 2e-5
        rounded = network.gallery_side(tgt)
        if case == "fp":
            assert torch.equal(rounded, rounded.half().float())
            assert 1e-5 < worst(rounded, arrays["dbg_tgt_remap"]) < 5e-3
        network(src, tgt, src_mask, tgt_mask)
    for number, output in enumerate(outputs):
        assert worst(output, arrays[f"dbg_after_layer_{number}"]) < 2e-5


@pytest.mark.parametrize("case", CASES)
def test_recorded_training_step(case):
    network, arrays = load_case(case)
    network.train().requires_grad_(True)
    logits = network(*inputs(arrays))
    assert worst(logits, arrays["sim_train"]) < 2e-5
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, arrays["train_labels"])
    assert worst(loss, arrays["train_loss"]) < 1e-6
    loss.backward()
    norms = json.loads((REFERENCE / case / "train_grad_norms.json").read_text())
    assert set(norms) == {name for name, _ in network.named_parameters()}
    for name, weight in network.named_parameters():
        assert float(weight.grad.norm()) == pytest.approx(norms[name], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_pairs_score_the_recorded_rows(case):
    """One query against one padded candidate; garbage under a mask has no influence."""
    network, arrays = load_case(case)
    src, tgt, src_mask, tgt_mask = inputs(arrays)
    pairs = AmesPairs(network)
    for row in np.flatnonzero(~tgt_mask.all(dim=1).numpy()):
        at = slice(row, row + 1)
        with torch.inference_mode():
            query = pairs.side(network.query_side(src[at][:, ~src_mask[row]]))
            found = pairs(*query, network.gallery_side(tgt[at]), ~tgt_mask[at])
        assert worst(found, arrays["sim"][at]) < 2e-5


def test_the_sign_of_zero_is_zero():
    network = ames(CONFIGS["binarised"])
    codes = network.codes(torch.zeros(1, 1, DIM))
    assert codes.abs().max() == 0
    ones = torch.tensor([-1.0, 1.0])
    assert torch.isin(network.codes(torch.randn(4, DIM)), ones).all()


def test_initial_weights():
    network = AmesNetwork(AmesConfig(layers=1))
    network.requires_grad_(False)
    assert float(network.classifier.weight.abs().max()) < 0.1
    assert float(network.decoder.layers[0].linear1.weight.std()) == pytest.approx(0.02, rel=0.1)
    xavier = network.decoder.layers[0].self_attn.in_proj_weight
    assert float(xavier.abs().max()) == pytest.approx((6 / (4 * 128)) ** 0.5, rel=0.01)
    assert sum(weight.numel() for weight in AmesNetwork().parameters()) == 2_079_745
    binarised = AmesNetwork(AmesConfig(binarized=True))
    assert sum(weight.numel() for weight in binarised.parameters()) == 2_096_129


@pytest.mark.parametrize("limits", [(None, None), (7, 3), (3, 30)], ids=str)
@pytest.mark.parametrize("name", CONFIGS)
def test_scores_equal_the_plain_network_pair_by_pair(name, limits):
    gallery, queries, shortlist = setting()
    network = ames(CONFIGS[name])
    found = AMES(gallery, network=network, settings=AmesSettings(*limits)).score(queries, shortlist)
    expected = plain_scores(network, gallery, queries, shortlist, limits)
    assert found.scores.dtype == np.float32
    assert found.boxes is None
    assert expected[np.isfinite(expected)].std() > 0.02, "weights that show"
    np.testing.assert_allclose(found.scores, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("kind", ["float16", "int8", "binary"])
def test_other_stores_are_decoded(kind):
    gallery, queries, shortlist = setting(kind)
    network = ames()
    found = AMES(gallery, network=network, settings=EVERY).score(queries, shortlist)
    expected = plain_scores(network, gallery, queries, shortlist)
    np.testing.assert_allclose(found.scores, expected, rtol=0, atol=2e-5)


def test_threads_do_not_matter_and_batches_hardly():
    gallery, queries, shortlist = setting()
    before = [query.vectors.copy() for query in queries.local], shortlist.rows.copy()
    network = ames()
    one_thread, two = (
        AMES(gallery, network=network, settings=EVERY, execution=Execution(threads=threads))
        for threads in (1, 2)
    )
    together = one_thread.score(queries, shortlist).scores
    assert np.array_equal(two.score(queries, shortlist).scores, together)
    assert np.array_equal(two.score(queries, shortlist).scores, together)
    for tokens in (1, 60, 5000):
        how = Execution(threads=2, max_tokens=tokens)
        again = AMES(gallery, network=network, settings=EVERY, execution=how)
        np.testing.assert_allclose(
            again.score(queries, shortlist).scores, together, rtol=0, atol=1e-5
        )
    for number in range(len(queries)):
        alone = one_thread.score(*one(queries, shortlist, number)).scores[0]
        assert np.array_equal(alone, together[number])
    assert all(np.array_equal(a, b.vectors) for a, b in zip(before[0], queries.local, strict=True))
    assert np.array_equal(before[1], shortlist.rows)


def test_torch_is_left_as_it_was():
    gallery, queries, shortlist = setting()
    network = ames().train().requires_grad_(True)
    state = torch.random.get_rng_state()
    for threads in (1, 2):
        with torch_threads(2):
            how = Execution(threads=threads)
            reranker = AMES(gallery, network=network, settings=EVERY, execution=how)
            reranker.score(queries, shortlist)
            assert torch.get_num_threads() == 2
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.is_grad_enabled()
    assert network.training and all(weight.requires_grad for weight in network.parameters())
    assert not reranker.network.training


@pytest.mark.parametrize("limit", [1, 30, 100, 1000])
def test_batches_hold_no_more_than_their_limit(limit):
    gallery, _, _ = setting()
    images = np.array([4, 1, 2, -1, 7, 3, 8, 0, 9])
    batches = batches_of(gallery.local, images, 35, 9, limit)
    slots = np.concatenate([batch.slots for batch in batches])
    assert sorted(slots.tolist()) == [0, 2, 4, 5, 6, 7, 8], "those with descriptors, once each"
    for batch in batches:
        assert len(batch.slots) == 1 or len(batch.slots) * (batch.width + 9) <= limit
        assert batch.width <= 35 and batch.counts.min() >= 0.75 * batch.width
        assert batch.rows.shape == batch.valid.shape == (len(batch.slots), batch.width)
        for slot, rows, valid in zip(batch.slots, batch.rows, batch.valid, strict=True):
            end = gallery.local.ends[images[slot]]
            begin = gallery.local.ends[images[slot] - 1] if images[slot] else 0
            assert rows[valid].tolist() == list(range(begin, min(end, begin + 35)))


def test_nothing_to_compare():
    gallery, queries, shortlist = setting(queries=(0, 4))
    reranker = AMES(gallery, network=ames())
    found = reranker.score(queries, shortlist)
    assert (found.scores[0] == -np.inf).all(), "a query without descriptors"
    empty = (shortlist.rows[1] == 1) | (shortlist.rows[1] == -1)
    assert empty.sum() >= 2
    assert (found.scores[1, empty] == -np.inf).all()
    assert np.isfinite(found.scores[1, ~empty]).all()
    none = Shortlist(np.zeros((2, 0), np.int64), np.zeros((2, 0), np.float32))
    assert reranker.score(queries, none).scores.shape == (2, 0)
    single = Shortlist(np.array([[4], [1]]), np.ones((2, 1), np.float32))
    assert reranker.score(queries, single).scores.tolist() == [[-np.inf], [-np.inf]]
    ranking = reranker.rerank(queries, single)
    assert ranking.rows.tolist() == [[4], [1]] and np.isnan(ranking.boxes).all()


def test_errors():
    gallery, queries, shortlist = setting()
    reranker = AMES(gallery, network=ames())
    with pytest.raises(QueryError, match=r"ames.*dense_encoder.*encode_local_queries"):
        reranker.score(Queries(queries.vectors), shortlist)
    with pytest.raises(QueryError, match=r"query 0 have 5 dimensions, the network takes 16"):
        reranker.score(make_queries(np.random.default_rng(0), (2, 2, 2), 5), shortlist)
    with pytest.raises(QueryError, match="2 shortlists"):
        reranker.score(queries, Shortlist(shortlist.rows[:2], shortlist.scores[:2]))
    with pytest.raises(ShortlistError, match="not in a store of 10 images"):
        reranker.score(queries, Shortlist(np.full((3, 1), 10), np.ones((3, 1), np.float32)))
    broken = replace(queries.local[1], vectors=np.full((1, DIM), np.nan, np.float32))
    local = [queries.local[0], broken, queries.local[2]]
    with pytest.raises(QueryError, match="query 1 hold NaN"):
        reranker.score(Queries(queries.vectors, local=local), shortlist)


def test_setting_errors():
    gallery, _, _ = setting()
    with pytest.raises(SettingError, match=r"ames needs trained weights: pass checkpoint="):
        AMES(gallery)
    with pytest.raises(SettingError, match="not both"):
        AMES(gallery, network=ames(), checkpoint="x.pt")
    with pytest.raises(SettingError, match="config belongs to a checkpoint"):
        AMES(gallery, network=ames(), config=SMALL_AMES)
    with pytest.raises(SettingError, match="ElvisNetwork, not a AmesNetwork"):
        AMES(gallery, network=elvis())
    for wrong in ({"heads": 3}, {"layers": 0}, {"activation": "glu"}):
        with pytest.raises(SettingError):
            AmesConfig(**wrong)
    with pytest.raises(SettingError, match="query_descriptors"):
        AmesSettings(0)
    for wrong in (
        {"precision": "fp8"},
        {"backend": "onnx"},
        {"threads": 0},
        {"max_tokens": 0},
        {"backend": "openvino", "precision": "bfloat16"},
        {"backend": "openvino", "device": "cuda"},
    ):
        with pytest.raises(SettingError):
            Execution(**wrong)


def test_presets_are_the_published_settings():
    settings = {
        name: (preset.fusion.lam, preset.fusion.gamma) for name, preset in AMES_PRESETS.items()
    }
    assert settings == {
        "dinov2": (0.55, 0.30),
        "dinov2-binary": (0.35, 0.10),
        "cvnet": (0.85, 0.80),
        "cvnet-binary": (0.65, 0.20),
    }
    for preset in AMES_PRESETS.values():
        assert preset.fusion.shortlist_size == 100
        assert preset.settings == AmesSettings(600, 50) == AmesSettings()


def test_bfloat16_is_close():
    gallery, queries, shortlist = setting()
    network = ames()
    exact = AMES(gallery, network=network, settings=EVERY).score(queries, shortlist).scores
    how = Execution(precision="bfloat16", threads=1)
    found = AMES(gallery, network=network, settings=EVERY, execution=how)
    found = found.score(queries, shortlist).scores
    there = np.isfinite(exact)
    assert np.array_equal(there, np.isfinite(found))
    assert 0 < np.abs(found[there] - exact[there]).max() < 0.1


@pytest.mark.parametrize("name", ["published", pytest.param("prenorm", marks=pytest.mark.slow)])
def test_openvino_gives_the_same_scores(name):
    if find_spec("openvino") is None:
        pytest.skip("openvino is absent")
    gallery, queries, shortlist = setting()
    network = ames(CONFIGS[name])
    how = Execution(backend="openvino", threads=2)
    eager = AMES(gallery, network=network, settings=EVERY).score(queries, shortlist)
    found = AMES(gallery, network=network, settings=EVERY, execution=how).score(queries, shortlist)
    np.testing.assert_allclose(found.scores, eager.scores, rtol=0, atol=1e-4)


def test_only_the_strongest_descriptors_count():
    gallery, queries, _ = setting()
    vectors = queries.local[0].vectors
    twice = LocalDescriptors(
        np.concatenate([vectors, vectors]),
        np.tile(queries.local[0].positions, (2, 1)),
        np.tile(queries.local[0].scales, 2),
        np.tile(queries.local[0].weights, 2),
    )
    local = [twice, queries.local[0]]
    shortlist = Shortlist(np.tile(np.arange(5), (2, 1)), np.tile(np.linspace(1, 0, 5), (2, 1)))
    both = Queries(queries.vectors[:2], local=local)
    settings = AmesSettings(len(vectors), None)
    found = AMES(gallery, network=ames(), settings=settings).score(both, shortlist).scores
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-6)
