"""Encoders pickled and loaded again: the same vectors, or a sentence."""

from __future__ import annotations

import copy
import pickle
from importlib.util import find_spec

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from patchrerank.encoders import (
    Encoder,
    Preprocessing,
    Selection,
    load_dense_encoder,
    load_encoder,
    load_one_pass,
)
from patchrerank.errors import EncoderError

PLAIN = Preprocessing((16, 16), (0.5,) * 3, (0.25,) * 3, "area")


def needs(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not find_spec(package), reason=f"{package} is not installed")


def again(thing):
    return pickle.loads(pickle.dumps(thing))


def picture(seed: int = 0, width: int = 90, height: int = 60) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def assert_same(first: Encoder, second: Encoder) -> None:
    assert second.describe() == first.describe()
    assert second.batch_size == first.batch_size
    pictures = [picture(seed) for seed in range(3)]
    np.testing.assert_array_equal(second.encode_images(pictures), first.encode_images(pictures))


class Net(torch.nn.Module):
    """Returns vectors, or as ``maps`` the map whose mean they are."""

    def __init__(self, maps: bool = False) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.mix = torch.nn.Conv2d(3, 8, 4, stride=4)
        self.maps = maps

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        found = self.mix(pixels)
        return found if self.maps else found.mean((2, 3))


@pytest.mark.parametrize(
    "backend",
    [
        "eager",
        pytest.param("openvino", marks=needs("openvino")),
        pytest.param("onnx", marks=[needs("onnxruntime"), needs("onnx")]),
        pytest.param("compile", marks=pytest.mark.slow),
    ],
)
def test_every_back_end(backend):
    plain = {"image_size": 64, "device": "cpu", "pretrained": False}
    encoder = load_encoder("timm:test_resnet", backend=backend, **plain)
    carried = pickle.dumps(encoder)
    assert len(carried) < 5000
    assert_same(encoder, pickle.loads(carried))


def test_settings_come_along():
    encoder = load_encoder(
        "timm:test_vit?pool=avg",
        preprocessing=Preprocessing((96, 96), interpolation="nearest"),
        device="cpu",
        precision="bf16",
        batch_size=3,
        pretrained=False,
        backend="eager",
    )
    assert_same(encoder, again(encoder))


def test_a_copy_is_the_encoder_itself(tiny_encoder):
    plain = {"image_size": 64, "device": "cpu", "backend": "eager", "pretrained": False}
    encoder = load_encoder("timm:test_resnet", **plain)
    dense = load_dense_encoder(encoder, image_size=64)
    for thing in (encoder, dense, tiny_encoder, load_one_pass(encoder, "64")):
        assert copy.copy(thing) is copy.deepcopy(thing) is thing


def test_one_pass():
    plain = {"image_size": 64, "device": "cpu", "backend": "eager", "pretrained": False}
    encoder = load_encoder("timm:test_resnet", **plain)
    seen = load_one_pass(encoder, "64,96:p2")
    found = again(seen)
    assert (type(found), found.settings) == (type(seen), seen.settings)
    boxes = np.array([[0, 0, 0.5, 0.5], [0.25, 0, 1, 1]], np.float32)
    vectors = [it.encode_regions([it.prepare_regions(picture(), boxes)]) for it in (seen, found)]
    np.testing.assert_array_equal(*vectors)


@pytest.fixture
def weights(tmp_path):
    def write(seed: int) -> None:
        torch.manual_seed(seed)
        torch.save(timm.create_model("test_vit").state_dict(), tmp_path / "w.pt")

    write(1)
    return write


