from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from patchrerank.encoders import Preprocessing, load_encoder
from patchrerank.encoders.backends import choosing
from patchrerank.encoders.backends.agreement import (
    Agreement,
    agreement_crops,
    least_cosine,
)
from patchrerank.encoders.backends.choosing import BACKENDS, FASTEST_ON_CPU, open_backend
from patchrerank.encoders.backends.onnx_runtime import OnnxRuntime
from patchrerank.encoders.backends.openvino import OpenVino
from patchrerank.encoders.network import Network
from patchrerank.errors import EncoderError, MissingExtraError
from prepared import python

PLAIN = Preprocessing((32, 48), mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
CONVERTED = ["openvino", "onnx"]


def absent(backend: str) -> list[str]:
    """Its packages that are not installed; importing them would let one report over the network."""
    packages = (FASTEST_ON_CPU[backend], *(["onnx"] if backend == "onnx" else []))
    return [package for package in packages if importlib.util.find_spec(package) is None]


def need(backend: str) -> None:
    """Skip where a package is absent."""
    if absent(backend):
        pytest.skip(f"needs {absent(backend)[0]}")


def crops(count: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, 32, 48, 3), dtype=np.uint8)


def convolutional() -> nn.Module:
    torch.manual_seed(5)
    layers = [nn.Conv2d(3, 16, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class TwoWays(nn.Module):
    """Goes one of two ways, by what it sees; a recording holds only one."""

    def forward(self, pixels):
        pooled = nn.functional.adaptive_avg_pool2d(pixels, 4).flatten(1)
        return pooled if pixels[:, 0].std() > 0.01 else pooled.flip(1)


class OneSize(nn.Module):
    """Leaves torch on its way, so that a recording knows one batch only."""

    def forward(self, pixels):
        return torch.from_numpy(pixels.numpy().mean((2, 3)))


def encoder(backend: str, module: nn.Module | None = None, **settings):
    if backend in FASTEST_ON_CPU:
        need(backend)
    return load_encoder(
        module or convolutional(),
        preprocessing=PLAIN,
        **{"device": "cpu", "backend": backend, **settings},
    )


def network(module: nn.Module) -> Network:
    return Network("module:test", module.eval(), PLAIN, "0" * 64, channels_last=False)


def best(module: nn.Module, **settings):
    return open_backend(
        network(module),
        "auto",
        **{
            "device": "cpu",
            "precision": "fp32",
            "batch_size": None,
            "convertible": True,
            **settings,
        },
    )


@pytest.mark.parametrize("name", CONVERTED)
def test_vectors_and_identity_are_those_of_torch(name):
    eager, other = encoder("eager"), encoder(name)
    given = crops(23)
    assert (eager.encode(given) * other.encode(given)).sum(axis=1).min() > 0.9999
    assert other.fingerprint == eager.fingerprint
    assert other.backend.name == other.describe()["backend"] == name
    assert eager.describe()["backend"] == "eager"
    assert other.encode(given).dtype == np.float32
    assert other.encode(given[:0]).shape == (0, 32)


@pytest.mark.parametrize("name", CONVERTED)
def test_bits_do_not_depend_on_what_ran_before(name):
    first = encoder(name)
    given = crops(23)
    expected = first.encode(given)
    for count in (1, 7, 23, 2, 12):
        first.encode(crops(40)[-count:])
        np.testing.assert_array_equal(first.encode(given), expected)
    fresh = encoder(name)
    fresh.encode(given[:5])
    np.testing.assert_array_equal(fresh.encode(given), expected)


@pytest.mark.parametrize("name", CONVERTED)
def test_several_threads_share_an_encoder(name):
    shared = encoder(name)
    parts = [crops(30)[start : start + 11] for start in range(8)]
    expected = [shared.encode(part) for part in parts]
    with ThreadPoolExecutor(4) as pool:
        for one, two in zip(expected, pool.map(shared.encode, parts), strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", CONVERTED)
def test_read_only_views_and_batch_size(name):
    small, given = encoder(name, batch_size=2), crops(14)
    expected = encoder(name).encode(given[::2].copy())
    given.setflags(write=False)
    assert small.batch_size == 2
    assert (small.encode(given[::2]) * expected).sum(axis=1).min() > 0.99999
    with pytest.raises(EncoderError, match="batch_size"):
        encoder(name, batch_size=0)


@pytest.mark.parametrize("name", CONVERTED)
def test_a_network_with_attention_of_torch(name):
    need(name)
    settings = {"pretrained": False, "device": "cpu"}
    fast = torch.backends.mha.get_fastpath_enabled()
    eager, other = (
        load_encoder("timm:test_vit", backend=backend, **settings) for backend in ("eager", name)
    )
    given = np.random.default_rng(0).integers(0, 256, (7, 160, 160, 3), dtype=np.uint8)
    assert (eager.encode(given) * other.encode(given)).sum(axis=1).min() > 0.9999
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert other.batch_size == {"openvino": 6, "onnx": 4}[name]


@pytest.mark.parametrize("name", CONVERTED)
def test_another_function_than_torch_computes_is_refused(name):
    with pytest.raises(EncoderError, match=rf"backend '{name}' disagrees with torch: cosine .*0\."):
        encoder(name, TwoWays())


@pytest.mark.parametrize("name", CONVERTED)
def test_networks_that_cannot_be_converted(name):
    with pytest.raises(EncoderError, match=r"cannot take over|returned|failed on"):
        encoder(name, OneSize())


@pytest.mark.parametrize("backend", [OpenVino, OnnxRuntime])
@pytest.mark.parametrize(
    ("settings", "words"),
    [({"device": "cuda"}, "runs on the CPU only"), ({"precision": "bf16"}, "fp32 only, not in")],
)
def test_unsupported_combinations(backend, settings, words):
    with pytest.raises(EncoderError, match=words):
        backend(network(convolutional()), **settings)


def test_unknown_names():
    with pytest.raises(EncoderError, match=r"'openvin' is unknown.*did you mean openvino"):
        encoder("openvin")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"device": None}, "the device is None; use auto, cpu"),
        ({"device": 0}, r"the device is a int \(0\); use auto, cpu"),
        ({"backend": None}, "backend None is unknown; use one of auto"),
        ({"batch_size": "8"}, "batch_size must be a whole number of at least 1, got '8'"),
        ({"batch_size": 2.5}, "batch_size must be a whole number of at least 1, got 2.5"),
    ],
)
def test_settings_of_the_wrong_type(settings, words):
    with pytest.raises(EncoderError, match=words):
        load_encoder("timm:test_resnet", pretrained=False, **settings)


