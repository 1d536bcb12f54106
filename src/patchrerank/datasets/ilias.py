"""Reading ILIAS from its folders.

Source: Kordopatis-Zilos et al., "ILIAS: Instance-Level Image retrieval At Scale", CVPR 2025::

    image_ids/                              lists of ids, see patchrerank.datasets.ilias_ids
    ilias_core/NAME/query/Q000_00.jpg       beside each picture its boxes, Q000_00_bbox.txt:
    ilias_core/NAME/pos/P000_00.jpg         a line "x y width height" each, in pixels
    yfcc100m/SHARD/KEY.jpg                  distractors, the tar of a shard unpacked

A query with several boxes gets the smallest box that holds them all, as in ILIAS' own cropping.
Ids are kept as the lists hold them; a picture whose name was not escaped is found as well.
Queries are cropped to their box and positives never are; mAP is ``ilias@1000``. Instances have
descriptions, too (``query/T000.txt``), for text-to-image retrieval.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from patchrerank.datasets._pixel_boxes import PixelBox, read_box_file, relative_boxes
from patchrerank.datasets._sources import (
    check_pictures,
    check_unique,
    contents_fingerprint,
    read_lines,
)
from patchrerank.datasets.dataset import Dataset, DatasetImage, DatasetQuery
from patchrerank.datasets.ilias_features import unescape_id
from patchrerank.datasets.ilias_ids import (
    POSITIVES,
    QUERIES,
    TEXT_QUERIES,
    IliasIds,
    read_ilias_ids,
)
from patchrerank.errors import DatasetError, SettingError, near_matches
from patchrerank.images import IMAGE_SUFFIXES, list_images
from patchrerank.metrics.submissions import instance_of
from patchrerank.types import Floats

CORE = "ilias_core"
SHARDS = "yfcc100m"


def load_ilias(root: Path, distractors: str = "all", queries: str = "image") -> Dataset:
    """Read ILIAS, or as much of its distractors as is there.

    Args:
        root: holds ``image_ids`` and ``ilias_core`` (or the instances' folders themselves).
        distractors: ``all`` takes the pictures below ``yfcc100m``, ``none`` the positives alone;
            or a list of ids, such as mini-ILIAS', that must all be there: a text file (``.gz``
            allowed), relative to ``root`` or to the working folder, with ``SHARD/KEY`` or ``KEY``
            on each line.
        queries: ``image``, or ``text`` for ILIAS' descriptions of the objects, which ask an
            encoder with a text tower.

    Raises:
        SettingError: other queries.
        DatasetError: a file is missing or damaged; the message says which and what it should hold.
        ImageError: a picture of queries or positives cannot be opened.
    """
    if queries not in ("image", "text"):
        raise SettingError(f"queries of ILIAS are {queries!r}; use image or text")
    ids = read_ilias_ids(root)
    core = root / CORE if (root / CORE).is_dir() else root
    pictures = ids.queries if queries == "image" else ()
    files = {name: _core_file(core, name) for name in (*pictures, *ids.positives)}
    check_pictures(root / QUERIES, [files[name] for name in pictures])
    check_pictures(root / POSITIVES, [files[name] for name in ids.positives])
    boxes = dict(zip(files, _boxes(files), strict=True))
    asked = (
        _described(ids, root, core)
        if queries == "text"
        else tuple(
            DatasetQuery(name, files[name], instance_of(name), _hull(boxes[name]))
            for name in ids.queries
        )
    )
    positives = (_positive(name, files[name], boxes[name], ids) for name in ids.positives)
    others = tuple(
        DatasetImage(name, file, None, np.zeros((0, 4), np.float32))
        for name, file in _distractors(root, distractors)
    )
    images = (*positives, *others)
    check_unique([image.id for image in images], f"{root}: positives and distractors")
    return Dataset(
        root,
        asked,
        images,
        "ilias@1000",
        _args(ids, core, distractors, len(others)),
        contents_fingerprint(asked, images),
        "box" if queries == "image" else "none",
    )


def _described(ids: IliasIds, root: Path, core: Path) -> tuple[DatasetQuery, ...]:
    """Return the queries in words.

    Raises:
        DatasetError: there is no list of them, or a file is missing or empty.
    """
    if not ids.text_queries:
        raise DatasetError(f"{root / TEXT_QUERIES}: is missing or empty; it lists queries in words")
    asked = []
    for name in ids.text_queries:
        file = _core_file(core, name)
        words = _text(file)
        if not words:
            raise DatasetError(
                f"{file}: is missing, empty or no UTF-8; the list {root / TEXT_QUERIES} "
                "names it as a query in words"
            )
        asked.append(DatasetQuery(name, file, instance_of(name), text=words))
    return tuple(asked)


def _args(ids: IliasIds, core: Path, distractors: str, count: int) -> dict[str, Any]:
    texts = {name: _text(_core_file(core, name)) for name in ids.text_queries}
    return {
        "layout": "ilias",
        "boxes": "xywh, pixels",
        "distractors": f"{distractors} ({count})",
        **({"text_queries": texts} if texts else {}),
        **({"taxonomy": ids.taxonomy} if ids.taxonomy else {}),
    }


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _core_file(core: Path, name: str) -> Path:
    path = core / name
    return path if path.is_file() else core / unescape_id(name)


def _boxes(files: dict[str, Path]) -> list[Floats]:
    found = [
        PixelBox.of(read_box_file(_box_file(file), file.name), file, str(_box_file(file)))
        for file in files.values()
    ]
    return relative_boxes(found, "xywh")


def _box_file(picture: Path) -> Path:
    return picture.with_name(f"{picture.stem}_bbox.txt")


def _hull(boxes: Floats) -> Floats:
    return np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])


def _positive(name: str, file: Path, boxes: Floats, ids: IliasIds) -> DatasetImage:
    scale = min(ids.scale[name], 1.0)
    return DatasetImage(name, file, instance_of(name), boxes, area=scale, clutter=ids.clutter[name])


def _distractors(root: Path, chosen: str) -> Iterator[tuple[str, Path]]:
    """Yield id and picture of each distractor."""
    if chosen == "none":
        return
    folder = root / SHARDS
    there = list_images(folder) if folder.is_dir() else []
    by_id = _by_id(folder, there)
    if chosen == "all":
        yield from by_id.items()
        return
    path = root / chosen if (root / chosen).is_file() else Path(chosen)
    wanted = read_lines(path, "ids of distractors, SHARD/KEY or KEY on each line")
    by_key = {name.rpartition("/")[2]: name for name in by_id}
    for entry in wanted:
        name = entry if "/" in entry else by_key.get(entry, entry)
        plain = name.replace(".tar/", "/")
        if name not in by_id and plain not in by_id:
            raise DatasetError(_missing(path, entry, folder, list(by_key)))
        yield name, by_id.get(name, by_id.get(plain, folder))


def _by_id(folder: Path, files: Sequence[Path]) -> dict[str, Path]:
    """Return the pictures below a folder by their ids, which have no suffix."""
    by_id: dict[str, Path] = {}
    for file in files:
        name = file.relative_to(folder).with_suffix("").as_posix()
        if name in by_id:
            raise DatasetError(
                f"{folder}: {by_id[name].name} and {file.name} are both the distractor {name!r}; "
                "keep one of them"
            )
        by_id[name] = file
    return by_id


def _missing(path: Path, entry: str, folder: Path, known: Sequence[str]) -> str:
    suffixes = ", ".join(IMAGE_SUFFIXES[:3])
    return (
        f"{path}: the distractor {entry!r} has no picture below {folder}"
        f"{near_matches(entry, known)}; unpack the tar of its shard to SHARD/KEY.jpg ({suffixes}, "
        "… are read), or pass another list as the option distractors"
    )