@pytest.mark.parametrize("kind", ["crops", "dense"])
def test_a_file_that_changed_meanwhile_is_refused(tmp_path, monkeypatch, weights, kind):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    encoder = load_encoder("timm:test_vit/w.pt", device="cpu", backend="eager")
    if kind == "dense":
        encoder = load_dense_encoder(encoder, image_size=64)
    carried = pickle.dumps(encoder)
    monkeypatch.chdir(tmp_path / "other")
    assert pickle.loads(carried).fingerprint == encoder.fingerprint
    weights(2)
    with pytest.raises(EncoderError, match=r"w\.pt: the weights are others than when .*then .*now"):
        pickle.loads(carried)
    (tmp_path / "w.pt").unlink()
    with pytest.raises(EncoderError, match="no such checkpoint file"):
        pickle.loads(carried)


def test_a_module_is_carried_by_value():
    encoder = load_encoder(Net(), preprocessing=PLAIN, device="cpu")
    assert_same(encoder, again(encoder))


def test_modules_that_cannot_be_carried_say_so():
    class Inside(Net):
        pass

    words = "made from a torch module that cannot be pickled.*top level"
    with pytest.raises(EncoderError, match=words):
        pickle.dumps(load_encoder(Inside(), preprocessing=PLAIN, device="cpu"))
    with pytest.raises(EncoderError, match=words):
        pickle.dumps(load_dense_encoder(Inside(maps=True), preprocessing=PLAIN, device="cpu"))
    encoder = load_encoder(Net(), preprocessing=PLAIN, device="cpu")
    seen = load_one_pass(encoder, "16", maps=Net(maps=True), stride=4)
    with pytest.raises(EncoderError, match="made from torch modules and cannot be pickled"):
        pickle.dumps(seen)


@needs("openvino")
def test_a_module_in_openvino_says_how_it_could_be_carried():
    encoder = load_encoder(Net(), preprocessing=PLAIN, device="cpu", backend="openvino")
    with pytest.raises(EncoderError, match=r"runs in openvino.*load it with backend='eager'"):
        pickle.dumps(encoder)


def test_an_encoder_in_other_clothes_is_not_taken_for_the_plain_one():
    from patchrerank.analysis.brightness import ScaledEncoder

    plain = {"image_size": 64, "device": "cpu", "backend": "eager", "pretrained": False}
    encoder = load_encoder("timm:test_resnet", **plain)
    with pytest.raises(EncoderError, match="ScaledEncoder cannot be pickled"):
        pickle.dumps(ScaledEncoder(encoder, 0.5))


@pytest.mark.parametrize(
    "source", ["module", pytest.param("efficientnet_lite0", marks=pytest.mark.slow)]
)
def test_dense_encoders(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    channels = 8 if source == "module" else 1280
    torch.manual_seed(0)
    detector = {"conv1": (channels, channels, 1, 1), "conv2": (1, channels, 1, 1)}
    state = {f"{name}.weight": torch.randn(shape) * 0.1 for name, shape in detector.items()}
    state |= {"conv1.bias": torch.zeros(channels), "conv2.bias": torch.zeros(1)}
    state |= {f"bn.{name}": torch.ones(channels) for name in ("weight", "bias", "running_var")}
    state |= {"bn.running_mean": torch.zeros(channels)}
    torch.save(state, "detector.pt")
    selection = Selection(count=5, by="detector", detector="detector.pt", query_part="all")
    made = {"module": Net(maps=True)}.get(source, source)
    dense = load_dense_encoder(
        made,
        image_size=(96, 64),
        scales=(1.0, 0.5),
        selection=selection,
        preprocessing=PLAIN if source == "module" else None,
        stride=4,
        device="cpu",
        batch_size=2,
    )
    carried = pickle.dumps(dense)
    monkeypatch.chdir("/")
    found = pickle.loads(carried)
    assert found.describe() == dense.describe()
    assert (found.batch_size, found.sizes, found.grids) == (2, dense.sizes, dense.grids)
    ours, theirs = (it.encode_images([picture()])[0] for it in (dense, found))
    np.testing.assert_array_equal(ours.vectors, theirs.vectors)
    np.testing.assert_array_equal(ours.positions, theirs.positions)