def test_crops_that_are_no_array(photo_folder):
    made = load_encoder("timm:test_resnet", pretrained=False, device="cpu", backend="eager")
    for crops in ([photo_folder / "00.png"], "00.png", None):
        with pytest.raises(
            EncoderError, match=r"the crops are .* or pass pictures to encode_image"
        ):
            made.encode(crops)


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("openvino", "openvino", "openvino"),
        ("onnx", "onnxruntime", "onnx"),
        ("onnx", "onnx", "onnx"),
    ],
)
def test_missing_packages(monkeypatch, name, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf'pip install "patchrerank\[{extra}\]"'):
        load_encoder(convolutional(), preprocessing=PLAIN, device="cpu", backend=name)


def test_a_back_end_that_is_not_whole_is_passed_over_in_silence(monkeypatch, caplog):
    """Somebody's ``onnxruntime`` without ``onnx``: it came with another package."""
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setattr(choosing, "_installed", lambda package: package == "onnxruntime")
    assert best(convolutional()).name == "eager"
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_auto_takes_the_first_that_is_installed(monkeypatch, caplog):
    need("openvino")
    with caplog.at_level(logging.INFO, logger="patchrerank"):
        assert best(convolutional()).name == "openvino"
    assert "runs on the backend openvino" in caplog.text
    need("onnx")
    monkeypatch.setattr(choosing, "_installed", lambda package: package == "onnxruntime")
    assert best(convolutional()).name == "onnx"
    monkeypatch.setattr(choosing, "_installed", lambda package: False)
    assert best(convolutional()).name == "eager"


def test_auto_is_eager_for_half_precision_and_for_modules_of_your_own():
    assert best(convolutional(), precision="bf16").name == "eager"
    assert best(convolutional(), convertible=False).name == "eager"
    assert encoder("auto").backend.name == "eager"


@pytest.mark.parametrize(
    ("settings", "taken"),
    [
        ({}, "openvino"),
        ({"device": "cuda"}, "eager"),
        ({"device": "mps"}, "eager"),
        ({"precision": "bf16"}, "eager"),
        ({"device": "cuda", "precision": "fp16"}, "eager"),
    ],
)
def test_auto_leaves_torch_only_on_the_cpu_in_full_precision(monkeypatch, settings, taken):
    tried = []
    for name in BACKENDS:
        noted = lambda network, name=name, **how: tried.append(name)  # noqa: E731
        monkeypatch.setitem(BACKENDS, name, noted)
    monkeypatch.setattr(choosing, "choose_device", lambda device: device)
    monkeypatch.setattr(choosing, "_installed", lambda package: True)
    best(convolutional(), **settings)
    assert tried == [taken]


