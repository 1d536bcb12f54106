from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from patchrerank.encoders import Encoder, Preprocessing, load_encoder
from patchrerank.errors import EncoderError, ImageError, RegionError

PLAIN = Preprocessing((16, 24), mean=(0, 0, 0), std=(1, 1, 1))


def crops(count: int, height: int = 16, width: int = 24) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


class Colour(nn.Module):
    """The mean colour, plus one parameter that shifts it."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(3))
        self.batches: list[int] = []

    def forward(self, pixels):
        self.batches.append(len(pixels))
        return pixels.mean((2, 3)) + self.shift


class Returns(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, pixels):
        return self.function(pixels)


def colour_encoder(**settings) -> Encoder:
    return load_encoder(Colour(), preprocessing=PLAIN, device="cpu", **settings)


def convolutional() -> nn.Module:
    torch.manual_seed(5)
    layers = [nn.Conv2d(3, 16, 3, stride=2), nn.BatchNorm2d(16), nn.Conv2d(16, 32, 3)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_module_gets_normalised_rgb_and_the_vector_is_its_direction():
    preprocessing = Preprocessing((16, 24), mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.2))
    given = crops(5)
    encoder = load_encoder(Colour(), preprocessing=preprocessing, device="cpu")
    expected = (given.astype(np.float64).mean((1, 2)) / 255 - preprocessing.mean) / np.array(
        preprocessing.std
    )
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.encode(given), expected, atol=1e-6)
    assert encoder.dim == 3


def test_output_contract():
    encoder = load_encoder(convolutional(), preprocessing=PLAIN, device="cpu")
    vectors = encoder.encode(crops(11))
    assert vectors.shape == (11, 32)
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    assert encoder.encode(crops(0)).shape == (0, 32)


def test_batches_are_cut_at_batch_size():
    encoder = colour_encoder(batch_size=4)
    module = encoder.backend._module
    module.batches.clear()
    encoder.encode(crops(10))
    assert module.batches == [4, 4, 2]
    assert colour_encoder().batch_size == 16


def test_same_batches_same_bits_and_other_batches_the_same_direction():
    settings = {"preprocessing": PLAIN, "device": "cpu"}
    encoder = load_encoder(convolutional(), **settings)
    given = crops(13)
    first = encoder.encode(given)
    np.testing.assert_array_equal(first, encoder.encode(given))
    for batch_size in (1, 5, 64):
        other = load_encoder(convolutional(), batch_size=batch_size, **settings).encode(given)
        assert (first * other).sum(axis=1).min() > 0.99999


def test_input_is_not_changed_and_may_be_read_only_or_a_view():
    encoder = colour_encoder()
    given = crops(6)
    expected = encoder.encode(given)
    kept = given.copy()
    given.setflags(write=False)
    np.testing.assert_array_equal(encoder.encode(given), expected)
    np.testing.assert_array_equal(given, kept)
    np.testing.assert_allclose(encoder.encode(given[::2]), expected[::2], atol=1e-6)


def test_encoder_owns_a_copy_of_the_module():
    module = Colour().train().double()
    encoder = load_encoder(module, preprocessing=PLAIN, device="cpu")
    before = encoder.encode(crops(2))
    with torch.no_grad():
        module.shift.fill_(100.0)
    np.testing.assert_array_equal(encoder.encode(crops(2)), before)
    assert module.training
    assert module.shift.dtype == torch.float64
    assert module.shift.requires_grad


def test_evaluation_mode():
    dropout = nn.Sequential(nn.Flatten(), nn.Dropout(0.5))
    encoder = load_encoder(dropout, preprocessing=PLAIN, device="cpu")
    np.testing.assert_array_equal(encoder.encode(crops(2)), encoder.encode(crops(2)))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_close_and_has_its_own_fingerprint(precision):
    full, half = (
        load_encoder(convolutional(), preprocessing=PLAIN, device="cpu", precision=p)
        for p in ("fp32", precision)
    )
    first, second = full.encode(crops(9)), half.encode(crops(9))
    assert second.dtype == np.float32
    assert (first * second).sum(axis=1).min() > 0.999
    assert full.fingerprint != half.fingerprint
    assert full.weights == half.weights


def test_fingerprint_follows_weights_preprocessing_and_architecture():
    def fingerprint(module=None, name=None, **settings):
        preprocessing = settings.pop("preprocessing", PLAIN)
        module = module or convolutional()
        return load_encoder(
            module, preprocessing=preprocessing, device="cpu", name=name, **settings
        ).fingerprint

    own = fingerprint()
    changed = convolutional()
    with torch.no_grad():
        changed[0].bias[0] += 1e-6
    assert len(own) == 64
    assert fingerprint(batch_size=3) == own
    assert fingerprint(changed) != own
    assert fingerprint(name="other") != own
    assert fingerprint(image_size=32) != own
    assert fingerprint(preprocessing=Preprocessing((16, 24))) != own


def test_describe_is_json():
    encoder = colour_encoder(name="colour")
    record = json.loads(json.dumps(encoder.describe()))
    assert record == encoder.describe()
    assert record["spec"] == "module:colour"
    assert record["dim"] == 3
    assert record["precision"] == "fp32"
    assert record["weights"] == encoder.weights
    assert record["fingerprint"] == encoder.fingerprint
    assert Preprocessing(**record["preprocessing"]) == PLAIN


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (crops(2, 24, 16), "shape"),
        (crops(2)[0], "shape"),
        (crops(2).astype(np.float32), "uint8"),
    ],
)
def test_wrong_crops(given, words):
    with pytest.raises(EncoderError, match=words):
        colour_encoder().encode(given)


def test_black_crops_have_no_mean_colour():
    given = crops(4)
    given[2] = 0
    with pytest.raises(EncoderError, match=r"all-zero vector for row 2 of 4"):
        colour_encoder().encode(given)


def test_nan_is_named():
    broken = Returns(lambda pixels: pixels.mean((2, 3)) * float("nan"))
    encoder = load_encoder(broken, preprocessing=PLAIN, device="cpu")
    with pytest.raises(EncoderError, match="NaN or infinite values for row 0 and 2 more of 3"):
        encoder.encode(crops(3))


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda pixels: pixels, r"one vector a crop.*\(1, 3, 16, 24\)"),
        (lambda pixels: (pixels.mean((2, 3)), 1), "got tuple"),
        (lambda pixels: pixels.mean((0, 2, 3))[None].expand(7, 3), r"\(7, 3\)"),
        (lambda pixels: pixels.view(-1, 1000), "cannot encode crops of 16 × 24"),
    ],
)
def test_modules_with_another_output_fail_when_loaded(function, words):
    with pytest.raises(EncoderError, match=words):
        load_encoder(Returns(function), preprocessing=PLAIN, device="cpu")


def test_module_needs_preprocessing():
    with pytest.raises(EncoderError, match="preprocessing=Preprocessing"):
        load_encoder(Colour())


def test_neither_spec_nor_module():
    with pytest.raises(EncoderError, match="spec or a torch module"):
        load_encoder(Colour, preprocessing=PLAIN)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"device": "gpu"}, "device 'gpu' is unknown"),
        ({"device": "cpu:1"}, "is unknown"),
        ({"device": "cuda:99"}, "device 'cuda:99'"),
        ({"precision": "int8"}, "one of fp32, bf16, fp16"),
        ({"batch_size": 0}, "batch_size"),
        ({"image_size": 0}, "image_size"),
    ],
)
def test_wrong_settings(settings, words):
    with pytest.raises(EncoderError, match=words):
        load_encoder(Colour(), preprocessing=PLAIN, **{"device": "cpu", **settings})


def test_torch_settings_are_left_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    load_encoder("timm:test_vit", pretrained=False, device="cpu").encode(crops(1, 160, 160))
    assert torch.get_num_threads() == threads
    assert torch.get_default_dtype() == dtype
    assert torch.is_grad_enabled()
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


def test_encode_images_from_files_and_pictures(tmp_path):
    pictures = [Image.fromarray(array) for array in crops(10)]
    pictures[0].save(tmp_path / "first.png")
    encoder = colour_encoder()
    vectors = encoder.encode_images([tmp_path / "first.png", *pictures[1:]])
    np.testing.assert_array_equal(vectors, encoder.encode(crops(10)))
    assert encoder.encode_images([]).shape == (0, 3)


def test_encode_images_with_boxes():
    picture = Image.new("RGB", (40, 40), (0, 0, 255))
    picture.paste((255, 0, 0), (0, 0, 20, 40))
    encoder = colour_encoder()
    vectors = encoder.encode_images([picture] * 2, [[0, 0, 0.5, 1], [0.5, 0, 1, 1]])
    np.testing.assert_allclose(vectors, [[1, 0, 0], [0, 0, 1]], atol=1e-6)
    with pytest.raises(EncoderError, match="2 images but 1 boxes"):
        encoder.encode_images([picture] * 2, [[0, 0, 1, 1]])
    with pytest.raises(RegionError):
        encoder.encode_images([picture], [[np.nan] * 4])


def test_encode_images_names_a_missing_file(tmp_path):
    with pytest.raises(ImageError, match=r"nothing\.jpg"):
        colour_encoder().encode_images([tmp_path / "nothing.jpg"])


def test_importing_the_package_does_not_import_torch():
    code = "import sys, patchrerank.encoders; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_cpu():
    on_cpu, on_gpu = (
        load_encoder("timm:test_vit", pretrained=False, device=device) for device in ("cpu", "cuda")
    )
    assert on_gpu.batch_size == 256
    assert on_gpu.fingerprint == on_cpu.fingerprint
    given = crops(5, 160, 160)
    assert (on_cpu.encode(given) * on_gpu.encode(given)).sum(axis=1).min() > 0.9999
