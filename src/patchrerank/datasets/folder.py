"""The library's own data set format: a folder with ``index.json`` and the pictures it names.

``index.json`` holds one object; unknown keys are ignored at every level::

    {"args": {...},
     "queries": [
       {"id": "q0", "file": "queries/q0.png", "instance": 0, "box": [0.1, 0.2, 0.9, 0.8]}],
     "db": [
       {"id": "p0", "file": "db/p0.jpg", "instance": 0, "box": [0.3, 0.3, 0.5, 0.6],
        "area": 0.06, "visible": 1.0},
       {"id": "d0", "file": "db/d0.jpg", "instance": null, "box": null}]}

``file`` is relative to the folder and must lie inside it. ``instance`` (a string or a whole
number) says which object a picture shows, ``null`` that it shows none of them. ``box`` is
``x0, y0, x1, y1`` in [0, 1] of the image after EXIF rotation; a picture with several boxes has a
list of boxes under ``boxes`` (or under ``box``).

What other people's benchmarks need besides, all optional: a query's ``positives`` and ``junk``,
lists of ids of ``db`` (without ``positives`` the pictures of the same instance are relevant); a
picture's ``clutter`` and ``box_instances``, the object that each of its boxes shows; and at the top
``name``, ``convention`` (of average precision) and ``query_crop`` (``none`` or ``box``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from patchrerank.datasets import _entries
from patchrerank.datasets._sources import check_pictures
from patchrerank.datasets.dataset import Dataset, DatasetImage, DatasetQuery, Instance
from patchrerank.errors import DatasetError


def load_folder(root: Path) -> Dataset:
    """Read and check ``root/index.json``; the pictures are only checked to exist.

    Raises:
        DatasetError: the folder or its index is missing, is no JSON, lacks a key, repeats an
            id, holds an impossible box or value, or names pictures that do not exist.
    """
    content = _entries.read_index(root)
    path = root / _entries.INDEX
    index = _entries.parse_json(content, path)
    queries = tuple(_query(root, *item) for item in _entries.listed(index, "queries", path))
    images = tuple(_image(root, *item) for item in _entries.listed(index, "db", path))
    _check_instances(path, queries, images)
    check_pictures(path, [*(query.file for query in queries), *(image.file for image in images)])
    args = index.get("args") or {}
    if not isinstance(args, dict):
        raise DatasetError(f"{path}: args must be an object, got {type(args).__name__}")
    dataset = Dataset(
        root,
        queries,
        images,
        _entries.convention(index, path),
        args,
        hashlib.sha256(content).hexdigest(),
        _entries.query_crop(index, path),
        _entries.optional_text(index, "name", str(path)) or root.name,
    )
    _check_lists(dataset)
    return dataset


def _query(root: Path, entry: dict[str, Any], where: str) -> DatasetQuery:
    boxes = _entries.boxes(entry, where)
    if len(boxes) > 1:
        raise DatasetError(
            f"{where}: a query has one box, got {len(boxes)}; keep the one asked for"
        )
    instance = _entries.instance(entry, where)
    if instance is None:
        raise DatasetError(f"{where}: instance is null; a query needs the object it asks for")
    source = entry.get("source")
    return DatasetQuery(
        id=entry["id"],
        file=_entries.picture(root, entry, where),
        instance=instance,
        box=boxes[0] if len(boxes) else None,
        source=source if isinstance(source, str) else None,
        positives=_entries.ids(entry, "positives", where),
        junk=_entries.ids(entry, "junk", where) or (),
    )


def _image(root: Path, entry: dict[str, Any], where: str) -> DatasetImage:
    boxes = _entries.boxes(entry, where)
    area = _entries.share(entry, "area", where)
    if area is None and len(boxes):
        area = float(np.max((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])))
    return DatasetImage(
        id=entry["id"],
        file=_entries.picture(root, entry, where),
        instance=_entries.instance(entry, where),
        boxes=boxes,
        area=area,
        visible=_entries.share(entry, "visible", where),
        clutter=_entries.count(entry, "clutter", where),
        box_instances=_entries.box_instances(entry, len(boxes), where),
    )


def _check_instances(
    path: Path, queries: Sequence[DatasetQuery], images: Sequence[DatasetImage]
) -> None:
    """Refuse 7 beside "7": they would never match, and nobody means two objects by that."""
    seen: dict[str, Instance] = {}
    entries: Sequence[DatasetQuery | DatasetImage] = (*queries, *images)
    for entry in entries:
        if entry.instance is None:
            continue
        first = seen.setdefault(str(entry.instance), entry.instance)
        if type(first) is not type(entry.instance):
            raise DatasetError(
                f'{path}: entry "{entry.id}": instance is {entry.instance!r}, but another entry '
                f"has {first!r}; write one object's instance always as a number or always as text"
            )


def _check_lists(dataset: Dataset) -> None:
    """Raise now, not at the first evaluation, where a query lists ids that do not exist."""
    if any(query.positives is not None or query.junk for query in dataset.queries):
        _ = dataset.junk
