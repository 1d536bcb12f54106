from __future__ import annotations

import json

import numpy as np
import open_clip
import open_clip.factory
import pytest
import torch
from safetensors.torch import save_file

from patchrerank.encoders import load_encoder
from patchrerank.errors import EncoderError

TEXT = {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
VISION = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
TIMM = {"timm_model_name": "test_vit", "timm_pool": "avg", "timm_proj": None, "image_size": 160}
CONFIGS = {
    "tiny-vit": {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT},
    "tiny-timm": {"embed_dim": 64, "vision_cfg": TIMM, "text_cfg": TEXT, "custom_text": True},
    "tiny-rn": {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
        "text_cfg": TEXT,
    },
    "tiny-coca": {
        "embed_dim": 24,
        "vision_cfg": {**VISION, "attentional_pool": True, "output_tokens": True},
        "text_cfg": {**TEXT, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {**TEXT, "attn_pooler_heads": 2},
        "custom_text": True,
    },
}


@pytest.fixture(autouse=True)
def tiny_models(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("configs")
    for name, config in CONFIGS.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", dict(open_clip.factory._MODEL_CONFIGS))
    monkeypatch.setattr(
        open_clip.factory, "_MODEL_CONFIG_PATHS", list(open_clip.factory._MODEL_CONFIG_PATHS)
    )
    open_clip.add_model_config(folder)


def crops(count: int, size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def load(spec: str, **settings):
    return load_encoder(spec, device="cpu", backend="eager", **settings)  # others are converted


def other_weights(name: str) -> torch.nn.Module:
    torch.manual_seed(11)
    return open_clip.create_model(name, pretrained_text=False).eval()


@pytest.mark.parametrize("name", CONFIGS)
def test_random_weights_are_fixed(name):
    first, second = (load(f"open_clip:{name}", pretrained=False) for _ in range(2))
    assert first.fingerprint == second.fingerprint
    vectors = first.encode(crops(3, first.preprocessing.image_size))
    assert vectors.shape == (3, CONFIGS[name]["embed_dim"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    assert first.preprocessing.mean == open_clip.OPENAI_DATASET_MEAN
    assert first.preprocessing.std == open_clip.OPENAI_DATASET_STD
    assert first.preprocessing.interpolation == "bicubic"


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("name", CONFIGS)
def test_checkpoint_file_gives_the_image_embedding(tmp_path, name, suffix):
    model = other_weights(name)
    path = tmp_path / f"weights.{suffix}"
    state = {key: value.clone() for key, value in model.state_dict().items()}
    save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
    encoder = load(f"open_clip:{name}/{path}", pretrained=False)
    given = crops(2, encoder.preprocessing.image_size)
    mean, std = np.array(encoder.preprocessing.mean), np.array(encoder.preprocessing.std)
    pixels = torch.from_numpy((given / 255.0 - mean) / std).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        expected = model.encode_image(pixels, normalize=True).numpy()
    np.testing.assert_allclose(encoder.encode(given), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "size"), [("tiny-vit", (48, 64)), ("tiny-rn", (96, 96)), ("tiny-timm", (96, 96))]
)
def test_image_size_can_be_replaced(name, size):
    encoder = load(f"open_clip:{name}", pretrained=False, image_size=size)
    assert encoder.preprocessing.image_size == size
    assert encoder.encode(crops(2, size)).shape == (2, encoder.dim)


def test_preprocessing_of_a_file_is_the_one_all_published_weights_share(tmp_path, monkeypatch):
    torch.save(other_weights("tiny-vit").state_dict(), tmp_path / "w.pt")
    published = {"a": {"mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bilinear"}}
    published["b"] = published["a"]
    monkeypatch.setattr(open_clip, "list_pretrained_tags_by_model", lambda name: list(published))
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda name, tag: published[tag])
    own = load(f"open_clip:tiny-vit/{tmp_path / 'w.pt'}").preprocessing
    assert (own.mean, own.std, own.interpolation) == ((0.5,) * 3, (0.5,) * 3, "bilinear")
    published["b"] = {**published["a"], "mean": (0.1,) * 3}
    torn = load(f"open_clip:tiny-vit/{tmp_path / 'w.pt'}").preprocessing
    assert torn.mean == open_clip.OPENAI_DATASET_MEAN


def test_the_record_names_the_pooling():
    found = {name: load(f"open_clip:{name}", pretrained=False).pooling for name in CONFIGS}
    expected = {"tiny-vit": "token", "tiny-timm": "avg", "tiny-rn": "map", "tiny-coca": "map"}
    assert found == expected


def test_architecture_is_part_of_the_identity(tmp_path):
    quick = {**CONFIGS["tiny-vit"], "quick_gelu": True}
    (tmp_path / "tiny-vit-quickgelu.json").write_text(json.dumps(quick))
    open_clip.add_model_config(tmp_path)
    plain = load("open_clip:tiny-vit", pretrained=False)
    other = load("open_clip:tiny-vit-quickgelu", pretrained=False)
    assert plain.weights == other.weights
    assert plain.fingerprint != other.fingerprint


def test_file_of_another_model(tmp_path):
    torch.save(other_weights("tiny-rn").state_dict(), tmp_path / "w.pt")
    with pytest.raises(EncoderError, match=r"w\.pt does not fit open_clip:tiny-vit .*visual\."):
        load(f"open_clip:tiny-vit/{tmp_path / 'w.pt'}")


class Trap:
    def __reduce__(self):
        return exec, ("raise SystemExit('code in a checkpoint ran')",)


def test_unsafe_file(tmp_path):
    torch.save({"weight": Trap()}, tmp_path / "w.pt")
    with pytest.raises(EncoderError, match="does not fit"):
        load(f"open_clip:tiny-vit/{tmp_path / 'w.pt'}")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("open_clip:ViT-B32/openai", "no model 'ViT-B32'; did you mean .*ViT-B-32"),
        ("open_clip:ViT-B-32", "needs weights: .*its tags: openai, laion"),
        ("open_clip:ViT-B-32/laion2b", "no weights 'laion2b'.*did you mean .*laion2b_e16"),
        ("open_clip:tiny-vit", "its tags: none"),
        ("open_clip:local-dir:/nowhere", "/nowhere"),
    ],
)
def test_unknown_names(spec, words):
    with pytest.raises(EncoderError, match=words):
        load(spec)


@pytest.mark.parametrize("spec", ["open_clip:ViT-B-32/openai", "open_clip:hf-hub:some/model"])
def test_no_network(monkeypatch, spec):
    cause = OSError("no route to host")

    def unreachable(name, **settings):
        assert settings["require_pretrained"]
        raise cause

    monkeypatch.setattr(open_clip, "create_model", unreachable)
    with pytest.raises(EncoderError, match=r"could not fetch.*no route.*local file") as caught:
        load(spec)
    assert caught.value.__cause__ is cause


def test_local_folder(tmp_path):
    model = other_weights("tiny-vit")
    preprocess = {"size": 32, "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear"}
    config = {"model_cfg": CONFIGS["tiny-vit"], "preprocess_cfg": preprocess}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    torch.save(model.state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    encoder = load(f"open_clip:local-dir:{tmp_path}")
    assert encoder.preprocessing.mean == (0.5, 0.5, 0.5)
    assert encoder.preprocessing.interpolation == "bilinear"
    assert encoder.dim == 24
    (tmp_path / "open_clip_pytorch_model.bin").unlink()
    with pytest.raises(EncoderError, match="could not"):
        load(f"open_clip:local-dir:{tmp_path}")
