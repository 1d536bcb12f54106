"""The library's own data set format: a folder with ``index.json`` and the pictures it names.

``index.json`` holds one object with three keys; unknown keys are ignored at every level::

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
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from patchrerank.datasets import _entries
from patchrerank.errors import DatasetError
from patchrerank.types import Floats, Rows

Instance = _entries.Instance
"""What an object is called: text or a whole number."""


@dataclass(frozen=True, eq=False)
class DatasetQuery:
    """One query picture.

    Attributes:
        id: unique among the queries.
        file: the picture.
        instance: which object it asks for.
        box: float32 ``(4,)``, where the object is, in [0, 1] of the picture; None if unknown.
        source: what the object was made of, for the record.
    """

    id: str
    file: Path
    instance: Instance
    box: Floats | None = None
    source: str | None = None


@dataclass(frozen=True, eq=False)
class DatasetImage:
    """One picture of the database.

    Attributes:
        id: unique among the pictures.
        file: the picture.
        instance: which object it shows; None for a distractor.
        boxes: float32 ``(B, 4)``, where, in [0, 1] of the picture; B may be 0.
        area: share of the picture that the object's box covers, in (0, 1]; of the largest box
            where the index does not say. None without a box.
        visible: share of the object that nothing hides, in [0, 1]; None if unknown.
    """

    id: str
    file: Path
    instance: Instance | None
    boxes: Floats
    area: float | None = None
    visible: float | None = None


@dataclass(frozen=True, eq=False)
class Dataset:
    """A benchmark: queries, pictures and what is relevant to what.

    A query whose object no picture shows is allowed; how it counts is the metric's convention.

    Attributes:
        root: the folder.
        queries: in the index's order.
        images: in the index's order; a row number of the data set is a position in here.
        convention: name of the average precision convention the data set is reported with.
        args: how the data set was made, as the index tells it.
        fingerprint: SHA-256 of ``index.json``, hexadecimal; empty if it was not read from one.
    """

    root: Path
    queries: tuple[DatasetQuery, ...]
    images: tuple[DatasetImage, ...]
    convention: str = "full"
    args: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str = ""

    @classmethod
    def load(cls, folder: str | Path) -> Dataset:
        """Read and check ``folder/index.json``; the pictures are only checked to exist.

        Raises:
            DatasetError: the folder or its index is missing, is no JSON, lacks a key, repeats an
                id, holds an impossible box or value, or names pictures that do not exist.
        """
        root = Path(folder)
        content = _entries.read_index(root)
        path = root / _entries.INDEX
        index = _entries.parse_json(content, path)
        queries = tuple(_query(root, *item) for item in _entries.listed(index, "queries", path))
        images = tuple(_image(root, *item) for item in _entries.listed(index, "db", path))
        _check_instances(path, queries, images)
        _check_files(path, [*(query.file for query in queries), *(image.file for image in images)])
        args = index.get("args") or {}
        if not isinstance(args, dict):
            raise DatasetError(f"{path}: args must be an object, got {type(args).__name__}")
        digest = hashlib.sha256(content).hexdigest()
        return cls(root, queries, images, args=args, fingerprint=digest)

    @cached_property
    def objects(self) -> tuple[Instance, ...]:
        """The distinct objects that are asked for, in the order of their first query."""
        return tuple(dict.fromkeys(query.instance for query in self.queries))

    @cached_property
    def query_objects(self) -> Rows:
        """int64 ``(Q,)``: the position in ``objects`` of each query's object."""
        number = {instance: position for position, instance in enumerate(self.objects)}
        return np.array([number[query.instance] for query in self.queries], dtype=np.int64)

    @cached_property
    def positives(self) -> tuple[Rows, ...]:
        """For each query the ascending int64 rows of the images that show its object; may be empty.

        Queries for one object share one array.
        """
        rows: dict[Instance, list[int]] = {instance: [] for instance in self.objects}
        for row, image in enumerate(self.images):
            if image.instance is not None and image.instance in rows:
                rows[image.instance].append(row)
        arrays = {instance: np.array(found, dtype=np.int64) for instance, found in rows.items()}
        return tuple(arrays[query.instance] for query in self.queries)


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


def _check_files(path: Path, files: Iterable[Path]) -> None:
    missing = [file for file in files if not file.is_file()]
    if missing:
        first = ", ".join(str(file.relative_to(path.parent)) for file in missing[:3])
        more = ", …" if len(missing) > 3 else ""
        raise DatasetError(
            f"{path}: {len(missing)} of its pictures are missing ({first}{more}); copy them into "
            f"{path.parent} or remove their entries"
        )
