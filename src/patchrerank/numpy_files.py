"""numpy's own files, ``.npy`` and ``.npz``, from anybody: read within bounds, never unpickled."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from patchrerank.errors import PatchRerankError, short_reason
from patchrerank.file_bounds import check_declared, check_memory

Array = npt.NDArray[Any]
KINDS = "fiubUS"
"""Kinds of numbers and text; objects, records and times are refused."""
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npz(path: str | os.PathLike[str], error: type[PatchRerankError]) -> dict[str, Array]:
    """Return the arrays of a ``.npz`` file by name: numbers or text.

    Args:
        path: the file.
        error: what is raised.

    Raises:
        error: the file is missing, damaged, holds something else, or declares more than it can
            hold or than fits into memory; names the file and the entry.
    """
    where = os.fspath(path)
    try:
        with zipfile.ZipFile(where) as archive:
            entries = archive.infolist()
            check_memory(sum(entry.file_size for entry in entries), where, error)
            return {
                entry.filename.removesuffix(".npy"): _entry(archive, entry, where, error)
                for entry in entries
            }
    except OSError as reason:
        raise error(f"{where}: cannot be read ({reason.strerror or reason})") from reason
    except PatchRerankError:
        raise
    except Exception as reason:  # zipfile and numpy raise what they like on damaged files
        raise error(
            f"{where}: not a numpy archive that can be read safely ({short_reason(reason)})"
        ) from reason


def read_npy(path: str | os.PathLike[str], error: type[PatchRerankError]) -> Array:
    """Return the array of a ``.npy`` file: numbers or text.

    Raises:
        error: see :func:`read_npz`.
    """
    return _opened(path, error, mapped=False)


def map_npy(path: str | os.PathLike[str], error: type[PatchRerankError]) -> Array:
    """Memory-map a ``.npy`` file read-only.

    Raises:
        error: see :func:`read_npz`.
    """
    return _opened(path, error, mapped=True)


def _opened(path: str | os.PathLike[str], error: type[PatchRerankError], *, mapped: bool) -> Array:
    where = os.fspath(path)
    try:
        with Path(path).open("rb") as file:
            shape = _checked_shape(file, os.fstat(file.fileno()).st_size, where, error)
        if mapped and 0 not in shape:
            found: Array = np.load(where, mmap_mode="r", allow_pickle=False)
            return found
        return np.asarray(np.load(where, allow_pickle=False))
    except OSError as reason:
        raise error(f"{where}: cannot be read ({reason.strerror or reason})") from reason
    except PatchRerankError:
        raise
    except Exception as reason:  # numpy raises what it likes on damaged files
        raise error(f"{where}: damaged, not a .npy file ({short_reason(reason)})") from reason


def _entry(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, where: str, error: type[PatchRerankError]
) -> Array:
    place = f"{where}: {entry.filename}"
    squeezed = entry.compress_type != zipfile.ZIP_STORED
    check_declared(entry.file_size, entry.compress_size, place, error, squeezed=squeezed)
    with archive.open(entry) as file:
        _checked_shape(file, entry.file_size, place, error)
    with archive.open(entry) as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _checked_shape(
    file: IO[bytes], held: int, where: str, error: type[PatchRerankError]
) -> tuple[int, ...]:
    """Return the shape that a header declares, after holding it against the bytes there are."""
    version = np.lib.format.read_magic(file)
    if version not in HEADERS:
        raise error(f"{where}: format {version} of .npy files is not read; save it again")
    shape, _, dtype = HEADERS[version](file)
    if dtype.kind not in KINDS or dtype.hasobject:
        raise error(f"{where}: holds {dtype}; numbers or text are needed")
    if min(shape, default=0) < 0:
        raise error(f"{where}: damaged, the shape is {shape}")
    check_declared(dtype.itemsize * math.prod(shape), held, where, error)
    return tuple(shape)
