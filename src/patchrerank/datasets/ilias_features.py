"""ILIAS' feature files: HDF5 with ``index`` (ids) and ``features`` (global descriptors).

Ids are kept as the files hold them: ASCII, other characters written ``#U`` and four hexadecimal
digits. The lists of ids that ILIAS publishes hold them in the same form, so do not unescape
before comparing; :func:`unescape_id` gives the name to show.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.errors import DatasetError, near_matches
from patchrerank.file_bounds import check_hdf5, check_memory
from patchrerank.hdf5_writing import hdf5_with, hdf5_written
from patchrerank.types import Floats

INDEX, FEATURES = "index", "features"
FILE = hdf5_with("a feature file", INDEX, FEATURES)
ESCAPE = re.compile(r"#U([0-9a-fA-F]{4})|\\\\U([0-9a-fA-F]{8})")
BASIC_PLANE = 0xFFFF
PathLike = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class IliasFeatures:
    """Global descriptors with their ids.

    Attributes:
        ids: N ids, as in the file.
        vectors: float32 ``(N, d)``, as stored: about unit norm after float16, not normalised.
    """

    ids: tuple[str, ...]
    vectors: Floats

    def __len__(self) -> int:
        return len(self.ids)


def read_features(path: PathLike, start: int = 0, stop: int | None = None) -> IliasFeatures:
    """Read one feature file, or its rows ``start`` to ``stop``.

    Raises:
        DatasetError: the file is missing, no HDF5, lacks a key, or its contents do not fit; the
            message names file and key.
    """
    with _opened(path) as file:
        index, features = _dataset(file, INDEX, path), _dataset(file, FEATURES, path)
        if index.ndim != 1 or features.ndim != 2 or len(index) != len(features):
            raise DatasetError(
                f"{os.fspath(path)}: {INDEX!r} has the shape {index.shape} and {FEATURES!r} "
                f"{features.shape}; expected (N,) and (N, d)"
            )
        if features.dtype.kind != "f":
            raise DatasetError(
                f"{os.fspath(path)}: {FEATURES!r} holds {features.dtype}, not floats"
            )
        for data in (index, features):
            check_hdf5(data, os.fspath(path), DatasetError)
        count = len(range(*slice(start, stop).indices(len(index))))
        check_memory(4 * count * features.shape[1], os.fspath(path), DatasetError)
        ids = _decoded(index[start:stop], path)
        vectors = np.ascontiguousarray(features[start:stop], dtype=np.float32)
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if bad.size:
        raise DatasetError(
            f"{os.fspath(path)}: {FEATURES!r} holds NaN or infinite values in row "
            f"{start + int(bad[0])} ({ids[int(bad[0])]!r}); extract it again"
        )
    return IliasFeatures(ids, vectors)


def write_features(
    path: PathLike, ids: Sequence[str], vectors: npt.ArrayLike, dtype: npt.DTypeLike = np.float16
) -> None:
    """Write one feature file as ILIAS does; ids are escaped, see :func:`escape_id`.

    Args:
        path: the file; an earlier one is replaced when the new one is complete, and whoever
            reads it keeps it.
        ids: N ids.
        vectors: ``(N, d)``.
        dtype: how the vectors are stored.

    Raises:
        DatasetError: other numbers of ids than of vectors.
        SettingError: the file cannot be written, or holds something else.
    """
    import h5py

    array = np.asarray(vectors, dtype=dtype)
    if array.ndim != 2 or len(array) != len(ids):
        raise DatasetError(
            f"{os.fspath(path)}: {len(ids)} ids but vectors of the shape {array.shape}"
        )
    with hdf5_written(os.fspath(path), FILE, array.nbytes) as file:
        names = [escape_id(name) for name in ids]
        file.create_dataset(INDEX, data=names, dtype=h5py.string_dtype(encoding="ascii"))
        # an empty array cannot be cut into chunks, which compression needs
        packed = {"compression": "gzip", "compression_opts": 0} if array.size else {}
        file.create_dataset(FEATURES, data=array, **packed)


def database_files(folder: PathLike, name: str = "features") -> list[Path]:
    """Return the files of the database in order: positives, then distractors 00000, 00001, ….

    Raises:
        DatasetError: no positives, or a gap among the distractor files.
    """
    root = Path(folder)
    positives = root / f"{name}_positives.hdf5"
    if not positives.is_file():
        near = near_matches(positives.name, (path.name for path in root.glob("*.hdf5")))
        raise DatasetError(f"{positives}: no such file{near}")
    distractors = sorted(root.glob(f"{name}_distractors_[0-9][0-9][0-9][0-9][0-9].hdf5"))
    for number, path in enumerate(distractors):
        if path.stem != f"{name}_distractors_{number:05d}":
            raise DatasetError(
                f"{root}: {name}_distractors_{number:05d}.hdf5 is missing before {path.name}; "
                "row numbers count through all files"
            )
    return [positives, *distractors]


def read_database(
    folder: PathLike, name: str = "features", selected: Collection[str] | None = None
) -> IliasFeatures:
    """Read positives and distractors, one behind the other, into memory.

    Args:
        folder: holds ``<name>_positives.hdf5`` and ``<name>_distractors_00000.hdf5``, ….
        name: the files' prefix.
        selected: keep all positives, but only distractors whose part behind ``/`` is in here.

    Raises:
        DatasetError: see :func:`read_features`; or files of different dimensions.
    """
    first, *others = database_files(folder, name)
    parts = [read_features(first)]
    wanted = None if selected is None else frozenset(selected)
    for path in others:
        part = read_features(path)
        if part.vectors.shape[1] != parts[0].vectors.shape[1]:
            raise DatasetError(
                f"{path}: {FEATURES!r} has {part.vectors.shape[1]} dimensions, the positives "
                f"have {parts[0].vectors.shape[1]}"
            )
        parts.append(part if wanted is None else _selected(part, wanted))
    ids = tuple(name for part in parts for name in part.ids)
    return IliasFeatures(ids, np.concatenate([part.vectors for part in parts]))


def escape_id(name: str) -> str:
    """Return ``name`` in ASCII: ``é`` becomes ``#U00e9``, as in ILIAS' files."""
    return "".join(_escaped(character) for character in name)


