"""Reading INSTRE from its folder.

Source: Wang, Jiang, "INSTRE: a new benchmark for instance-level object retrieval and recognition",
TOMM 2015, with the queries of Iscen et al., CVPR 2017::

    gnd_instre.mat                          qimlist, imlist, gnd: positives (1-based) and query box
    INSTRE-S1/01a_name/001.jpg              beside each picture its boxes, 001.txt; subsets
    INSTRE-S2/…, INSTRE-M/01/001.jpg        INSTRE-S1, INSTRE-S2 and INSTRE-M

A picture of INSTRE-M shows two objects; the first box is that of object ``a`` of the same number in
INSTRE-S1, the second that of ``b``, and a query for one of them is judged by its box alone.

Whether a box is ``x y w h`` or ``x0 y0 x1 y1`` is not written anywhere, and public readers of the
query boxes disagree. It is seen in the boxes themselves, for the ``.mat`` and the ``.txt`` files
apart: in the wrong format many would leave their pictures or end before they begin. ``args`` of
the data set tells what was found; boxes that settle nothing are an error, and an option says it.
Queries are cropped to their box; mAP is over the full list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from patchrerank.boxes import area
from patchrerank.datasets._matlab import MatlabTruth, read_matlab_truth
from patchrerank.datasets._pixel_boxes import (
    PixelBox,
    read_box_file,
    relative_boxes,
    settle_format,
)
from patchrerank.datasets._sources import check_pictures, check_unique, contents_fingerprint
from patchrerank.datasets.dataset import Dataset, DatasetImage, DatasetQuery
from patchrerank.errors import DatasetError
from patchrerank.types import Floats

TRUTH = "gnd_instre.mat"
PICTURE_FOLDERS = (".", "images", "INSTRE_release", "INSTRE")
PAIRS, SINGLES = "INSTRE-M", "INSTRE-S1"


def load_instre(root: Path, query_boxes: str = "auto", image_boxes: str = "auto") -> Dataset:
    """Read INSTRE.

    Args:
        root: holds ``gnd_instre.mat``, and the subsets' folders there or below ``images``,
            ``INSTRE_release`` or ``INSTRE``.
        query_boxes: format of the boxes in the ``.mat`` file: ``auto``, ``xyxy`` or ``xywh``.
        image_boxes: the same of the ``.txt`` files.

    Raises:
        DatasetError: a file is missing or damaged; the message says which and what it should hold.
            Or the boxes do not settle their format.
        ImageError: a picture of a query or positive cannot be opened.
    """
    path = root / TRUTH
    truth = read_matlab_truth(path)
    folder = _picture_folder(root, truth.images)
    check_unique(truth.queries, f"{path}: qimlist")
    check_unique(truth.images, f"{path}: imlist")
    asked = [_inside(folder, name, path) for name in truth.queries]
    shown = [_inside(folder, name, path) for name in truth.images]
    check_pictures(path, [*asked, *shown])
    crops, query_format = _query_boxes(truth, asked, path, query_boxes)
    boxes, image_format = _image_boxes(truth, shown, image_boxes)
    queries = tuple(
        DatasetQuery(name, file, _class_of(name), crop[0], positives=_named(truth, number))
        for number, (name, file, crop) in enumerate(zip(truth.queries, asked, crops, strict=True))
    )
    images = tuple(_images(truth.images, shown, boxes))
    args = {"layout": "instre", "query_boxes": query_format, "image_boxes": image_format}
    fingerprint = contents_fingerprint(queries, images)
    return Dataset(root, queries, images, "full", args, fingerprint, "box")


def _picture_folder(root: Path, names: Sequence[str]) -> Path:
    folders = [root / name for name in PICTURE_FOLDERS]
    return next((f for f in folders if names and (f / names[0]).is_file()), root)


def _inside(folder: Path, name: str, path: Path) -> Path:
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts:
        raise DatasetError(f"{path}: {name!r} points outside the data set's folder")
    return folder / parts


def _query_boxes(
    truth: MatlabTruth, files: Sequence[Path], path: Path, asked: str
) -> tuple[list[Floats], str]:
    found = [
        PixelBox.of(truth.boxes[i : i + 1], file, f"{path}: gnd[{i + 1}]")
        for i, file in enumerate(files)
    ]
    format_, why = settle_format(found, asked, "query_boxes", "query boxes")
    return relative_boxes(found, format_), f"{format_}: {why}"


def _image_boxes(
    truth: MatlabTruth, files: Sequence[Path], asked: str
) -> tuple[dict[int, Floats], str]:
    """Return the boxes of each image that is a positive of a query."""
    rows = np.unique(np.concatenate([np.zeros(0, np.int64), *truth.positives])).tolist()
    found = []
    for row in rows:
        file = files[row].with_suffix(".txt")
        values = read_box_file(file, files[row].name)
        found.append(PixelBox.of(values, files[row], str(file)))
    format_, why = settle_format(found, asked, "image_boxes", "image boxes")
    boxes = relative_boxes(found, format_)
    return dict(zip(rows, boxes, strict=True)), f"{format_}: {why}"


def _images(
    names: Sequence[str], files: Sequence[Path], boxes: Mapping[int, Floats]
) -> Iterator[DatasetImage]:
    members = _pair_members(names)
    for row, (name, file) in enumerate(zip(names, files, strict=True)):
        known = boxes.get(row, np.zeros((0, 4), dtype=np.float32))
        pair = members.get(_class_of(name))
        yield DatasetImage(
            name,
            file,
            _class_of(name),
            known,
            area=float(area(known).max()) if len(known) else None,
            box_instances=pair if pair is not None and len(known) == len(pair) else None,
        )


def _pair_members(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return the classes of INSTRE-S1 that each class of INSTRE-M shows together, in box order."""
    classes = sorted({_class_of(name) for name in names})
    by_prefix = {c.rpartition("/")[2][:3]: c for c in classes if c.startswith(f"{SINGLES}/")}
    pairs = {}
    for name in classes:
        subset, _, number = name.rpartition("/")
        if subset == PAIRS and f"{number}a" in by_prefix and f"{number}b" in by_prefix:
            pairs[name] = by_prefix[f"{number}a"], by_prefix[f"{number}b"]
    return pairs


def _class_of(name: str) -> str:
    return name.rpartition("/")[0] or name


def _named(truth: MatlabTruth, query: int) -> tuple[str, ...]:
    return tuple(truth.images[row] for row in truth.positives[query].tolist())
