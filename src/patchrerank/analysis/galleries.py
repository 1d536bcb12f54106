"""The gallery of a data set: built once, found again by what it was made of."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from patchrerank.analysis.training_vectors import train_label, training_vectors
from patchrerank.errors import GalleryError, SettingError
from patchrerank.gallery import (
    BuildOptions,
    CompressOptions,
    Gallery,
    LocalOptions,
    build_gallery,
    build_local,
    compress,
    derive_gallery,
    record_files,
)
from patchrerank.gallery.derive import misfit
from patchrerank.gallery.manifest import MANIFEST
from patchrerank.gallery.named_files import read_named_files
from patchrerank.gallery.stamps import digests_of
from patchrerank.gallery.stores import check_store, split_store
from patchrerank.gallery.whiten_choice import AUTO, NONE, check_whiten
from patchrerank.regions import GridPyramid, Regions, SlidingWindows

if TYPE_CHECKING:
    from patchrerank.datasets import Dataset
    from patchrerank.encoders import DenseEncoder, Encoder

HIGHEST_LEVEL = 3
STRIDES = (0.5, 0.25)
"""Of the published sliding windows."""
MOST_NAMED = 1_000_000
"""Pictures whose files are kept beside a gallery; of more it would be a file of hundreds of MB."""


@dataclass(frozen=True)
class StoreSettings:
    """How the patch vectors of an evaluated gallery are stored.

    Attributes:
        name: ``float32``, ``float16``, ``int8``, ``pq``, or ``rabitq1`` to ``rabitq4``; of the last
            five also with finer rows beside them, as in ``rabitq2+int8``.
        whiten: dimensions kept by PCA-whitening, ``auto``, or None.
        m: parts of a product quantiser.
        nbits: bits of each part.
        train_on: what it is trained on; see
            :func:`patchrerank.analysis.training_vectors.training_vectors`.
        rescore: how many candidates finer rows score again; None: as many as is usual.
    """

    name: str = "float32"
    whiten: int | str | None = None
    m: int = 64
    nbits: int = 8
    train_on: str = "all"
    rescore: int | None = None

    def __post_init__(self) -> None:
        check_store(self.name)
        if isinstance(self.whiten, int):
            check_whiten(self.whiten)
        elif self.whiten not in (None, AUTO):
            raise SettingError(
                f"whiten is {self.whiten!r}; give a number of dimensions such as 512, or 'auto'"
            )

    @property
    def label(self) -> str:
        """The settings as text, for folders and tables."""
        name, (codes, exact) = self.name, split_store(self.name)
        if codes == "pq":
            name = f"pq{self.m}x{self.nbits}-{train_label(self.train_on)}"
            name += f"+{exact}" * bool(exact)
        name = name if self.whiten is None else f"{name}-w{self.whiten}"
        return name if self.rescore is None else f"{name}-rescore{self.rescore}"


def gallery_folder(cache: Path, dataset: Dataset, encoder: Encoder, regions: Regions) -> Path:
    """Return the folder below ``cache`` for this data set, encoder and region strategy."""
    return _folder(cache, _contents(dataset, progress=False), encoder, regions)


def dataset_gallery(
    dataset: Dataset, encoder: Encoder, regions: Regions, cache: Path, options: BuildOptions
) -> tuple[Gallery, bool]:
    """Open the data set's gallery below ``cache``, or build (or finish) it; not whitened.

    Where a gallery there holds these regions among its own, vectors are copied from it.

    Returns:
        The gallery, and whether it was there already.
    """
    contents = _contents(dataset, progress=options.progress)
    folder = _folder(cache, contents, encoder, regions)
    if (folder / MANIFEST).is_file():
        return with_files(Gallery(folder), dataset), True
    for wider in supersets(regions) if options.store in (None, "float32") else ():
        other = _folder(cache, contents, encoder, wider)
        if (other / MANIFEST).is_file() and misfit(Gallery(other), encoder, regions) is None:
            source = Gallery(other)
            derived = derive_gallery(source, folder, encoder, regions, progress=options.progress)
            return with_files(derived, dataset), False
    plain = replace(options, whiten=NONE)
    built = build_gallery(folder, _Pairs(dataset), encoder, regions, plain)
    return with_files(built, dataset), False


def with_files(gallery: Gallery, dataset: Dataset) -> Gallery:
    """Return a data set's gallery that knows where its pictures lie, as far as that can be kept.

    Nothing else of it changes. Galleries of before that was kept are told when they are opened, and
    others when the data set has moved.
    """
    there = os.path.abspath(dataset.root)
    with suppress(GalleryError, SettingError, OSError):  # a cache may be read-only
        known = read_named_files(gallery.folder)
        if (known is None or known.root != there) and len(dataset.images) <= MOST_NAMED:
            held = set(gallery.ids.living())  # pictures that could not be read are not in it
            files = {image.id: image.file for image in dataset.images if image.id in held}
            record_files(gallery, files, there)
            return Gallery(gallery.folder)
    return gallery


def supersets(regions: Regions) -> list[Regions]:
    """Return strategies of the published sizes that hold these regions among their own."""
    if isinstance(regions, GridPyramid):
        grids: list[Regions] = [GridPyramid(level) for level in _levels(regions.level + 1)]
        windows = [SlidingWindows(level, s) for s in STRIDES for level in _levels(regions.level)]
        return [*grids, *windows]
    if isinstance(regions, SlidingWindows) and regions.stride in (1.0, *STRIDES):
        finer = [stride for stride in STRIDES if stride <= regions.stride]
        found = [SlidingWindows(level, s) for s in finer for level in _levels(regions.level)]
        return [item for item in found if item != regions]
    return []


def _levels(lowest: int) -> range:
    return range(lowest, HIGHEST_LEVEL + 1)


def _contents(dataset: Dataset, *, progress: bool) -> str:
    """Return a digest of what the data set says, of its pictures' ids and of their bytes.

    Not of where they lie, nor of times: a copy is the same data set.
    """
    digests = digests_of([image.file for image in dataset.images], progress=progress)
    named = [(image.id, digest) for image, digest in zip(dataset.images, digests, strict=True)]
    return f"{dataset.fingerprint}|{hashlib.sha256(repr(named).encode()).hexdigest()}"


def _folder(cache: Path, contents: str, encoder: Encoder, regions: Regions) -> Path:
    cut = encoder.recorded_regions(regions.spec)
    key = f"{contents}|{encoder.fingerprint}|{cut}"
    readable = "".join(c if c.isalnum() else "-" for c in f"{encoder.spec}-{cut}")[-60:]
    return cache / f"{readable}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def with_local_descriptors(
    gallery: Gallery, dataset: Dataset, encoder: DenseEncoder, *, progress: bool
) -> Gallery:
    """Return the gallery with local descriptors, made of the data set's pictures if it has none."""
    if gallery.has_local:
        return gallery
    files = {image.id: image.file for image in dataset.images}
    names = zip(gallery.live.tolist(), gallery.ids.living(), strict=True)
    sources = {row: files[name] for row, name in names}
    build_local(gallery, encoder, LocalOptions(progress=progress), sources=sources)
    return Gallery(gallery.folder)


def stored_gallery(
    gallery: Gallery, dataset: Dataset, encoder: Encoder, store: StoreSettings, *, progress: bool
) -> Gallery:
    """Return the gallery with its patch vectors stored as asked, compressed beside it once."""
    if store == StoreSettings():
        return gallery
    label = replace(store, rescore=None).label  # asked anew each time, not kept
    folder = gallery.folder.with_name(f"{gallery.folder.name}-{label}")
    if not (folder / MANIFEST).is_file():
        quantised = split_store(store.name)[0] == "pq"
        train = (
            training_vectors(gallery, store.train_on, dataset.root, encoder) if quantised else None
        )
        options = CompressOptions(
            store=store.name,
            whiten=store.whiten,
            m=store.m,
            nbits=store.nbits,
            train=train,
            train_on=store.train_on,
            progress=progress,
        )
        compress(gallery, folder, options)
    with_files(Gallery(folder), dataset)
    return Gallery(folder, rescore=store.rescore)


class _Pairs:
    """The data set's ``(id, file)`` pairs, with their number for the progress bar."""

    def __init__(self, dataset: Dataset) -> None:
        self._images = dataset.images

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[tuple[str, Path]]:
        return iter((image.id, image.file) for image in self._images)
