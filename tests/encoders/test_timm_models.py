from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from patchrerank.encoders import Preprocessing, load_encoder
from patchrerank.errors import EncoderError


def crops(count: int, size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def other_weights(model: str = "test_vit", **settings) -> torch.nn.Module:
    torch.manual_seed(11)
    return timm.create_model(model, **settings)


def load(spec: str, **settings):
    return load_encoder(spec, device="cpu", backend="eager", **settings)  # others are converted


@pytest.mark.parametrize("model", ["test_vit", "test_resnet", "test_convnext"])
def test_random_weights_are_fixed_and_the_data_config_is_the_models_own(model):
    first, second = (load(f"timm:{model}", pretrained=False) for _ in range(2))
    assert first.fingerprint == second.fingerprint
    vectors = first.encode(crops(3, first.preprocessing.image_size))
    assert vectors.shape == (3, first.dim)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    config = timm.data.resolve_model_data_config(timm.create_model(model))
    assert first.preprocessing.image_size == config["input_size"][1:]
    assert first.preprocessing.mean == config["mean"]
    assert first.preprocessing.interpolation == config["interpolation"]


@pytest.mark.parametrize("model", ["test_vit", "test_resnet"])
@pytest.mark.parametrize("size", [(96, 64), (160, 160)])
def test_image_size_can_be_replaced(model, size):
    encoder = load(f"timm:{model}", pretrained=False, image_size=size)
    assert encoder.preprocessing.image_size == size
    assert encoder.encode(crops(2, size)).shape == (2, encoder.dim)


def test_image_size_that_the_model_refuses():
    with pytest.raises(EncoderError, match="refuses images of 8 × 8 pixels"):
        load("timm:test_vit", pretrained=False, image_size=8)


def test_preprocessing_can_be_replaced():
    own = Preprocessing((64, 64), interpolation="area")
    assert load("timm:test_resnet", pretrained=False, preprocessing=own).preprocessing == own
    smaller = load("timm:test_resnet", pretrained=False, preprocessing=own, image_size=32)
    assert smaller.preprocessing == Preprocessing((32, 32), interpolation="area")


@pytest.mark.parametrize("form", ["pt", "safetensors", "training", "parallel"])
def test_checkpoint_files(tmp_path, form):
    state = other_weights().state_dict()
    path = tmp_path / "deep" / f"weights.{'safetensors' if form == 'safetensors' else 'pt'}"
    path.parent.mkdir()
    if form == "safetensors":
        save_file(state, path)
    else:
        content = {
            "pt": state,
            "training": {"epoch": 3, "state_dict": state},
            "parallel": {f"module.{key}": value for key, value in state.items()},
        }[form]
        torch.save(content, path)
    encoder = load(f"timm:test_vit/{path}")
    given = crops(2, (160, 160))
    normalise = torch.from_numpy((given / 255.0 - 0.5) / 0.5).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        expected = other_weights(num_classes=0).eval()
        expected.load_state_dict({k: v for k, v in state.items() if not k.startswith("head.")})
        vectors = expected(normalise).numpy()
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.encode(given), vectors, atol=1e-5)
    assert encoder.architecture == "timm:test_vit"


def test_where_a_file_lies_does_not_change_the_identity(tmp_path):
    prints = set()
    for name in ("a.pt", "b.pt"):
        torch.save(other_weights().state_dict(), tmp_path / name)
        prints.add(load(f"timm:test_vit/{tmp_path / name}", pretrained=False).fingerprint)
    assert len(prints) == 1
    assert prints != {load("timm:test_vit", pretrained=False).fingerprint}


def test_file_and_another_image_size(tmp_path):
    torch.save(other_weights().state_dict(), tmp_path / "w.pt")
    encoder = load(f"timm:test_vit/{tmp_path / 'w.pt'}", image_size=96)
    assert encoder.encode(crops(1, (96, 96))).shape == (1, 64)


def test_file_of_another_model_names_keys(tmp_path):
    torch.save(other_weights("test_resnet").state_dict(), tmp_path / "w.pt")
    with pytest.raises(EncoderError, match=r"w\.pt.*missing: .*pos_embed.*unexpected: .*conv1"):
        load(f"timm:test_vit/{tmp_path / 'w.pt'}")


def test_file_with_one_wrong_shape(tmp_path):
    state = other_weights().state_dict()
    state["norm.weight"] = torch.zeros(5)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(EncoderError, match=r"norm\.weight \(5,\) instead of \(64,\)"):
        load(f"timm:test_vit/{tmp_path / 'w.safetensors'}")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "no weights"),
        (torch.zeros(3), "no weights"),
        ({"epoch": 3}, "'epoch' is a int, not a tensor"),
    ],
)
def test_files_without_weights(tmp_path, content, words):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(EncoderError, match=words):
        load(f"timm:test_vit/{tmp_path / 'w.pt'}")


class Trap:
    def __reduce__(self):
        return exec, ("raise SystemExit('code in a checkpoint ran')",)


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_unsafe_and_damaged_files(tmp_path, name):
    torch.save({"weight": Trap()}, tmp_path / name)
    with pytest.raises(EncoderError, match="read safely"):
        load(f"timm:test_vit/{tmp_path / name}")
    (tmp_path / name).write_bytes(b"not a checkpoint")
    with pytest.raises(EncoderError, match="read safely"):
        load(f"timm:test_vit/{tmp_path / name}")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("timm:resnet5", "no model 'resnet5'; did you mean resnet50"),
        ("timm:resnet18.nope", "no weights tagged 'nope'; there are: .*resnet18.a1_in1k"),
        ("timm:test_vit/absent.pt", "absent.pt: no such checkpoint file"),
        ("timm:", "names no model"),
        ("tim:resnet18", "unknown encoder .*did you mean timm"),
        ("resnet18", "timm:<model>"),
    ],
)
def test_unknown_names(spec, words):
    with pytest.raises(EncoderError, match=words):
        load(spec)


def test_models_without_published_weights():
    untrained = (set(timm.list_models("*vit*")) - set(timm.list_models(pretrained=True))) - {
        name.partition(".")[0] for name in timm.list_models(pretrained=True)
    }
    with pytest.raises(EncoderError, match=r"publishes no weights.*pretrained=False"):
        load(f"timm:{min(untrained)}")


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ("timm:test_vit", "timm/test_vit.r160_in1k"),
        ("timm:hf-hub:some/model", "hf-hub:some/model"),
    ],
)
def test_no_network(monkeypatch, spec, what):
    cause = OSError("no route to host")

    def unreachable(name, **settings):
        assert name == spec.removeprefix("timm:")
        raise cause

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(EncoderError, match=f"fetch {what}.*no route.*local file") as caught:
        load(spec)
    assert caught.value.__cause__ is cause
