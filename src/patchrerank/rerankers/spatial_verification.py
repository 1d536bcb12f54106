"""Spatial verification: does one homography explain where the local features went?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from patchrerank.boxes import Floats
from patchrerank.errors import QueryError, check_kind
from patchrerank.fusion import Fusion
from patchrerank.gallery import Gallery
from patchrerank.images import read_image
from patchrerank.kernels.checks import check_threads
from patchrerank.rerankers._feature_cache import GalleryFeatures, Images
from patchrerank.rerankers._feature_settings import FeatureKind, FeatureSettings
from patchrerank.rerankers._spatial_features import (
    FeatureExtractor,
    LocalFeatures,
    import_opencv,
)
from patchrerank.rerankers._spatial_geometry import VerificationSettings, Verified, verify_pair
from patchrerank.rerankers.base import Read, Reranker
from patchrerank.rerankers.stage_parts import StageParts
from patchrerank.types import LocalScores, Queries, QueryCrop, Rows, Shortlist

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder

__all__ = ["FeatureKind", "FeatureSettings", "SpatialVerification", "VerificationSettings"]

DEFAULT_FUSION = Fusion(lam=0.5, gamma=0.1, shortlist_size=100)
CACHE_BYTES = 256 * 2**20
RATIOS: dict[FeatureKind, float] = {"sift": 0.8, "orb": 0.8, "xfeat": 0.95}
"""Share of the second nearest distance that suits each kind."""


class SpatialVerification(Reranker):
    """A candidate's score is the number of matches that one homography explains.

    Local features of the query (inside its box, where it has one) and of the candidate are
    matched, a homography is fitted robustly, and the query's outline – its box, else its frame –
    is carried over as the candidate's box. Nothing found, no features at all, or a homography
    that mirrors, folds, collapses or blows up the outline: score 0 and a NaN box, so only empty
    slots have ``-inf``. Same input, same result, whatever ``threads`` and the caches are.

    Source: spatial verification as in Philbin et al., CVPR 2007, with MAGSAC++ (Barath et al.,
    CVPR 2020) in place of RANSAC.

    Args:
        gallery: whose pictures are looked at; nothing but its ids and paths is read.
        encoder: encodes query pictures for the drop-in call.
        fusion: default λ = 0.5, γ = 0.1 (inliers are counts) on the first 100 candidates.
        query_crop: what is done with a query's box before it is *encoded*; local features are
            restricted to the box in any case.
        features: kind, resolution and number of local features.
        verification: how matches become a homography; None takes the defaults with the ratio
            that suits the kind (XFeat 0.95, otherwise 0.8).
        images: ``{gallery id: picture}``; None takes those the gallery was built from.
        cache_bytes: how many bytes of gallery features are kept in memory; 0 for none.
        cache_folder: where they are kept from run to run; None for nowhere.
        threads: candidates verified at a time. While scores are computed, threading inside
            OpenCV, torch and BLAS is off in this process; afterwards it is as before.

    Raises:
        MissingExtraError: OpenCV (extra ``opencv``) or XFeat (extra ``xfeat``) is absent.
        SettingError: a setting is out of range.
    """

    name = "spatial"
    reads = frozenset({"pictures"})

    def __init__(
        self,
        gallery: Gallery,
        encoder: Encoder | None = None,
        fusion: Fusion | None = None,
        query_crop: QueryCrop = "none",
        *,
        features: FeatureSettings | None = None,
        verification: VerificationSettings | None = None,
        images: Images | None = None,
        cache_bytes: int = CACHE_BYTES,
        cache_folder: str | os.PathLike[str] | None = None,
        threads: int = 1,
    ) -> None:
        super().__init__(gallery, encoder, fusion or DEFAULT_FUSION, query_crop)
        check_kind("features", features, FeatureSettings, "FeatureSettings(…)")
        check_kind("verification", verification, VerificationSettings, "VerificationSettings(…)")
        check_kind("images", images, Mapping, "a mapping, {gallery id: picture}")
        import_opencv()
        self.features = features if features is not None else FeatureSettings()
        self.verification = verification or VerificationSettings(ratio=RATIOS[self.features.kind])
        self.threads = check_threads(threads)
        self.images = images
        self._extractor = FeatureExtractor(self.features)
        self._gallery_features = GalleryFeatures(
            gallery, self._extractor, images, cache_bytes, cache_folder
        )

    @classmethod
    def from_stage(cls, parts: StageParts) -> Reranker:
        """Make one of a stage's text; see the base class."""
        crop, images = parts.query_crop, parts.images
        return cls(parts.gallery, parts.encoder, query_crop=crop, images=images)

    def _bytes_of(self, kind: Read) -> float:
        given = self.images or {}
        return sum(
            _file_size(given[name]) if name in given else self.gallery.pictures.nbytes(row)
            for row, name in enumerate(self.gallery.ids)
        )

    def score(self, queries: Queries, shortlist: Shortlist) -> LocalScores:
        """Return inliers and projected outlines; see the class and the base class.

        Raises:
            QueryError: the queries come without pictures.
            ImageError: a query's or candidate's picture cannot be read; it is named.
        """
        if len(queries) and queries.images is None:
            raise QueryError(
                "spatial verification looks at query pictures, but these queries are vectors "
                "alone; encode them from pictures, or set Queries.images"
            )
        scores = np.full(shortlist.rows.shape, -np.inf, dtype=np.float32)
        boxes = np.full((*shortlist.rows.shape, 4), np.nan, dtype=np.float32)
        with (
            _single_threaded(),
            ThreadPoolExecutor(self.threads, initializer=_limit_native_threads) as pool,
        ):
            for number, rows in enumerate(shortlist.rows):
                slots = np.flatnonzero(rows >= 0)
                found = self._verify(queries, number, rows[slots], pool)
                for slot, verified in zip(slots, found, strict=True):
                    scores[number, slot] = verified.inliers
                    boxes[number, slot] = verified.box
        return LocalScores(scores, boxes)

    def _verify(
        self, queries: Queries, number: int, rows: Rows, pool: ThreadPoolExecutor
    ) -> list[Verified]:
        if not len(rows):
            return []
        box = _known_box(queries, number)
        query = self._query_features(queries, number, box)

        def verify(row: int) -> Verified:
            candidate = self._gallery_features[row]
            return verify_pair(query, candidate, self.verification, box)

        return list(pool.map(verify, rows.tolist()))

    def _query_features(self, queries: Queries, number: int, box: Floats | None) -> LocalFeatures:
        images = queries.images or ()
        return self._extractor.query(read_image(images[number]), box)


def _known_box(queries: Queries, number: int) -> Floats | None:
    """Return the box of a query, or None where it has none."""
    if queries.boxes is None or np.isnan(queries.boxes[number]).any():
        return None
    return np.asarray(queries.boxes[number], dtype=np.float32)


def _limit_native_threads() -> None:
    """OpenMP counts its threads for each calling thread anew."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Switch off threading below us, and put it back as it was."""
    from threadpoolctl import threadpool_limits

    cv2 = import_opencv()
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        cv2.setNumThreads(before)


def _file_size(source: object) -> float:
    if isinstance(source, str | os.PathLike) and Path(source).is_file():
        return Path(source).stat().st_size
    return float("nan")
