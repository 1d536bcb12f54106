"""CLIP weights trained with QuickGELU run with it, under every name that a library has for them."""

from __future__ import annotations

import json

import open_clip
import open_clip.factory
import pytest
import timm
import torch
from timm.models import get_pretrained_cfg

from patchrerank.encoders import load_encoder
from patchrerank.encoders.quick_gelu import native_open_clip, native_timm

VISION = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
TEXT = {"context_length": 8, "vocab_size": 100, "width": 16, "heads": 2, "layers": 1}
TINY = {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT}


def mismatched() -> list[tuple[str, str]]:
    """The pairs that open_clip lists although the tag's weights want QuickGELU."""
    return [
        (model, tag)
        for model, tag in open_clip.list_pretrained()
        if open_clip.get_pretrained_cfg(model, tag).get("quick_gelu")
        and not open_clip.get_model_config(model).get("quick_gelu")
    ]


def test_every_listed_pair_runs_as_its_weights_were_trained():
    pairs = mismatched()
    assert len(pairs) >= 27
    assert {tag for _, tag in pairs} >= {"openai", "metaclip_400m", "dfn2b", "cc12m", "yfcc15m"}
    for model, tag in pairs:
        native = native_open_clip(model, tag)
        assert native == f"{model}-quickgelu"
        assert tag in open_clip.list_pretrained_tags_by_model(native)
        own, twin = open_clip.get_model_config(model), open_clip.get_model_config(native)
        assert twin.pop("quick_gelu") is True
        assert own == twin


def test_other_pairs_stay_as_they_are():
    changed = set(mismatched())
    for model, tag in open_clip.list_pretrained():
        if (model, tag) not in changed:
            assert native_open_clip(model, tag) == model
    assert native_open_clip("ViT-B-32", "a/file.pt") == "ViT-B-32"
    assert native_open_clip("ViT-B-32", None) == "ViT-B-32"


@pytest.fixture
def tiny_pair(tmp_path, monkeypatch):
    """``tiny`` and ``tiny-quickgelu``, and weights of the tag ``quick`` that want the second."""
    factory = open_clip.factory
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", dict(factory._MODEL_CONFIGS))
    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", list(factory._MODEL_CONFIG_PATHS))
    (tmp_path / "tiny.json").write_text(json.dumps(TINY))
    (tmp_path / "tiny-quickgelu.json").write_text(json.dumps({**TINY, "quick_gelu": True}))
    open_clip.add_model_config(tmp_path)
    torch.manual_seed(11)
    weights = open_clip.create_model("tiny", pretrained_text=False).state_dict()
    torch.save(weights, tmp_path / "weights.pt")

    def config(name, tag):
        return {"url": "here", "quick_gelu": True} if tag == "quick" else {}

    for where in (open_clip, factory):
        monkeypatch.setattr(where, "get_pretrained_cfg", config)
        monkeypatch.setattr(where, "list_pretrained_tags_by_model", lambda name: ["quick"])
    found = str(tmp_path / "weights.pt")
    monkeypatch.setattr(factory, "download_pretrained", lambda *args, **settings: found)


def test_the_network_is_the_one_with_quick_gelu_and_the_record_says_so(tiny_pair, caplog):
    settings = {"device": "cpu", "backend": "eager"}
    asked = load_encoder("open_clip:tiny/quick", **settings)
    native = load_encoder("open_clip:tiny-quickgelu/quick", **settings)
    assert asked.fingerprint == native.fingerprint
    assert asked.describe()["activation"] == "QuickGELU"
    assert asked.architecture == "open_clip:tiny-quickgelu"
    assert "open_clip:tiny/quick" in caplog.text
    assert "taken as open_clip:tiny-quickgelu/quick" in caplog.text
    plain = load_encoder("open_clip:tiny", pretrained=False, **settings)
    assert plain.describe()["activation"] == "GELU"


def test_timm_names_that_share_weights_run_with_quick_gelu():
    shared = {}
    for name in timm.list_models("*quickgelu*", pretrained=True):
        shared[get_pretrained_cfg(name).hf_hub_id] = name
    assert len(shared) >= 17
    plain = [
        name
        for name in timm.list_models("*_clip_*", pretrained=True)
        if get_pretrained_cfg(name).hf_hub_id in shared and "quickgelu" not in name
    ]
    assert "vit_base_patch32_clip_224.openai" in plain
    assert len(plain) == len(shared)
    for name in plain:
        assert native_timm(name) == shared[get_pretrained_cfg(name).hf_hub_id]


@pytest.mark.parametrize(
    "name",
    [
        "vit_base_patch32_clip_224.laion2b_ft_in12k_in1k",
        "vit_base_patch32_clip_224.openai_ft_in1k",
        "vit_base_patch32_clip_quickgelu_224.openai",
        "resnet50_clip.openai",
        "test_vit",
    ],
)
def test_timm_names_that_stay(name):
    assert native_timm(name) == name


def test_timm_is_asked_for_the_native_model(monkeypatch):
    asked = []

    def create(name, **settings):
        asked.append(name)
        raise OSError("far enough")

    monkeypatch.setattr(timm, "create_model", create)
    for spec in (
        "timm:vit_base_patch32_clip_224.openai",
        "timm:vit_base_patch32_clip_224.openai/f",
    ):
        with pytest.raises(Exception, match="far enough"):
            load_encoder(spec)
    assert set(asked) == {"vit_base_patch32_clip_quickgelu_224.openai"}
