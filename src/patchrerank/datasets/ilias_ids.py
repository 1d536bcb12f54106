"""ILIAS' lists of ids: which pictures are queries, positives and distractors.

Layout: Kordopatis-Zilos et al., "ILIAS: Instance-Level Image retrieval At Scale", CVPR 2025.
Below the data set's folder::

    image_ids/image_query_ids.txt    id,…            the first field counts
    image_ids/positive_ids.txt       id,scale,clutter
    image_ids/text_query_ids.txt     id              optional
    misc/taxonomy.json               category → subcategory → sub-subcategory → instances, optional

An id of a query or positive begins with its instance's name and ``/``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from patchrerank.datasets._sources import check_unique, read_lines
from patchrerank.errors import DatasetError
from patchrerank.json_files import read_json
from patchrerank.metrics.submissions import positives_by_instance

IMAGE_IDS = "image_ids"
QUERIES = f"{IMAGE_IDS}/image_query_ids.txt"
POSITIVES = f"{IMAGE_IDS}/positive_ids.txt"
TEXT_QUERIES = f"{IMAGE_IDS}/text_query_ids.txt"
TAXONOMY = "misc/taxonomy.json"


@dataclass(frozen=True)
class IliasIds:
    """The ids of an ILIAS folder, in ILIAS' own order: sorted.

    Attributes:
        queries: of the image queries.
        positives: of the positives.
        scale: positive → share of the picture that the object fills.
        clutter: positive → what else is in the picture, from 0.
        text_queries: of the text queries; empty if there is no list.
        taxonomy: empty if there is none.
    """

    queries: tuple[str, ...]
    positives: tuple[str, ...]
    scale: dict[str, float]
    clutter: dict[str, int]
    text_queries: tuple[str, ...] = ()
    taxonomy: dict[str, Any] = field(default_factory=dict)

    @property
    def by_instance(self) -> dict[str, list[str]]:
        """The positives of each instance, as :func:`patchrerank.metrics.evaluate_ilias` asks."""
        return positives_by_instance(self.positives)


def read_ilias_ids(root: str | Path) -> IliasIds:
    """Read the lists of ids below ``root``; no picture is needed.

    Raises:
        DatasetError: a file is missing or damaged; the message names file and line.
    """
    folder = Path(root)
    queries = [line.split(",")[0].strip() for line in _lines(folder / QUERIES, "a query's id")]
    texts = _lines(folder / TEXT_QUERIES, "an id") if (folder / TEXT_QUERIES).is_file() else []
    known: dict[str, tuple[float, int]] = {}
    names = []
    path = folder / POSITIVES
    for number, line in enumerate(_lines(path, "id,scale,clutter of a positive")):
        name, scale, clutter = _positive(line, f"{path}: entry {number}")
        names.append(name)
        known[name] = scale, clutter
    for file, found in ((QUERIES, queries), (POSITIVES, names), (TEXT_QUERIES, texts)):
        check_unique(found, str(folder / file))
        _check_instances(found, folder / file)
    return IliasIds(
        tuple(sorted(queries)),
        tuple(sorted(names)),
        {name: scale for name, (scale, _) in known.items()},
        {name: clutter for name, (_, clutter) in known.items()},
        tuple(sorted(texts)),
        _taxonomy(folder / TAXONOMY),
    )


def _lines(path: Path, entry: str) -> list[str]:
    return read_lines(path, f"{entry} on each line")


def _positive(line: str, where: str) -> tuple[str, float, int]:
    fields = [part.strip() for part in line.rsplit(",", 2)]
    try:
        name, scale, clutter = fields[0], float(fields[1]), int(fields[2])
    except (IndexError, ValueError):
        name, scale, clutter = "", math.nan, 0
    if not name or not math.isfinite(scale) or scale < 0 or clutter < 0:
        raise DatasetError(
            f"{where} is {line!r}; expected id,scale,clutter with a scale and a whole number "
            "from 0, such as name_000/pos/P000_00.jpg,0.07,18"
        )
    return name, scale, clutter


def _check_instances(names: list[str], path: Path) -> None:
    for name in names:
        instance, slash, rest = name.partition("/")
        if not (instance and slash and rest) or ".." in name.split("/"):
            raise DatasetError(
                f"{path}: {name!r} is no id; the part before '/' names the instance, as in "
                "name_000/pos/P000_00.jpg"
            )


def _taxonomy(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content = read_json(path, DatasetError)
    parts = content.values() if isinstance(content, dict) else [None]
    leaves = [leaf for part in parts for leaf in (part.values() if isinstance(part, dict) else "x")]
    if not all(isinstance(leaf, dict) for leaf in leaves):
        raise DatasetError(
            f"{path}: expected category → subcategory → sub-subcategory → list of instances"
        )
    return dict(content)
