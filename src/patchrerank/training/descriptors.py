"""The local descriptors that a network is trained on: made once, then memory-mapped."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from patchrerank.encoders import DenseEncoder, QueryPart
from patchrerank.errors import SettingError
from patchrerank.gallery import LocalStore, encode_local_queries
from patchrerank.gallery.local_manifest import LocalManifest
from patchrerank.gallery.local_writer import open_local_writer
from patchrerank.gallery.manifest import MANIFEST
from patchrerank.gallery.stamps import digests_of
from patchrerank.types import LocalDescriptors

if TYPE_CHECKING:
    from patchrerank.datasets import Dataset

logger = logging.getLogger(__name__)

MANY = 2**31
"""More descriptors than any picture has."""

CHUNK = 16
"""Pictures that are encoded and committed together."""

Encode = Callable[[int, int], Sequence[LocalDescriptors]]


@dataclass(frozen=True)
class QueryView:
    """How query pictures are seen.

    Attributes:
        size: side in pixels to which a query picture is squashed; None: that of the gallery's.
        part: which descriptors are kept; see :class:`patchrerank.encoders.Selection`.

    Raises:
        SettingError: a size below 1.
    """

    size: int | None = 224
    part: QueryPart = "box"

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 1:
            raise SettingError(f"query size must be at least 1 pixel, got {self.size}")


@dataclass(frozen=True, eq=False)
class DatasetDescriptors:
    """The local descriptors of a data set.

    Attributes:
        dataset: its pictures and what they show.
        images: one row a picture of the database, in the data set's order.
        queries: one row a query, only the part that is searched for.
    """

    dataset: Dataset
    images: LocalStore
    queries: LocalStore


def encode_dataset(
    dataset: Dataset,
    encoder: DenseEncoder,
    view: QueryView,
    cache: Path,
    *,
    progress: bool = True,
) -> DatasetDescriptors:
    """Return a data set's descriptors, float16 on disk below ``cache``; made only once.

    A run that is killed is continued by the same call. Changed pictures, another encoder,
    selection or view get folders of their own.

    Raises:
        ImageError: a picture cannot be read.
        GalleryError: a folder of the cache is damaged, or another process is at work.
    """
    dataset.check_pictured("training")
    images = [image.file for image in dataset.images]
    asked = [query.file for query in dataset.queries]
    boxes = [query.box for query in dataset.queries]

    def encode_images(start: int, end: int) -> Sequence[LocalDescriptors]:
        return encoder.encode_images(images[start:end])

    def encode_queries(start: int, end: int) -> Sequence[LocalDescriptors]:
        return encode_local_queries(
            encoder,
            asked[start:end],
            boxes[start:end],
            image_size=view.size,
            count=MANY,
            part=view.part,
        )

    made = _Maker(encoder, cache, progress)
    return DatasetDescriptors(
        dataset,
        made.store(f"{dataset.name}-images", images, encode_images, dataset.fingerprint),
        made.store(
            f"{dataset.name}-queries", asked, encode_queries, f"{dataset.fingerprint}|{view}"
        ),
    )


@dataclass(frozen=True)
class _Maker:
    """Makes local stores below a folder, or finds them."""

    encoder: DenseEncoder
    cache: Path
    progress: bool

    def store(self, title: str, files: Sequence[Path], encode: Encode, key: str) -> LocalStore:
        """Return the store of these pictures, whose descriptors ``encode(start, end)`` makes."""
        plan = self._plan(f"{key}|{_digest_of(files)}|{self.encoder.fingerprint}")
        folder = self.cache / f"{_readable(title)}-{plan.fingerprint[:12]}"
        if (folder / MANIFEST).is_file():
            return LocalStore(folder)
        with open_local_writer(folder, plan) as writer:
            begun = writer.manifest.images
            bar = tqdm(
                total=len(files), initial=begun, desc=title, unit="img", disable=not self.progress
            )
            for start in range(begun, len(files), CHUNK):
                end = min(start + CHUNK, len(files))
                writer.commit(encode(start, end))
                bar.update(end - start)
            bar.close()
            writer.finish()
        return LocalStore(folder)

    def _plan(self, key: str) -> LocalManifest:
        made = self.encoder
        return LocalManifest(
            dim=made.dim,
            store="float16",
            encoder=dict(made.describe()),
            identity=made.identity,
            fingerprint=hashlib.sha256(key.encode()).hexdigest(),
            grids=made.grids,
            chunk=CHUNK,
        )


def _digest_of(files: Sequence[Path]) -> str:
    """Return a digest of the files' names and bytes."""
    found = list(zip((file.name for file in files), digests_of(files), strict=True))
    return hashlib.sha256(repr(found).encode()).hexdigest()


def _readable(title: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in title)[-60:]


def mean_descriptors(store: LocalStore) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Return one global vector an image, float32 ``(N, D)``, of unit norm.

    The mean of its descriptors, each with its weight (where a weight is the descriptor's norm,
    that is the mean of the feature map); zeros where an image has no descriptors.
    """
    vectors = np.zeros((len(store), store.dim), dtype=np.float32)
    for row in range(len(store)):
        found = store.descriptors_of(row)
        if len(found):
            mean = found.weights @ found.vectors if found.weights.any() else found.vectors.sum(0)
            vectors[row] = mean / max(float(np.linalg.norm(mean)), 1e-12)
    return vectors
