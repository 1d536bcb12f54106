"""Reading revisited Oxford and Paris from their folders.

Source: Radenović, Iscen, Tolias, Avrithis, Chum, "Revisiting Oxford and Paris", CVPR 2018::

    gnd_roxford5k.pkl    imlist and qimlist (names without suffix) and gnd, for each query: bbx
                         [x0, y0, x1, y1] in pixels; easy, hard and junk, 0-based rows of imlist
    jpg/NAME.jpg         the pictures

The pickle is read without running anything from it. Which images are positives and which are junk
is the set-up's choice: see :mod:`patchrerank.metrics.revisited`. Queries are cropped to their box;
mAP is ``revisited``: trapezoids, over the queries that have positives in the set-up. Files with
``ok`` in place of ``easy`` and ``hard`` have the one set-up ``plain``, reported over the full list.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from patchrerank.datasets._pixel_boxes import PixelBox, relative_boxes
from patchrerank.datasets._plain_pickle import read_plain_pickle
from patchrerank.datasets._sources import check_pictures, check_unique, contents_fingerprint
from patchrerank.datasets.dataset import Dataset, DatasetImage, DatasetQuery
from patchrerank.errors import DatasetError, SettingError, near_matches
from patchrerank.metrics.revisited import Truth, positives_and_junk
from patchrerank.types import Floats

PATTERN = "gnd_*.pkl"
PICTURES = "jpg"
LISTS = ("easy", "hard", "junk", "ok")
DEFAULT_SETUP = "medium"


def load_revisited(root: Path, setup: str = "", file: str = "") -> Dataset:
    """Read revisited Oxford or Paris in one set-up.

    Args:
        root: holds ``gnd_*.pkl``, and the pictures there or below ``jpg``.
        setup: ``easy``, ``medium`` (the default), ``hard``, or ``plain``.
        file: which ground truth, where there are several.

    Raises:
        DatasetError: a file is missing or damaged, or asks for code to be run; the message says
            which and what it should hold.
        SettingError: an unknown set-up.
        ImageError: a query picture cannot be opened.
    """
    path = _ground_truth(root, file)
    names, asked, truths, boxes = _read(path)
    chosen = setup or (DEFAULT_SETUP if "easy" in (truths[0] if truths else ("easy",)) else "plain")
    try:
        positives, junk = positives_and_junk(truths, chosen)
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from error
    except SettingError as error:
        raise SettingError(f"{path}: setup: {error}") from error
    queries = tuple(
        DatasetQuery(name, picture, name, box, None, _pick(names, good), _pick(names, bad))
        for name, picture, box, good, bad in zip(
            asked, *_crops(path, asked, boxes), positives, junk, strict=True
        )
    )
    empty = np.zeros((0, 4), dtype=np.float32)
    images = tuple(DatasetImage(name, _picture(path, name), None, empty) for name in names)
    check_pictures(path, [image.file for image in images])
    dataset = Dataset(
        root,
        queries,
        images,
        "full" if chosen == "plain" else "revisited",
        {"layout": "revisited", "file": path.name, "setup": chosen, "query_boxes": "xyxy, pixels"},
        contents_fingerprint(queries, images),
        "box",
        f"{path.stem.removeprefix('gnd_')} ({chosen})",
    )
    _ = dataset.junk  # a row that is both positive and junk is told now
    return dataset


def _ground_truth(root: Path, file: str) -> Path:
    if file:
        return root / file
    found = sorted(root.glob(PATTERN))
    if len(found) == 1:
        return found[0]
    there = ", ".join(path.name for path in found) or "none"
    raise DatasetError(
        f"{root}: expected one ground truth {PATTERN}, found {there}; say which by the option file"
    )


def _read(path: Path) -> tuple[list[str], list[str], list[Truth], list[Any]]:
    """Return names of images, of queries, and each query's rows and box."""
    content = read_plain_pickle(path)
    held = content if isinstance(content, dict) else {}
    for key in ("imlist", "qimlist", "gnd"):
        if not isinstance(held.get(key), list):
            near = near_matches(key, map(str, held))
            raise DatasetError(
                f"{path}: no list {key!r}{near}; the file should hold imlist, qimlist and gnd"
            )
    names, asked = (_names(held[key], f"{path}: {key}") for key in ("imlist", "qimlist"))
    if len(held["gnd"]) != len(asked):
        raise DatasetError(f"{path}: {len(asked)} names in qimlist, {len(held['gnd'])} in gnd")
    where = [f"{path}: gnd[{number}] ({name!r})" for number, name in enumerate(asked)]
    truths = [_truth(e, len(names), w) for e, w in zip(held["gnd"], where, strict=True)]
    return names, asked, truths, [entry.get("bbx") for entry in held["gnd"]]


def _names(values: list[Any], where: str) -> list[str]:
    for number, name in enumerate(values):
        parts = PurePosixPath(name).parts if isinstance(name, str) else ()
        if not parts or ".." in parts or parts[0] == "/":
            raise DatasetError(f"{where}[{number}] is {name!r}, no name of a picture")
    names = [str(name) for name in values]
    check_unique(names, where)
    return names


def _truth(entry: Any, images: int, where: str) -> Truth:
    if not isinstance(entry, dict):
        raise DatasetError(f"{where}: expected bbx and lists of rows, got {type(entry).__name__}")
    return {key: _rows(entry[key], images, f"{where}: {key}") for key in LISTS if key in entry}


def _rows(values: Any, images: int, where: str) -> list[int]:
    rows = np.asarray(values if np.ndim(values) else [None], dtype=object).ravel().tolist()
    for row in rows:
        whole = isinstance(row, int | np.integer) and not isinstance(row, bool)
        if not whole or not 0 <= row < images:
            raise DatasetError(f"{where} holds {row!r}; expected rows of imlist, 0 to {images - 1}")
    return [int(row) for row in rows]


def _crops(
    path: Path, names: Sequence[str], boxes: Sequence[Any]
) -> tuple[list[Path], list[Floats | None]]:
    """Return each query's picture and box."""
    files = [_picture(path, name) for name in names]
    check_pictures(path, files)
    found: list[Floats | None] = [None] * len(files)
    for number, (file, box) in enumerate(zip(files, boxes, strict=True)):
        if box is not None:
            where = f"{path}: gnd[{number}] ({names[number]!r}): bbx"
            pixels = PixelBox.of(_four(box, where), file, where)
            found[number] = relative_boxes([pixels], "xyxy")[0][0]
    return files, found


def _four(box: Any, where: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    try:
        values = np.asarray(box, dtype=np.float64).reshape(1, 4)
    except (TypeError, ValueError):
        values = np.full((1, 4), np.nan)
    if not np.isfinite(values).all():
        raise DatasetError(f"{where} is {box!r}; expected [x0, y0, x1, y1] in pixels")
    return values


def _picture(path: Path, name: str) -> Path:
    folder = path.parent / PICTURES if (path.parent / PICTURES).is_dir() else path.parent
    return folder / f"{name}.jpg"


def _pick(names: Sequence[str], rows: Sequence[int]) -> tuple[str, ...]:
    return tuple(names[row] for row in rows)
