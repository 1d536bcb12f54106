"""Reading INSTRE's ``gnd_instre.mat``: two lists of names and a list of structures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.errors import DatasetError, near_matches

HOLDS = "qimlist, imlist (cells of names) and gnd (a structure a query: positives and box)"
FIELDS = (("ok", 0), ("bbx", 1))


@dataclass(frozen=True, eq=False)
class MatlabTruth:
    """What the file holds.

    Attributes:
        queries: Q names.
        images: N names.
        positives: for each query int64 rows of ``images``, 0-based.
        boxes: float64 ``(Q, 4)``, in pixels, in a format that the file does not tell.
    """

    queries: list[str]
    images: list[str]
    positives: list[npt.NDArray[np.int64]]
    boxes: npt.NDArray[np.float64]


def read_matlab_truth(path: Path) -> MatlabTruth:
    """Read ``gnd_instre.mat``; nothing in it is run.

    Raises:
        DatasetError: the file is missing or damaged, or holds something else.
    """
    content = _load(path)
    for key in ("qimlist", "imlist", "gnd"):
        if key not in content:
            held = ", ".join(name for name in content if not name.startswith("__")) or "nothing"
            near = near_matches(key, content)
            raise DatasetError(f"{path}: no {key!r}, only {held}{near}; it should hold {HOLDS}")
    queries, images = (_names(content[key], key, path) for key in ("qimlist", "imlist"))
    entries = np.ravel(content["gnd"])
    if entries.dtype.names is None or len(entries.dtype.names) < len(FIELDS):
        raise DatasetError(f"{path}: gnd is no structure of positives and box")
    if len(entries) != len(queries):
        raise DatasetError(f"{path}: {len(queries)} names in qimlist, but gnd has {len(entries)}")
    positives = [_positives(entry, len(images), f"{path}: gnd[{i}]") for i, entry in _each(entries)]
    boxes = [_box(entry, f"{path}: gnd[{i}]") for i, entry in _each(entries)]
    return MatlabTruth(queries, images, positives, np.array(boxes).reshape(-1, 4))


def _load(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat

    if not path.is_file():
        raise DatasetError(f"{path}: no such file; it should hold {HOLDS}")
    try:
        return dict(loadmat(path, appendmat=False))
    except Exception as error:  # a damaged file raises whatever its parser does
        raise DatasetError(
            f"{path}: not a MATLAB file up to version 7 that can be read ({error}); it should "
            f"hold {HOLDS}"
        ) from error


def _each(entries: npt.NDArray[Any]) -> enumerate[Any]:
    return enumerate(entries, start=1)  # as MATLAB counts


def _names(cells: Any, key: str, path: Path) -> list[str]:
    names = []
    for number, cell in _each(np.ravel(cells)):
        values = np.ravel(cell)
        if len(values) != 1 or not isinstance(values[0], str) or not values[0].strip():
            raise DatasetError(f"{path}: {key}{{{number}}} is no name of a picture")
        names.append(values[0].strip())
    return names


def _field(entry: Any, name: str, position: int) -> Any:
    """Return a field by its name, or by its place where it is called something else."""
    return entry[name if name in entry.dtype.names else position]


def _positives(entry: Any, images: int, where: str) -> npt.NDArray[np.int64]:
    values = _numbers(_field(entry, *FIELDS[0]), f"{where}: the positives")
    rows = values.astype(np.int64)
    if (rows != values).any() or (len(rows) and (rows.min() < 1 or rows.max() > images)):
        raise DatasetError(
            f"{where}: positives must be whole numbers from 1 to {images}, counted as in MATLAB; "
            f"found {values.min():g} to {values.max():g}"
        )
    return rows - 1


def _box(entry: Any, where: str) -> npt.NDArray[np.float64]:
    values = _numbers(_field(entry, *FIELDS[1]), f"{where}: the box")
    if len(values) != 4:
        raise DatasetError(f"{where}: the box is {values.tolist()}; expected four numbers")
    return values


def _numbers(value: Any, where: str) -> npt.NDArray[np.float64]:
    array = np.ravel(value)
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise DatasetError(f"{where} must be finite numbers")
    return array.astype(np.float64)
