"""How a network's tokens become one vector: chosen in the spec, published in presets, recorded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch

from patchrerank.encoders import PRESETS, load_encoder
from patchrerank.encoders.presets import resolve
from patchrerank.errors import EncoderError, PatchRerankError

TINY = "timm:vit_tiny_patch16_dinov3_qkvb"
SIZE = 64


def load(spec: str, **settings):
    settings = {"pretrained": False, "backend": "eager", "device": "cpu", **settings}
    return load_encoder(spec, **settings)


def crops(count: int = 2, side: int = SIZE) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def tokens(encoder) -> torch.Tensor:
    """What the network computes in front of its pooling, behind the final norm."""
    runs = encoder.backend
    with torch.no_grad():
        return runs._module.forward_features(runs._normalised(crops()))


def assert_directions(encoder, expected: torch.Tensor) -> None:
    expected = torch.nn.functional.normalize(expected, dim=1).numpy()
    np.testing.assert_allclose(encoder.encode(crops()), expected, atol=1e-5)


def test_the_dinov3_presets_return_the_class_token():
    encoder = load("dinov3_vit_small", image_size=SIZE)
    assert_directions(encoder, tokens(encoder)[:, 0])
    assert encoder.pooling == encoder.describe()["pooling"] == "token"
    for name, preset in PRESETS.items():
        if name.startswith("dinov3_vit"):
            assert preset.spec.endswith("?pool=token")


def test_avg_is_the_mean_of_the_patch_tokens_without_class_and_registers():
    encoder = load(f"{TINY}?pool=avg", image_size=SIZE)
    assert_directions(encoder, tokens(encoder)[:, 5:].mean(dim=1))


def test_the_mean_where_the_authors_take_the_class_token_is_told_unless_asked_for(caplog):
    load(TINY, image_size=32)
    assert "its authors take the class token: ?pool=token" in caplog.text
    caplog.clear()
    load(f"{TINY}?pool=avg", image_size=32)
    load("timm:test_resnet")
    assert not caplog.text


def test_map_pooling_gives_way_to_avg_with_the_norm_where_the_weights_have_it():
    own, mean = load("timm:test_vit3"), load("timm:test_vit3?pool=avg")
    assert (own.pooling, mean.pooling) == ("map", "avg")
    given = crops(side=160)
    with torch.no_grad():
        runs = mean.backend
        found = runs._module.forward_features(runs._normalised(given))
    means = found.mean(dim=1)  # this model pools over its registers too
    expected = torch.nn.functional.normalize(means, dim=1).numpy()
    np.testing.assert_allclose(mean.encode(given), expected, atol=1e-5)
    assert load("timm:test_vit3?pool=map").fingerprint == own.fingerprint


def test_identity_differs_exactly_where_the_vectors_do():
    plain, avg, token = (
        load(f"{TINY}{option}", image_size=SIZE) for option in ("", "?pool=avg", "?pool=token")
    )
    assert plain.fingerprint == avg.fingerprint != token.fingerprint
    assert plain.weights == token.weights
    np.testing.assert_array_equal(plain.encode(crops()), avg.encode(crops()))


def test_without_another_pooling_the_identity_is_that_of_older_galleries():
    encoder = load("timm:test_vit")
    record = {
        "architecture": encoder.architecture,
        "weights": encoder.weights,
        "preprocessing": encoder.preprocessing.as_dict(),
    }
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    assert encoder.fingerprint == digest


def test_the_record_names_pooling_and_activation():
    assert load("timm:test_resnet").describe()["pooling"] == "avg"
    record = load("timm:test_vit").describe()
    assert (record["pooling"], record["activation"]) == ("token", "GELU")


def test_a_pooling_behind_a_presets_name_replaces_the_presets_own():
    model = "timm:vit_small_patch16_dinov3.lvd1689m"
    assert resolve("dinov3_vit_small") == f"{model}?pool=token"
    assert resolve("dinov3_vit_small?pool=avg") == f"{model}?pool=avg"
    assert load("dinov3_vit_small?pool=avg", image_size=32).spec == f"{model}?pool=avg"


def test_pooling_and_a_file(tmp_path):
    torch.manual_seed(11)
    torch.save(timm.create_model("test_vit").state_dict(), tmp_path / "w.pt")
    token = load(f"timm:test_vit/{tmp_path / 'w.pt'}")
    mean = load(f"timm:test_vit?pool=avg/{tmp_path / 'w.pt'}")
    assert token.weights == mean.weights
    assert token.fingerprint != mean.fingerprint
    with pytest.raises(EncoderError, match=r"stands behind the model: timm:test_vit\?pool=avg/"):
        load(f"timm:test_vit/{tmp_path / 'w.pt'}?pool=avg")


def test_pooling_of_a_folder(tmp_path):
    folder = tmp_path / "what? a=b"
    folder.mkdir()
    torch.manual_seed(11)
    torch.save(timm.create_model("test_vit").state_dict(), folder / "pytorch_model.bin")
    weights = {"num_classes": 1000, "input_size": [3, 160, 160], "classifier": "head"}
    config = {"architecture": "test_vit", "num_classes": 1000, "pretrained_cfg": weights}
    (folder / "config.json").write_text(json.dumps(config))
    assert load(f"timm:local-dir:{folder}?pool=avg", pretrained=True).pooling == "avg"


@pytest.mark.parametrize("pool", ["token", "map"])
@pytest.mark.parametrize(
    "model",
    [
        *("test_resnet", "test_convnext", "mixer_s32_224", "pvt_v2_b0"),
        pytest.param("hiera_tiny_224", marks=pytest.mark.slow),
    ],
)
def test_a_network_without_tokens_says_so(model, pool):
    with pytest.raises(EncoderError, match=f"timm:{model} cannot pool by '{pool}'.*leave"):
        load(f"timm:{model}?pool={pool}")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("timm:test_vit3?pool=token", "cannot pool by 'token'.*class token"),
        ("timm:test_vit?pool=map", "no weights for attention pooling.*its own, 'token'"),
        ("timm:test_vit?pool=mean", "'pool=mean' .* is unknown; use .pool= with one of token"),
        ("timm:test_vit?size=3", "'size=3' .* is unknown"),
        ("open_clip:ViT-B-32?pool=avg/openai", "open_clip:.* pools as it was trained"),
        ("efficientnet_lite0?pool=token", "efficientnet_lite0 pools in one way"),
    ],
)
def test_impossible_poolings(spec, words):
    with pytest.raises(EncoderError, match=words):
        load(spec)


def test_galleries_of_another_pooling_are_not_mixed(tmp_path, photo_folder, quiet):
    from patchrerank.gallery import Gallery, build_gallery, encode_queries
    from patchrerank.regions import GridPyramid

    plain, token = (load(f"{TINY}{option}", image_size=32) for option in ("", "?pool=token"))
    build_gallery(tmp_path / "g", photo_folder / "sub", plain, GridPyramid(1), quiet)
    gallery = Gallery(tmp_path / "g")
    assert gallery.manifest.encoder["pooling"] == "avg"
    picture = photo_folder / "sub" / "00.png"
    gallery.check_queries(encode_queries(plain, [picture]))
    with pytest.raises(PatchRerankError):
        gallery.check_queries(encode_queries(token, [picture]))
    more = replace(quiet, append=True)
    with pytest.raises(PatchRerankError, match=r"\?pool=token"):
        build_gallery(tmp_path / "g", photo_folder / "sub", token, GridPyramid(1), more)