def test_auto_passes_over_what_disagrees(caplog):
    need("openvino")
    assert best(TwoWays()).name == "eager"
    assert "backend openvino passed over" in caplog.text


def test_auto_for_a_spec():
    need("openvino")
    loaded = load_encoder("efficientnet_lite0", image_size=64, device="cpu")
    assert loaded.backend.name == "openvino"


def test_compiled_batches_are_filled_up(monkeypatch):
    monkeypatch.setattr(nn.Module, "compile", lambda self, **settings: None)
    filled, eager = encoder("compile", batch_size=8), encoder("eager", batch_size=8)
    sizes = []
    filled.backend._module.register_forward_hook(lambda *call: sizes.append(len(call[2])))
    given = crops(19)
    vectors = filled.encode(given)
    assert sizes == [8, 8, 8]
    assert vectors.shape == (19, 32)
    assert (vectors * eager.encode(given)).sum(axis=1).min() > 0.99999
    assert filled.fingerprint == eager.fingerprint


@pytest.mark.slow
def test_compiled_network():
    if not (shutil.which("g++") or shutil.which("c++")):
        pytest.skip("needs a C++ compiler")
    compiled, eager = encoder("compile", batch_size=8), encoder("eager")
    given = crops(19)
    vectors = compiled.encode(given)
    assert (vectors * eager.encode(given)).sum(axis=1).min() > 0.9999
    np.testing.assert_array_equal(compiled.encode(given), vectors)


def test_failing_compilation_is_explained(monkeypatch):
    def fail(self, **settings):
        self.register_forward_pre_hook(lambda *call: (_ for _ in ()).throw(OSError("no c++")))

    monkeypatch.setattr(nn.Module, "compile", fail)
    with pytest.raises(EncoderError, match=r"torch cannot compile module:Sequential .*no c\+\+"):
        encoder("compile")


def test_a_gallery_of_one_back_end_is_searched_with_another(tmp_path, photo_folder, quiet):
    need("openvino")
    from patchrerank.gallery import build_gallery, encode_queries
    from patchrerank.regions import GridPyramid

    gallery = build_gallery(
        tmp_path / "g", photo_folder, encoder("openvino"), GridPyramid(1), quiet
    )
    paths = [gallery.pictures[row] for row in range(len(gallery))]
    queries = encode_queries(encoder("eager"), paths)
    gallery.check_queries(queries)
    assert (queries.vectors * gallery.global_vectors).sum(axis=1).min() > 0.9999
    assert gallery.manifest.encoder["backend"] == "openvino"


@pytest.mark.parametrize("name", CONVERTED)
def test_nothing_is_reported_over_the_network(tmp_path, name):
    """Both packages leave a mark in the home folder before they report their use."""
    need(name)
    code = (
        "import sys\n"
        "from patchrerank.encoders import load_encoder\n"
        "load_encoder('timm:test_vit', pretrained=False, device='cpu', "
        f"backend='{name}')\n"
        "print('openvino_telemetry' in sys.modules)"
    )
    kept = {key: os.environ[key] for key in ("PATH", "LD_LIBRARY_PATH") if key in os.environ}
    done = python("-c", code, env={**kept, "HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"})
    assert done.stdout.strip() == "False"
    assert list(tmp_path.rglob("*")) == []


def test_agreement_crops_are_fixed_and_differ():
    given = agreement_crops((40, 56))
    assert given.shape == (5, 40, 56, 3)
    assert given.dtype == np.uint8
    np.testing.assert_array_equal(given, agreement_crops((40, 56)))
    flat = given.reshape(5, -1).astype(float)
    assert (flat.std(axis=1) > 20).all()
    assert np.corrcoef(flat)[np.triu_indices(5, 1)].max() < 0.99


def test_agreement_with_wrong_vectors():
    agreement = Agreement.of(network(convolutional()), "cpu", "fp32")
    known = agreement.vectors
    agreement.check("other", lambda given: known * 3.0)
    agreement.check("other", lambda given: known[[0, 1, 2, 3, 4, 0, 1]], 7)
    noise = np.random.default_rng(0).normal(size=known.shape).astype(np.float32)
    with pytest.raises(EncoderError, match="disagrees with torch"):
        agreement.check("other", lambda given: known + 0.05 * np.abs(known).mean() * noise)
    with pytest.raises(EncoderError, match=r"returned \(5, 31\) where torch returns \(5, 32\)"):
        agreement.check("other", lambda given: known[:, :31])
    with pytest.raises(EncoderError, match="disagrees"):
        agreement.check("other", lambda given: known * np.float32("nan"))


