"""Local descriptors that were made elsewhere: arrays, folders of them, or files of AMES' layout."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from patchrerank.errors import GalleryError, SettingError, described
from patchrerank.gallery.hdf5_reader import Hdf5Descriptors
from patchrerank.gallery.identity import IMPORTED
from patchrerank.gallery.import_counts import counts_of
from patchrerank.gallery.row_sources import Array, open_rows
from patchrerank.types import Floats

if TYPE_CHECKING:
    from patchrerank.encoders import DenseEncoder

HDF5 = (".h5", ".hdf5")
IMAGES = 16
"""Of an HDF5 file, read at once."""
UNKNOWN = "unknown"


@dataclass(frozen=True)
class LocalOrigin:
    """What made local descriptors.

    Attributes:
        encoder: its record, as in the manifest of a local store.
        identity: what a query's dense encoder must match; empty: nobody knows.
        fingerprint: of all its settings.
        grids: (h, w) cells at each scale; empty: nobody knows.
    """

    encoder: dict[str, object]
    identity: str = ""
    fingerprint: str = ""
    grids: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class LocalVectors:
    """Local descriptors of N images, an argument of :func:`patchrerank.gallery.import_gallery`.

    Attributes:
        vectors: ``(L, D)`` float16, float32 or float64, image after image; or ``(N, K, D)``.
        places: floats ``(L, 2)``, the centre x, y of each in [0, 1] of the upright image;
            ``(L, 3)``: and the number of the scale at which it was found; ``(L, 4)``: and its
            weight, strongest first in each image. Or ``(N, K, …)``, as ``vectors``.
        counts: how many each image has, as those of patches.
        origin: what made them; None: not known.
    """

    vectors: Any
    places: Any
    counts: Any = None
    origin: LocalOrigin | None = None


Part: TypeAlias = tuple[str, Array]
"""``counts`` of the next images, or the next ``vectors`` or ``places`` of all of them."""


class LocalSource:
    """Descriptors of N images, block by block.

    Attributes:
        name: of the vectors, for messages.
        dim: D.
        origin: what made them; None: not known.
        sizes: float32 ``(N, 2)`` pixels by which places are still to be divided; None: they need
            not be.
    """

    name: str
    dim: int
    origin: LocalOrigin | None = None
    sizes: Floats | None = None

    def parts(self) -> Iterator[Part]:
        """Yield counts int64 ``(n,)``, vectors ``(n, D)`` and places ``(n, 2 to 4)``."""
        raise NotImplementedError


class LocalArrays(LocalSource):
    """Descriptors that lie in arrays."""

    def __init__(self, given: LocalVectors, images: int, sizes: Floats | None) -> None:
        self.sizes = sizes
        self._vectors = open_rows(given.vectors, "local vectors")
        self._places = open_rows(given.places, "local places")
        self.name, self.origin = self._vectors.name, given.origin
        shape = self._vectors.shape
        if self._vectors.dtype.kind != "f" or len(shape) not in (2, 3) or not shape[-1]:
            raise GalleryError(
                f"{self.name}: {self._vectors.dtype} {shape}; use floats (L, D), or (N, K, D)"
            )
        self.dim = shape[-1]
        self._counts = counts_of(images, self._vectors, given.counts, "local counts")
        self._check_places(int(self._counts.sum()))

    def _check_places(self, total: int) -> None:
        dtype, shape = self._places.dtype, self._places.shape
        fits = shape[:-1] in ((total,), self._vectors.shape[:-1])
        if dtype.kind != "f" or not fits or not 2 <= shape[-1] <= 4:
            raise GalleryError(
                f"{self._places.name}: {dtype} {shape}; use floats ({total}, 2 to 4), for each "
                "descriptor x, y, and if known its scale and its weight"
            )

    def parts(self) -> Iterator[Part]:
        """Yield all counts, all vectors, all places."""
        yield "counts", self._counts
        for what, rows in (("vectors", self._vectors), ("places", self._places)):
            for block in rows.blocks(self._counts):
                yield what, block


class LocalFile(LocalSource):
    """Descriptors in an HDF5 file of AMES and ELViS (see ``local_hdf5``)."""

    def __init__(self, path: Path, images: int, sizes: Floats | None) -> None:
        self._images, self.name = Hdf5Descriptors(path, sizes), f"local vectors ({path})"
        self.dim = self._images.dim
        origin = {"spec": f"hdf5:{path.name}", "slots": int(self._images.slots)}
        self.origin = LocalOrigin(origin)
        if len(self._images) != images:
            raise GalleryError(
                f"{path}: holds {len(self._images)} images, but there are {images} ids; the same "
                "images in the same order are needed"
            )

    def parts(self) -> Iterator[Part]:
        """Yield counts, vectors and places of some images after the other."""
        for start in range(0, len(self._images), IMAGES):
            items = self._images[start : start + IMAGES]
            yield "counts", np.array([len(item) for item in items], dtype=np.int64)
            yield "vectors", np.concatenate([item.vectors for item in items])
            parts = [(item.positions, item.scales, item.weights) for item in items]
            yield "places", np.concatenate([np.column_stack(part) for part in parts])


def open_local_source(local: Any, images: int, sizes: Floats | None) -> LocalSource:
    """Return local descriptors that are to be imported.

    Args:
        local: :class:`LocalVectors`; a folder with ``vectors.npy``, ``places.npy`` and, where
            needed, ``counts.npy``; or an HDF5 file of AMES and ELViS.
        images: N.
        sizes: float32 ``(N, 2)``, by which positions in pixels are divided; None: they need not.

    Raises:
        GalleryError: none of these, or of another number, shape or dtype.
    """
    if isinstance(local, str | os.PathLike):
        path = Path(local)
        if path.suffix.lower() in HDF5 and not path.is_dir():
            return LocalFile(path, images, sizes)
        local = read_local_folder(path)
    if not isinstance(local, LocalVectors):
        raise SettingError(
            f"the local descriptors are {described(local)}; pass LocalVectors(vectors, places), a "
            "folder of them, or an HDF5 file of AMES"
        )
    return LocalArrays(local, images, sizes)


def read_local_folder(folder: Path) -> LocalVectors:
    """Find the arrays of a folder.

    Raises:
        GalleryError: one is missing.
    """
    if not folder.exists():
        raise GalleryError(f"{folder}: there is no such file or folder of local descriptors")
    for name in ("vectors.npy", "places.npy"):
        if not (folder / name).is_file():
            raise GalleryError(
                f"{folder}: holds no {name}; local descriptors are a folder with vectors.npy, "
                "places.npy and counts.npy, or an HDF5 file (.h5, .hdf5) of AMES"
            )
    counts = folder / "counts.npy"
    return LocalVectors(
        folder / "vectors.npy", folder / "places.npy", counts if counts.is_file() else None
    )


def local_origin_of(encoder: DenseEncoder | str | None, source: LocalSource) -> LocalOrigin:
    """Return what made descriptors.

    Args:
        encoder: what ``load_dense_encoder`` returned, or any text, which queries' descriptors
            must then name; None: what the source says, or nobody knows.
        source: of the descriptors.

    Raises:
        SettingError: none of these.
        GalleryError: the encoder's have other dimensions.
    """
    if encoder is None:
        return source.origin or LocalOrigin({"spec": UNKNOWN, "architecture": IMPORTED})
    if isinstance(encoder, str) and encoder.strip():
        if source.origin is not None:
            return replace(source.origin, identity=encoder)
        return LocalOrigin({"spec": encoder, "architecture": IMPORTED}, encoder, encoder)
    if isinstance(encoder, str) or not hasattr(encoder, "grids"):
        raise SettingError(
            f"the local encoder is {described(encoder)}; say what made the descriptors: what "
            "load_dense_encoder(…) returned, or any text"
        )
    if encoder.dim != source.dim:
        raise GalleryError(
            f"{source.name}: {source.dim} dimensions, those of the local encoder have {encoder.dim}"
        )
    record = dict(encoder.describe())
    return LocalOrigin(record, encoder.identity, encoder.fingerprint, encoder.grids)
