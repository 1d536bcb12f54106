"""Writing a data set as ILIAS' folders; the layout is told in :mod:`patchrerank.datasets.ilias`."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchrerank.boxes import area
from patchrerank.datasets._placing import Pictures, new_folder, place
from patchrerank.datasets.dataset import Dataset, DatasetImage, DatasetQuery, Instance
from patchrerank.datasets.ilias import CORE, SHARDS
from patchrerank.datasets.ilias_ids import IMAGE_IDS, POSITIVES, QUERIES, TAXONOMY, TEXT_QUERIES
from patchrerank.datasets.writing import write_atomically
from patchrerank.errors import DatasetError
from patchrerank.images import upright_size
from patchrerank.types import Floats

CONVERTED = "misc/converted.json"
DISTRACTORS = f"{IMAGE_IDS}/distractor_ids.txt.gz"
SHARD_SIZE = 100_000


@dataclass(frozen=True)
class _Names:
    """New ids: of queries and images by their old ones, and of one text query an instance."""

    queries: dict[str, str]
    images: dict[str, str]
    texts: dict[str, str | None]


def write_ilias(
    dataset: Dataset, target: Path, pictures: Pictures = "symlink", clutter: int | None = None
) -> None:
    """Write ``dataset`` to ``target``; ids that have ILIAS' form are kept, else all are made.

    ILIAS' evaluator knows an instance by its text query alone: one with the instance's name is
    written where the data set has none.

    Args:
        dataset: its boxes are rounded to whole pixels.
        target: an empty or new folder.
        pictures: how pictures get there.
        clutter: of positives whose clutter is unknown; None: an error.

    Raises:
        DatasetError: ILIAS has no place for something, or a picture cannot be placed.
    """
    _check(dataset, clutter)
    new_folder(target)
    names = _kept_names(dataset) or _made_names(dataset)
    lines = []
    for query in dataset.queries:
        _write_core(query, names.queries[query.id], target, pictures)
    for image in dataset.images:
        name = names.images[image.id]
        if image.instance is None:
            place(image.file, target / SHARDS / f"{name}{image.file.suffix}", pictures)
        else:
            _write_core(image, name, target, pictures)
            lines.append(f"{name},{_scale(image)!r},{_known(image.clutter, clutter)}")
    for name, text in names.texts.items():
        if text is not None:
            _write(target / CORE / name, f"{text}\n")
    _write_lists(dataset, target, names)
    _write(target / POSITIVES, _joined(sorted(lines)))  # last: without it the folder is unfinished


def _check(dataset: Dataset, clutter: int | None) -> None:
    """Raise unless ILIAS' files can say everything that results depend on."""
    by_instance: dict[Instance, set[str]] = {}
    for image in dataset.images:
        if image.instance is None:
            continue
        by_instance.setdefault(image.instance, set()).add(image.id)
        if not len(image.boxes):
            raise _no_place(dataset, f"image {image.id!r}: a positive without a box")
        if image.box_instances is not None:
            raise _no_place(dataset, f"image {image.id!r}: boxes of different objects")
        if image.clutter is None and clutter is None:
            raise DatasetError(
                f"{dataset.root}: image {image.id!r} has no clutter, which ILIAS writes for each "
                "positive; pass clutter=0 (--clutter 0) to have that written"
            )
    for query in dataset.queries:
        listed = None if query.positives is None else set(query.positives)
        if listed is not None and listed != by_instance.get(query.instance, set()):
            raise _no_place(dataset, f"query {query.id!r}: positives that are not its instance's")
        if query.junk:
            raise _no_place(dataset, f"query {query.id!r}: junk")
        if query.box is None:
            raise _no_place(dataset, f"query {query.id!r}: a query without a box")


def _no_place(dataset: Dataset, what: str) -> DatasetError:
    return DatasetError(f"{dataset.root}: {what}; ILIAS' layout has no place for that")


def _kept_names(dataset: Dataset) -> _Names | None:
    """Return the ids as they are, if all of them have ILIAS' form."""
    core = [(q.id, q.instance, "query", q.file.suffix) for q in dataset.queries]
    core += [
        (i.id, i.instance, "pos", i.file.suffix) for i in dataset.images if i.instance is not None
    ]
    for name, instance, role, suffix in core:
        parts = name.split("/")
        fits = parts[:-1] == [str(instance), role] and parts[-1].endswith(suffix)
        if not fits or ".." in parts:
            return None
    others = [image.id for image in dataset.images if image.instance is None]
    if not all(re.fullmatch(r"[^/]+/[^/]+", name) and name[:3] != "../" for name in others):
        return None
    texts = _told_texts(dataset) or {f"{i}/query/T000.txt": str(i) for i in dataset.objects}
    queries = {query.id: query.id for query in dataset.queries}
    return _Names(queries, {image.id: image.id for image in dataset.images}, texts)


