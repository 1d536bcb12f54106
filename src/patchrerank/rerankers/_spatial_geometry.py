"""From two sets of local features to a homography, its inliers and a box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.boxes import NO_BOX, WHOLE_IMAGE
from patchrerank.errors import SettingError
from patchrerank.rerankers._spatial_features import LocalFeatures, import_opencv
from patchrerank.types import Floats, Rows

Matrix = npt.NDArray[np.float64]
LEAST_MATCHES = 4


@dataclass(frozen=True)
class VerificationSettings:
    """How matches become a homography, and which homographies are believed.

    Attributes:
        ratio: a match is kept where the distance to the nearest descriptor is at most this
            share of the distance to the second nearest (Lowe, IJCV 2004); 1 keeps all.
        least_cosine: a match is kept where the cosine of its descriptors is at least this.
        threshold: distance in pixels (at the gallery picture's resized side) up to which a match
            supports a homography.
        iterations: most samples that are drawn.
        confidence: probability in (0, 1) at which drawing stops early.
        least_inliers: a homography with fewer is not believed.
        min_area: a query outline that covers a smaller share of the picture has collapsed.
        max_area: one that covers a larger one is not believed either (it may stick out).
        seed: of the samples.
    """

    ratio: float = 0.8
    least_cosine: float = 0.0
    threshold: float = 6.0
    iterations: int = 2000
    confidence: float = 0.999
    least_inliers: int = 4
    min_area: float = 0.001
    max_area: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        checks = {
            "ratio must lie in (0, 1]": 0.0 < self.ratio <= 1.0,
            "least_cosine must lie in [-1, 1]": -1.0 <= self.least_cosine <= 1.0,
            "threshold must be above 0": 0.0 < self.threshold < float("inf"),
            "iterations must be at least 1": self.iterations >= 1,
            "confidence must lie in (0, 1)": 0.0 < self.confidence < 1.0,
            "least_inliers must be at least 4": self.least_inliers >= LEAST_MATCHES,
            "0 ≤ min_area < max_area is needed": 0.0 <= self.min_area < self.max_area,
        }
        for rule, kept in checks.items():
            if not kept:
                raise SettingError(f"{rule}, got {self}")


@dataclass(frozen=True)
class Verified:
    """What a pair of pictures has in common.

    Attributes:
        inliers: matches that support the homography; 0 where none was found or believed.
        box: float32 ``(4,)``, the query's outline in the gallery picture, cut to [0, 1]; NaN
            where ``inliers`` is 0.
    """

    inliers: int
    box: Floats


NOTHING = Verified(0, NO_BOX)


def verify_pair(
    query: LocalFeatures,
    candidate: LocalFeatures,
    settings: VerificationSettings,
    outline: Floats | None = None,
) -> Verified:
    """Match two pictures' features and fit a homography (USAC with MAGSAC++ scoring).

    Args:
        query, candidate: their features.
        settings: see :class:`VerificationSettings`.
        outline: float32 ``(4,)`` box of the query that is projected; None: its whole picture.

    Returns:
        Inliers and box. A homography that mirrors, folds or collapses the outline, or blows it
        up beyond ``max_area``, counts as not found.

    Source: MAGSAC++ (Barath et al., CVPR 2020) as implemented in OpenCV.
    """
    pairs = mutual_matches(query.descriptors, candidate.descriptors, settings)
    if len(pairs) < settings.least_inliers:
        return NOTHING
    source = query.points[pairs[:, 0]] * _scale(query)
    target = candidate.points[pairs[:, 1]] * _scale(candidate)
    matrix, inliers = fit_homography(source, target, settings)
    if matrix is None or inliers < settings.least_inliers:
        return NOTHING
    frame = WHOLE_IMAGE if outline is None else outline
    box = project_box(matrix, frame * np.tile(_scale(query), 2), _scale(candidate), settings)
    return NOTHING if box is None else Verified(inliers, box)


def mutual_matches(
    query: npt.NDArray[np.float16], candidate: npt.NDArray[np.float16], how: VerificationSettings
) -> Rows:
    """Return int64 ``(m, 2)``: pairs that are each other's nearest and pass the ratio test."""
    if not len(query) or not len(candidate):
        return np.zeros((0, 2), dtype=np.int64)
    cosines = query.astype(np.float32) @ candidate.astype(np.float32).T
    forth, back = cosines.argmax(axis=1), cosines.argmax(axis=0)
    own = np.arange(len(query))
    kept = np.flatnonzero(back[forth] == own)
    best = cosines[kept, forth[kept]]
    good = best >= how.least_cosine
    if how.ratio < 1.0 and cosines.shape[1] > 1:
        rest = cosines[kept]
        rest[np.arange(len(kept)), forth[kept]] = -np.inf
        good &= 1.0 - best <= how.ratio**2 * (1.0 - rest.max(axis=1))
    kept = kept[good]
    return np.stack([kept, forth[kept]], axis=1).astype(np.int64)


def fit_homography(
    source: Floats, target: Floats, how: VerificationSettings
) -> tuple[Matrix | None, int]:
    """Return the homography from ``source`` to ``target`` points ``(m, 2)`` and its inliers."""
    cv2 = import_opencv()
    options = _usac(cv2, how)
    try:
        matrix, inside = cv2.findHomography(
            np.ascontiguousarray(source, dtype=np.float32),
            np.ascontiguousarray(target, dtype=np.float32),
            options,
        )
    except cv2.error:  # points on one line or in one place
        return None, 0
    if matrix is None or not np.isfinite(matrix).all():
        return None, 0
    return np.asarray(matrix, dtype=np.float64), int(np.count_nonzero(inside))


def project_box(
    matrix: Matrix, outline: Floats, size: Floats, how: VerificationSettings
) -> Floats | None:
    """Project the box ``outline`` (pixels) and return its hull in [0, 1], float32 ``(4,)``.

    Args:
        matrix: homography from query pixels to pixels of a picture of ``size``.
        outline: ``(4,)`` in query pixels.
        size: width and height of the candidate picture.
        how: limits of the area.

    Returns:
        None if a corner goes behind the camera, the corners no longer turn the same way
        (mirrored or folded), the area is outside ``[min_area, max_area]``, or nothing of the
        outline is inside the picture.
    """
    x0, y0, x1, y1 = (float(value) for value in outline)
    corners = np.array([[x0, y0, 1.0], [x1, y0, 1.0], [x1, y1, 1.0], [x0, y1, 1.0]])
    projected = corners @ matrix.T
    depth = projected[:, 2]
    if np.abs(depth).min() < 1e-9 or (np.sign(depth) != np.sign(depth[0])).any():
        return None
    quad = projected[:, :2] / depth[:, None] / size
    edges = np.roll(quad, -1, axis=0) - quad
    after = np.roll(edges, -1, axis=0)
    turns = edges[:, 0] * after[:, 1] - edges[:, 1] * after[:, 0]
    if (turns <= 0).any():
        return None
    diagonals = quad[2:] - quad[:2]
    area = 0.5 * abs(diagonals[0, 0] * diagonals[1, 1] - diagonals[0, 1] * diagonals[1, 0])
    if not how.min_area <= area <= how.max_area:
        return None
    low, high = quad.min(axis=0).clip(0.0, 1.0), quad.max(axis=0).clip(0.0, 1.0)
    if (high <= low).any():
        return None
    return np.concatenate([low, high]).astype(np.float32)


def _scale(features: LocalFeatures) -> Floats:
    return np.array(features.size, dtype=np.float32)


def _usac(cv2: Any, how: VerificationSettings) -> Any:
    options = cv2.UsacParams()
    options.score = cv2.SCORE_METHOD_MAGSAC
    options.loMethod = cv2.LOCAL_OPTIM_SIGMA
    options.final_polisher = cv2.MAGSAC
    options.sampler = cv2.SAMPLING_UNIFORM
    options.threshold = how.threshold
    options.maxIterations = how.iterations
    options.confidence = how.confidence
    options.isParallel = False
    options.randomGeneratorState = how.seed
    return options