def test_least_cosine():
    rows = np.array([[1, 0], [0, 0], [np.nan, 1]], dtype=np.float32)
    assert least_cosine(rows, rows) == 1.0
    assert least_cosine(rows[:1], np.array([[3, 4]], dtype=np.float32)) == pytest.approx(0.6)
    assert np.isnan(least_cosine(rows[:2], rows[:2] + 1) - 0)


def test_names():
    assert list(BACKENDS) == ["eager", "compile", "openvino", "onnx"]
    assert all(kind.name == name for name, kind in BACKENDS.items())


@pytest.mark.parametrize("name", ["eager", *CONVERTED])
def test_parts_are_encoded_as_one_and_their_errors_come_through(name):
    def parts(broken=False):
        yield given[:5]
        yield given[5:5]
        if broken:
            raise ValueError("part 2")
        yield given[5:]

    one, given = encoder(name, batch_size=4), crops(23)
    expected = one.encode(given)
    np.testing.assert_array_equal(one.encode_parts(parts()), expected)
    with pytest.raises(ValueError, match=r"^part 2$"):
        one.encode_parts(parts(broken=True))
    np.testing.assert_array_equal(one.encode_parts(parts()), expected)
    assert one.encode_parts([]).shape == (0, 32)


@pytest.mark.parametrize("name", CONVERTED)
def test_an_interrupted_build_is_finished_with_the_same_bits(name, tmp_path, photo_folder, quiet):
    from patchrerank.gallery import build_gallery
    from patchrerank.images import list_images
    from patchrerank.regions import GridPyramid

    class InterruptedBuildError(Exception):
        pass

    def pairs(stop=None):
        for number, file in enumerate(list_images(photo_folder)):
            if number == stop:
                raise InterruptedBuildError
            yield file.name, file

    whole = build_gallery(tmp_path / "whole", pairs(), encoder(name), GridPyramid(2), quiet)
    with pytest.raises(InterruptedBuildError):
        build_gallery(tmp_path / "cut", pairs(35), encoder(name), GridPyramid(2), quiet)
    assert (tmp_path / "cut" / "building.json").exists()
    cut = build_gallery(tmp_path / "cut", pairs(), encoder(name), GridPyramid(2), quiet)
    for kind, path in whole.files().items():
        assert path.read_bytes() == cut.files()[kind].read_bytes(), kind


class Antialiased(nn.Module):
    """Resizes in a way that ONNX has no operator for, as NaFlex networks do."""

    def forward(self, pixels):
        half = nn.functional.interpolate(pixels, scale_factor=0.5, mode="bicubic", antialias=True)
        return half.mean((2, 3))


def test_what_cannot_be_exported_is_one_sentence_without_its_graph(capfd, monkeypatch, caplog):
    need("onnx")
    with pytest.raises(EncoderError, match="backend='eager'") as told:
        encoder("onnx", Antialiased())
    assert len(str(told.value)) < 500 and "\n" not in str(told.value)
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(choosing, "_installed", lambda package: package == "onnxruntime")
    assert best(Antialiased()).name == "eager"
    assert "backend onnx passed over" in caplog.text
    assert capfd.readouterr() == ("", "")


INSIDE = """
import os, sys
from pathlib import Path
one = max(os.sched_getaffinity(0))
os.sched_setaffinity(0, {one})
import numpy as np, torch
from patchrerank.encoders import Preprocessing, load_encoder
module = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten())
plain = Preprocessing((32, 48), (0.5,) * 3, (0.25,) * 3)
for name in sys.argv[1:]:
    found = load_encoder(module, preprocessing=plain, device="cpu", backend=name)
    found.encode(np.full((20, 32, 48, 3), 9, np.uint8))
allowed = set()
for file in Path("/proc/self/task").glob("*/status"):
    allowed |= {line.split()[1] for line in file.read_text().splitlines()
                if line.startswith("Cpus_allowed_list")}
assert allowed == {str(one)}, allowed
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no processor affinity here")
def test_threads_stay_on_the_processors_that_the_process_may_use():
    names = [name for name in CONVERTED if not absent(name)]
    done = subprocess.run(
        [sys.executable, "-c", INSIDE, "eager", *names], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr


def test_agreement_crops_mix_without_overflow():
    fine, _, warm, _, mixed = agreement_crops((40, 56)).astype(float)
    assert np.abs(mixed - (fine + 3 * (255 - warm)) / 4).max() <= 1.5