def _told_texts(dataset: Dataset) -> dict[str, str | None]:
    """Return the text queries that ``args`` keeps, if they are what the reader put there."""
    told = dataset.args.get("text_queries")
    held = told.items() if isinstance(told, dict) else ()
    texts = {name: text for name, text in held if text is None or isinstance(text, str)}
    instances = {str(instance) for instance in dataset.objects}
    plain = all(
        name.partition("/")[0] in instances and ".." not in name.split("/") and name[-4:] == ".txt"
        for name in texts
    )
    return texts if plain else {}


def _made_names(dataset: Dataset) -> _Names:
    shown = (image.instance for image in dataset.images if image.instance is not None)
    objects = dict.fromkeys((*dataset.objects, *shown))
    number = {instance: f"{n:03d}" for n, instance in enumerate(objects)}
    folder = {instance: f"{_plain(instance)}_{number[instance]}" for instance in objects}
    texts: dict[str, str | None] = {f"{folder[i]}/query/T{number[i]}.txt": str(i) for i in objects}
    counts: dict[tuple[Instance, str], int] = {}

    def core(instance: Instance, role: str, letter: str, suffix: str) -> str:
        place = counts[instance, role] = counts.get((instance, role), -1) + 1
        return f"{folder[instance]}/{role}/{letter}{number[instance]}_{place:02d}{suffix}"

    queries = {q.id: core(q.instance, "query", "Q", q.file.suffix) for q in dataset.queries}
    images = {
        image.id: f"{row // SHARD_SIZE:06d}/{row:08d}"
        if image.instance is None
        else core(image.instance, "pos", "P", image.file.suffix)
        for row, image in enumerate(dataset.images)
    }
    return _Names(queries, images, texts)


def _plain(instance: Instance) -> str:
    return re.sub(r"[^A-Za-z0-9-]+", "_", str(instance)).strip("_") or "object"


def _write_core(
    entry: DatasetQuery | DatasetImage, name: str, target: Path, pictures: Pictures
) -> None:
    """Place a picture of a query or positive, and its boxes beside it."""
    path = target / CORE / name
    place(entry.file, path, pictures)
    boxes = entry.boxes if isinstance(entry, DatasetImage) else [entry.box]
    size = upright_size(entry.file)
    lines = [_pixels(box, size) for box in boxes if box is not None]
    _write(path.with_name(f"{path.stem}_bbox.txt"), _joined(lines))


def _pixels(box: Floats, size: tuple[int, int]) -> str:
    corners = [round(float(side) * size[axis % 2]) for axis, side in enumerate(box)]
    x, y = (min(corners[axis], size[axis] - 1) for axis in (0, 1))
    return f"{x} {y} {max(corners[2] - x, 1)} {max(corners[3] - y, 1)}"


def _scale(image: DatasetImage) -> float:
    return float(area(image.boxes).max()) if image.area is None else image.area


def _known(value: int | None, otherwise: int | None) -> int | None:
    return otherwise if value is None else value


def _write_lists(dataset: Dataset, target: Path, names: _Names) -> None:
    _write(target / QUERIES, _joined(f"{name},0" for name in sorted(names.queries.values())))
    _write(target / TEXT_QUERIES, _joined(sorted(names.texts)))
    others = [names.images[image.id] for image in dataset.images if image.instance is None]
    packed = gzip.compress(_joined(sorted(others)).encode(), mtime=0)
    write_atomically(target / DISTRACTORS, packed, sync=False)
    if dataset.args.get("taxonomy") and all(new == old for old, new in names.queries.items()):
        _write(target / TAXONOMY, json.dumps(dataset.args["taxonomy"], indent=1))
    _write(target / CONVERTED, json.dumps(_record(dataset, names), indent=1))


def _record(dataset: Dataset, names: _Names) -> Mapping[str, Any]:
    """Return what ILIAS' files have no field for."""
    return {
        "name": dataset.name,
        "convention": dataset.convention,
        "query_crop": dataset.query_crop,
        "args": dict(dataset.args),
        "queries": {names.queries[q.id]: {"id": q.id, "source": q.source} for q in dataset.queries},
        "images": {names.images[i.id]: {"id": i.id, "visible": i.visible} for i in dataset.images},
    }


def _joined(lines: Any) -> str:
    return "".join(f"{line}\n" for line in lines)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode(), sync=False)
