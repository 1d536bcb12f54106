"""Reading the images of an HDF5 file of local descriptors; its layout: ``local_hdf5``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from patchrerank.errors import GalleryError, short_reason
from patchrerank.file_bounds import check_hdf5, check_memory
from patchrerank.types import Floats, LocalDescriptors

if TYPE_CHECKING:
    import h5py

DATASET = "features"
META = 5
"""Columns of a slot in front of the descriptor."""
MOST_SCALES = 32767
SHOWN = 10
"""Names of other data sets that an error lists."""


class Hdf5Descriptors(Sequence[LocalDescriptors]):
    """The images of an HDF5 file, read when they are asked for; close it, or use ``with``.

    Attributes:
        path: the file.
        slots: slots an image has.
        dim: D.
    """

    def __init__(self, path: Path, sizes: Floats | None) -> None:
        import h5py

        self.path = path
        try:
            self._file = h5py.File(path, "r")
        except FileNotFoundError:
            raise GalleryError(f"{path}: no such file") from None
        except OSError as error:
            raise GalleryError(f"{path}: not an HDF5 file that can be read ({error})") from error
        except RuntimeError as error:
            raise GalleryError(f"{path}: damaged HDF5 file ({short_reason(error)})") from error
        with _closing_on_error(self._file):
            self._data = _dataset(self._file, path)
            self._sizes = None if sizes is None else _checked_sizes(sizes, len(self), path)
        _, self.slots, columns = self._data.shape
        self.dim = int(columns) - META

    def __enter__(self) -> Hdf5Descriptors:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return int(self._data.shape[0])

    @overload
    def __getitem__(self, row: int) -> LocalDescriptors: ...
    @overload
    def __getitem__(self, row: slice) -> list[LocalDescriptors]: ...
    def __getitem__(self, row: int | slice) -> LocalDescriptors | list[LocalDescriptors]:
        if isinstance(row, slice):
            return [self[number] for number in range(*row.indices(len(self)))]
        number = row + len(self) if row < 0 else row
        if not 0 <= number < len(self):
            raise IndexError(f"{self.path}: no image {row}; it holds {len(self)}")
        try:
            slots = np.asarray(self._data[number], dtype=np.float32)
        except (OSError, RuntimeError, ValueError, KeyError, MemoryError) as error:
            raise GalleryError(
                f"{self.path}: image {number} cannot be read ({short_reason(error)}); damaged?"
            ) from error
        return self._image(number, slots)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _image(self, number: int, slots: Floats) -> LocalDescriptors:
        if not np.isfinite(slots).all():
            raise GalleryError(f"{self.path}: image {number} holds NaN or infinite values")
        used = slots[slots[:, 3] == 0]
        if used.size and not 0 <= used[:, 2].min() <= used[:, 2].max() <= MOST_SCALES:
            raise GalleryError(
                f"{self.path}: scales of image {number} reach from {used[:, 2].min():g} to "
                f"{used[:, 2].max():g}; they are numbers from 0"
            )
        positions = np.ascontiguousarray(used[:, 1::-1])
        if self._sizes is not None:
            positions /= self._sizes[number]
        if positions.size and (positions.min() < 0 or positions.max() > 1):
            raise GalleryError(
                f"{self.path}: positions of image {number} reach {positions.max():g}, outside "
                "[0, 1]; if they are in pixels, pass sizes (width and height of each image)"
            )
        return LocalDescriptors(
            vectors=np.ascontiguousarray(used[:, META:]),
            positions=positions,
            scales=used[:, 2].astype(np.int16),
            weights=np.ascontiguousarray(used[:, 4]),
        )


def _dataset(file: h5py.File, path: Path) -> Any:
    data = file.get(DATASET)
    if data is None or not isinstance(getattr(data, "shape", None), tuple):
        raise GalleryError(f"{path}: no dataset {DATASET!r}; it holds {sorted(file)[:SHOWN]}")
    if data.ndim != 3 or data.shape[2] <= META or data.dtype.kind != "f":
        raise GalleryError(
            f"{path}: {DATASET!r} is {data.dtype} {data.shape}; floats of the shape (images, "
            "slots, 5 + D) are needed"
        )
    check_hdf5(data, path, GalleryError)
    check_memory(4 * math.prod(data.shape[1:]), f"{path}: one image", GalleryError)
    return data


def _checked_sizes(sizes: Floats, images: int, path: Path) -> Floats:
    if sizes.shape != (images, 2):
        raise GalleryError(
            f"{path}: sizes need the shape ({images}, 2), width and height of each image, "
            f"got {sizes.shape}"
        )
    good = (np.isfinite(sizes) & (sizes > 0)).all(axis=1)
    if not good.all():
        row = int(np.argmin(good))
        raise GalleryError(f"{path}: sizes: image {row} is {sizes[row].tolist()} pixels")
    return sizes


@contextmanager
def _closing_on_error(file: h5py.File) -> Iterator[None]:
    """Close a file that is refused, and name it where h5py itself stumbles over it."""
    try:
        yield
    except GalleryError:
        file.close()
        raise
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        name = file.filename
        file.close()
        raise GalleryError(f"{name}: damaged HDF5 file ({short_reason(error)})") from error
