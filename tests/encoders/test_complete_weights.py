"""Folders and files whose weights are not those of the model: refused, never random weights."""

from __future__ import annotations

import json
import threading

import pytest
import timm
import torch
from safetensors.torch import save_file

from patchrerank.encoders import load_encoder
from patchrerank.encoders.complete_weights import complete_weights
from patchrerank.errors import EncoderError

WEIGHTS = {"num_classes": 1000, "input_size": [3, 160, 160], "classifier": "head"}
CLIP = {
    "embed_dim": 24,
    "vision_cfg": {
        "image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16
    },
    "text_cfg": {"context_length": 8, "vocab_size": 100, "width": 16, "heads": 2, "layers": 1},
}  # fmt: skip


@pytest.fixture
def timm_folder(tmp_path):
    config = {"architecture": "test_vit", "num_classes": 1000, "pretrained_cfg": WEIGHTS}
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


@pytest.fixture
def clip_folder(tmp_path):
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": CLIP}))
    return tmp_path


def load(spec: str):
    return load_encoder(spec, device="cpu", backend="eager")


def state(model: str = "test_vit") -> dict[str, torch.Tensor]:
    torch.manual_seed(11)
    return timm.create_model(model).state_dict()


def test_a_whole_folder_loads(timm_folder):
    save_file(state(), timm_folder / "model.safetensors")
    assert load(f"timm:local-dir:{timm_folder}").dim == 64


@pytest.mark.parametrize("kept", ["blocks.0.", "pos_embed", "norm.bias"])
def test_weights_that_hold_a_part_of_the_network_only(timm_folder, kept):
    part = {key: value for key, value in state().items() if key.startswith(kept)}
    save_file(part, timm_folder / "model.safetensors")
    with pytest.raises(EncoderError, match=r"do not hold \d+ of \d+ entries .* stay random"):
        load(f"timm:local-dir:{timm_folder}")


def test_weights_of_another_model_in_the_folder(timm_folder):
    save_file(state("test_resnet"), timm_folder / "model.safetensors")
    with pytest.raises(EncoderError, match=r"would stay random.*others .bn1.*another model"):
        load(f"timm:local-dir:{timm_folder}")


def test_attention_pooling_without_its_weights(timm_folder):
    config = {
        "architecture": "test_vit", "num_classes": 1000, "pretrained_cfg": WEIGHTS,
        "model_args": {"global_pool": "map"},
    }  # fmt: skip
    (timm_folder / "config.json").write_text(json.dumps(config))
    save_file(state(), timm_folder / "model.safetensors")
    with pytest.raises(EncoderError, match=r"attn_pool\..*would stay random"):
        load(f"timm:local-dir:{timm_folder}")


@pytest.mark.parametrize("library", ["timm", "open_clip"])
@pytest.mark.parametrize("name", ["weights.pt", "model.safetensors.part", None])
def test_a_folder_with_a_misnamed_weights_file(timm_folder, clip_folder, library, name):
    if name:
        torch.save(state(), timm_folder / name)
    words = f"could not find weights in it, only .*{name or 'config.json'}.*model.safetensors"
    with pytest.raises(EncoderError, match=words):
        load(f"{library}:local-dir:{timm_folder}")


@pytest.mark.parametrize("library", ["timm", "open_clip"])
def test_a_folder_with_several_files_of_weights(timm_folder, clip_folder, library):
    for name in ("epoch_1.bin", "epoch_2.bin"):
        torch.save(state(), timm_folder / name)
    with pytest.raises(EncoderError, match=r"several files of weights \(epoch_1\.bin, epoch_2"):
        load(f"{library}:local-dir:{timm_folder}")


def test_no_folder():
    with pytest.raises(EncoderError, match=r"local-dir:/nowhere: no such folder"):
        load("timm:local-dir:/nowhere")


def test_a_norm_that_a_checkpoint_leaves_as_it_is_made_is_no_random_weight():
    module = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.LayerNorm(3))
    part = {key: value for key, value in module.state_dict().items() if key.startswith("0.")}
    with complete_weights("it"):
        module.load_state_dict(part, strict=False)
    with pytest.raises(EncoderError, match="it do not hold 2 of 4"), complete_weights("it"):
        module.load_state_dict(part | {"other": torch.zeros(3)}, strict=False)


def test_other_threads_load_as_they_like_and_everything_is_as_before():
    original = torch.nn.Module.load_state_dict
    failures: list[BaseException] = []

    def lax() -> None:
        try:
            torch.nn.Linear(3, 3).load_state_dict({}, strict=False)
        except BaseException as error:
            failures.append(error)

    with complete_weights("it"):
        thread = threading.Thread(target=lax)
        thread.start()
        thread.join()
    assert not failures
    assert torch.nn.Module.load_state_dict is original