def unescape_id(name: str) -> str:
    """Return the characters that :func:`escape_id` replaced."""

    def character(match: re.Match[str]) -> str:
        code = int(match[1] or match[2], 16)
        known = code < 0xD800 or 0xDFFF < code <= 0x10FFFF
        return chr(code) if known else match[0]

    return ESCAPE.sub(character, name)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0x20 <= code < 0x7F:
        return character
    return f"#U{code:04x}" if code <= BASIC_PLANE else f"\\\\U{code:08x}"


def _selected(part: IliasFeatures, wanted: frozenset[str]) -> IliasFeatures:
    rows = [row for row, name in enumerate(part.ids) if name.split("/", 1)[-1] in wanted]
    return IliasFeatures(tuple(part.ids[row] for row in rows), part.vectors[rows])


@contextmanager
def _opened(path: PathLike) -> Iterator[Any]:
    import h5py

    if not Path(path).is_file():
        raise DatasetError(f"{os.fspath(path)}: no such file")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, ValueError, KeyError, MemoryError) as error:
        raise DatasetError(
            f"{os.fspath(path)}: not an HDF5 file that can be read ({error}); is it complete?"
        ) from error


def _dataset(file: Any, key: str, path: PathLike) -> Any:
    import h5py

    if key not in file:
        raise DatasetError(
            f"{os.fspath(path)}: the key {key!r} is missing; it holds "
            f"{', '.join(file) or 'nothing'}{near_matches(key, file)}"
        )
    if not isinstance(file[key], h5py.Dataset):
        raise DatasetError(f"{os.fspath(path)}: {key!r} is a group, not an array")
    return file[key]


def _decoded(values: npt.NDArray[Any], path: PathLike) -> tuple[str, ...]:
    try:
        return tuple(v.decode("utf-8") if isinstance(v, bytes) else _text(v) for v in values)
    except (TypeError, UnicodeDecodeError) as error:
        raise DatasetError(f"{os.fspath(path)}: {INDEX!r} must hold text ids ({error})") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"found {type(value).__name__}")
    return value
