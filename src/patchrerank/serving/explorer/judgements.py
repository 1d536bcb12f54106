"""Hits that somebody judged, as a data set of ours: what ``patchrerank tune`` starts from."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np

from patchrerank.boxes import check_boxes
from patchrerank.datasets import DatasetImage, DatasetQuery, write_index
from patchrerank.errors import DatasetError, shown
from patchrerank.images.reading import opened_picture
from patchrerank.serving.explorer.asked import Asked
from patchrerank.types import Floats

MOST_PICTURES = 20_000
ENDINGS = {"JPEG": ".jpg", "MPO": ".jpg", "TIFF": ".tif"}
"""Of files by Pillow's formats; others end in their format's name."""

PictureOf: TypeAlias = Callable[[Asked], Path | bytes]

NO_BOXES: Floats = np.empty((0, 4), dtype=np.float32)


@dataclass(frozen=True)
class Judged:
    """The judgements of one query; ids are those of the gallery, as text.

    Attributes:
        query: with a picture: of the gallery, or sent.
        right: images that show its object.
        wrong: images that do not.
        seen: images that were shown and not judged.
    """

    query: Asked
    right: tuple[str, ...]
    wrong: tuple[str, ...]
    seen: tuple[str, ...] = ()

    @classmethod
    def read(cls, body: object) -> Judged:
        """Make one of JSON; a query's own picture among its hits counts for nothing.

        Raises:
            DatasetError: says what is wrong.
        """
        if not isinstance(body, Mapping):
            raise DatasetError(f"a judgement is {shown(body)}; expected an object")
        query = Asked.read(body.get("query"))
        right, wrong, seen = (_ids(body, key) for key in ("right", "wrong", "seen"))
        if both := set(right) & set(wrong):
            raise DatasetError(f"{shown(min(both))} was judged both right and wrong; decide")
        lists = (tuple(name for name in ids if name != query.id) for ids in (right, wrong, seen))
        return cls(query, *lists)


def write_judgements(
    path: Path,
    judged: Sequence[Judged],
    picture: PictureOf,
    *,
    seen_are_wrong: bool,
    args: Mapping[str, Any],
) -> None:
    """Write judgements and their pictures as a zip file with one folder, a data set.

    Its database are the images that were judged or shown; of each query's ranking the images
    that were not judged for it are left out (they are its junk). Queries in words, and those
    without a right hit, are left out.

    Args:
        path: of the zip file.
        judged: one a query.
        picture: gives the picture of a query, or of an image of the gallery (``Asked(id=…)``).
        seen_are_wrong: images that were shown for a query and not judged count as wrong for it.
        args: how it was made, for the record.

    Raises:
        DatasetError: no right hit, or too many pictures.
        PatchRerankError: a picture is not there.
    """
    useful = [each for each in judged if each.right and each.query.text is None]
    if not useful:
        raise DatasetError("mark at least one hit of a query picture as right, then there is a set")
    names = dict.fromkeys(name for each in useful for name in _listed(each, seen_are_wrong))
    if len(names) + len(useful) > MOST_PICTURES:
        raise DatasetError(f"{len(names)} pictures; a data set of judgements has {MOST_PICTURES}")
    with TemporaryDirectory(prefix="patchrerank-") as scratch:
        root = Path(scratch)
        images = [
            DatasetImage(name, _copied(picture(Asked(id=name)), root / "db" / f"{n:05}"), None,
                         NO_BOXES)
            for n, name in enumerate(names)
        ]  # fmt: skip
        queries = [
            _query(n, each, root, picture, names, seen_are_wrong) for n, each in enumerate(useful)
        ]
        write_index(root, queries, images, args, name="judgements")
        _zipped(root, path)


def _query(
    number: int,
    judged: Judged,
    root: Path,
    picture: PictureOf,
    names: Mapping[str, None],
    seen_are_wrong: bool,
) -> DatasetQuery:
    asked, name = judged.query, f"q{number:04}"
    own = set(_listed(judged, seen_are_wrong))
    return DatasetQuery(
        name,
        _copied(picture(asked), root / "queries" / name),
        name,
        None if asked.box is None else check_boxes([asked.box], f"query {name}")[0],
        source=asked.id,
        positives=judged.right,
        junk=tuple(each for each in names if each not in own),
    )


def _listed(judged: Judged, seen_are_wrong: bool) -> tuple[str, ...]:
    """Return what a query's ranking holds."""
    return (*judged.right, *judged.wrong, *(judged.seen if seen_are_wrong else ()))


def _copied(source: Path | bytes, stem: Path) -> Path:
    """Copy a picture as it is, under an ending that says what it is."""
    with opened_picture(source) as image:
        kind = image.format or "PNG"
    path = stem.with_name(stem.name + ENDINGS.get(kind, f".{kind.lower()}"))
    path.parent.mkdir(exist_ok=True)
    if isinstance(source, bytes):
        path.write_bytes(source)
    else:
        shutil.copyfile(source, path)
    return path


def _zipped(root: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(root.rglob("*")):
            if file.is_file():
                archive.write(file, Path("judgements") / file.relative_to(root))


def _ids(body: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = body.get(key, [])
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise DatasetError(f"{key} is {shown(value)}; expected a list of ids")
    return tuple(dict.fromkeys(value))
