"""Local features of gallery pictures: found when asked for, kept within bounds."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from patchrerank.errors import ImageError, SettingError
from patchrerank.gallery import Gallery
from patchrerank.images import ImageSource, read_image
from patchrerank.numpy_files import read_npz
from patchrerank.rerankers._spatial_features import FeatureExtractor, LocalFeatures

logger = logging.getLogger(__name__)

Images = Mapping[str, ImageSource]


class GalleryFeatures:
    """The local features of a gallery's pictures by row number; safe under threads.

    Args:
        gallery: says where its pictures lie.
        extractor: finds the features.
        images: ``{gallery id: picture}``; None takes those the gallery was built from.
        cache_bytes: how much is kept in memory, least recently used first out; 0 keeps nothing.
        folder: where features are kept from run to run, one file a picture; None: nowhere. A
            picture that has changed (path, size or time; of one given as bytes its bytes), other
            settings or another version of the package make another file; old ones are never
            deleted. Pictures that are neither are not kept there.

    Raises:
        SettingError: ``cache_bytes`` is negative, or the folder cannot be made.
    """

    def __init__(
        self,
        gallery: Gallery,
        extractor: FeatureExtractor,
        images: Images | None = None,
        cache_bytes: int = 0,
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        if cache_bytes < 0:
            raise SettingError(f"cache_bytes must be at least 0, got {cache_bytes}")
        self._gallery = gallery
        self._extractor = extractor
        self._images = images
        self._folder = None if folder is None else _made(Path(folder))
        self._capacity = cache_bytes
        self._kept: OrderedDict[int, LocalFeatures] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Leave what is kept in memory, and the lock, behind when it is pickled or copied."""
        folder = self._folder and self._folder.absolute()
        left: dict[str, Any] = {
            "_lock": None,
            "_kept": OrderedDict(),
            "_bytes": 0,
            "_folder": folder,
        }
        return {**vars(self), **left}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock())

    @property
    def nbytes(self) -> int:
        """Bytes kept in memory, at most ``cache_bytes``."""
        return self._bytes

    def __getitem__(self, row: int) -> LocalFeatures:
        """Return the features of gallery row ``row``.

        Raises:
            ImageError: its picture is missing or cannot be read.
        """
        with self._lock:
            if row in self._kept:
                self._kept.move_to_end(row)
                return self._kept[row]
        features = self._find(self._source(row))
        with self._lock:
            self._keep(row, features)
        return features

    def _keep(self, row: int, features: LocalFeatures) -> None:
        if row in self._kept or features.nbytes > self._capacity:
            return
        self._kept[row] = features
        self._bytes += features.nbytes
        while self._bytes > self._capacity:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.nbytes

    def _source(self, row: int) -> ImageSource:
        name = self._gallery.ids[row]
        if self._images is not None:
            if name not in self._images:
                raise ImageError(f"{name}: images has no picture for this gallery id")
            return self._images[name]
        return self._gallery.pictures[row]

    def _find(self, source: ImageSource) -> LocalFeatures:
        file = self._file(source)
        features = _load(file) if file is not None and file.is_file() else None
        if features is None:
            features = self._extractor.gallery(read_image(source))
            if file is not None:
                _save(file, features)
        return features

    def _file(self, source: ImageSource) -> Path | None:
        if self._folder is None or not isinstance(source, str | os.PathLike | bytes):
            return None
        which: tuple[object, ...] = ()
        if isinstance(source, bytes):
            which = (hashlib.sha256(source).hexdigest(),)
        elif Path(source).is_file():  # else reading it raises the error
            state = Path(source).stat()
            which = (Path(source).resolve(), state.st_size, state.st_mtime_ns)
        parts = (self._extractor.fingerprint, *which)
        digest = hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()
        return self._folder / f"{digest[:32]}.npz"


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(f"{folder}: cannot be made as a cache folder ({error})") from error
    return folder


def _save(file: Path, features: LocalFeatures) -> None:
    """Write atomically; a full or read-only disk costs speed, not the result."""
    partial = file.with_suffix(f".{os.getpid()}-{threading.get_ident()}.partial")
    try:
        with partial.open("wb") as stream:
            np.savez(
                stream,
                points=features.points,
                descriptors=features.descriptors,
                size=np.array(features.size, dtype=np.int64),
            )
        partial.replace(file)
    except OSError as error:
        logger.warning("%s: local features are not kept (%s)", file, error)
        partial.unlink(missing_ok=True)


def _load(file: Path) -> LocalFeatures | None:
    """Return what :func:`_save` wrote, or None where the file is damaged."""
    try:
        arrays = read_npz(file, SettingError)
        points, descriptors = arrays["points"], arrays["descriptors"]
        width, height = (int(side) for side in arrays["size"])
    except (SettingError, KeyError, TypeError, ValueError, OverflowError) as error:
        logger.warning("%s: damaged, found again (%s)", file, error)
        return None
    whole = points.shape == (len(descriptors), 2) and descriptors.ndim == 2
    kinds = points.dtype == np.float32 and descriptors.dtype == np.float16
    if not whole or not kinds or min(width, height) < 1:
        logger.warning("%s: damaged, found again", file)
        return None
    return LocalFeatures(points, descriptors, (width, height))
