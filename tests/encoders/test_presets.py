"""Encoders by short names, and what is said about them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from patchrerank.encoders import PRESETS, load_encoder
from patchrerank.encoders.presets import SUPPLEMENT, resolve
from patchrerank.errors import EncoderError

PUBLISHED = {
    "VGG16": 4096,
    "ResNet101": 2048,
    "Inception": 1536,
    "ConvNeXt (IN1k)": 1024,
    "DINOv2": 1024,
    "CLIP / OpenCLIP": 768,
    "ConvNeXt (LAION-2B)": 768,
    "SigLIP": 1024,
}


def test_the_supplements_eight_are_there_with_their_dimensions():
    listed = {p.published_as: p.dim for p in PRESETS.values() if p.origin == SUPPLEMENT}
    assert listed == PUBLISHED


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "efficientnet_lite0"])
def test_presets_name_weights_that_the_libraries_publish(name):
    preset = PRESETS[name]
    library, _, model = preset.spec.partition("?")[0].partition(":")
    if library == "timm":
        from timm.models import get_pretrained_cfg, is_model_pretrained

        config = get_pretrained_cfg(model)
        assert is_model_pretrained(model)
        assert config.hf_hub_id == preset.repository
        assert config.input_size == (3, preset.image_size, preset.image_size)
    else:
        import open_clip

        architecture, tag = model.split("/")
        config = open_clip.get_pretrained_cfg(architecture, tag)
        assert config["hf_hub"].rstrip("/") == preset.repository
        sizes = open_clip.get_model_config(architecture)["vision_cfg"]
        assert sizes.get("image_size", 224) == preset.image_size


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_dimension_and_parameters_as_listed(name):
    preset = PRESETS[name]
    encoder = load_encoder(name, pretrained=False, backend="eager")
    weights = sum(item.numel() for item in encoder.backend._module.parameters())
    assert encoder.dim == preset.dim
    assert encoder.preprocessing.image_size == (preset.image_size,) * 2
    assert weights / 1e6 == pytest.approx(preset.parameters, abs=0.06)


def test_a_name_loads_what_it_stands_for():
    encoder = load_encoder("dinov3_convnext_tiny", pretrained=False, image_size=32, backend="eager")
    assert encoder.spec == "timm:convnext_tiny.dinov3_lvd1689m"
    assert encoder.dim == PRESETS["dinov3_convnext_tiny"].dim
    assert resolve("timm:resnet50") == "timm:resnet50"
    with pytest.raises(EncoderError, match="did you mean dinov2_large"):
        load_encoder("dinov2_lagre")


def test_weights_at_hand(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    preset = PRESETS["resnet101"]
    assert preset.weights_at_hand() is None
    snapshot = tmp_path / "models--timm--resnet101.tv_in1k" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").touch()
    assert preset.weights_at_hand() is None
    (snapshot / "model.safetensors").touch()
    assert preset.weights_at_hand() == str(snapshot)
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert preset.weights_at_hand() is None
    assert PRESETS["efficientnet_lite0"].weights_at_hand().startswith("package ")


def test_the_command_lists_them_without_loading_anything(tmp_path):
    program = (
        "import sys; from patchrerank.cli.main import main\n"
        "try: main()\n"
        "finally: assert not {'torch', 'timm', 'open_clip'} & set(sys.modules)\n"
    )
    environment = os.environ | {"HF_HUB_CACHE": str(tmp_path)}

    def run(*words):
        command = [sys.executable, "-c", program, "encoders", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        return done.stdout

    text = run()
    for preset in PRESETS.values():
        assert preset.name in text
        assert preset.spec in text
    found = json.loads(run("--json", "--at-hand"))
    assert [entry["name"] for entry in found] == ["efficientnet_lite0"]
    assert found[0]["dim"] == 1280


@pytest.mark.parametrize(
    ("spec", "meant"),
    [
        ("dinov3_vit_smal", "dinov3_vit_small"),
        ("DINOv3-ViT-small", "dinov3_vit_small"),
        ("tipsv2_bse", "tipsv2_base"),
        ("resnet18.a1_in1k", "timm:resnet18.a1_in1k"),
        ("resnet18?pool=avg", "timm:resnet18.pool=avg"),
        ("ViT-B-32/openai", "open_clip:ViT-B-32/openai"),
        ("ViT-B-32", "open_clip:ViT-B-32/<tag or file>"),
    ],
)
def test_what_may_have_been_meant(spec, meant):
    with pytest.raises(EncoderError, match=f"did you mean .*{meant}"):
        load_encoder(spec)


@pytest.mark.parametrize("prefix", ["", "timm:", "timm:test_vit.", "open_clip:", "timm:resnet18?"])
def test_messages_about_long_names_stay_short(prefix):
    with pytest.raises(EncoderError) as caught:
        load_encoder(prefix + "x" * 30_000)
    assert len(str(caught.value)) < 1000
