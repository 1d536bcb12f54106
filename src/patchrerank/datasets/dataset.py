"""What a benchmark is, whatever layout it was read from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from patchrerank.errors import DatasetError, near_matches
from patchrerank.types import Floats, QueryCrop, Rows

Instance = str | int
"""What an object is called: text or a whole number."""


@dataclass(frozen=True, eq=False)
class DatasetQuery:
    """One query: a picture, or words.

    Attributes:
        id: unique among the queries.
        file: the picture; of a query in words the file that they were read from.
        instance: which object it asks for.
        box: float32 ``(4,)``, where the object is, in [0, 1] of the picture; None if unknown.
        source: what the object was made of, for the record.
        positives: ids of the relevant pictures, where the benchmark lists them for each query;
            None: the pictures of the same instance.
        junk: ids of pictures that are removed from this query's ranking before ranks are counted.
        text: the words, if it is asked in words.
    """

    id: str
    file: Path
    instance: Instance
    box: Floats | None = None
    source: str | None = None
    positives: tuple[str, ...] | None = None
    junk: tuple[str, ...] = ()
    text: str | None = None


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
        clutter: ILIAS' measure of what else is in the picture, from 0; None if unknown.
        box_instances: B objects, where boxes show different ones; None: all show ``instance``.
    """

    id: str
    file: Path
    instance: Instance | None
    boxes: Floats
    area: float | None = None
    visible: float | None = None
    clutter: int | None = None
    box_instances: tuple[Instance, ...] | None = None

    def boxes_of(self, instance: Instance) -> Floats:
        """Return the boxes ``(B, 4)`` of one object; all of them where none is marked as its."""
        if self.box_instances is None or instance not in self.box_instances:
            return self.boxes
        return self.boxes[[shown == instance for shown in self.box_instances]]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A benchmark: queries, pictures and what is relevant to what.

    A query whose object no picture shows is allowed; how it counts is the metric's convention.

    Attributes:
        root: the folder.
        queries: in the index's order.
        images: in the index's order; a row number of the data set is a position in here.
        convention: name of the average precision convention the data set is reported with.
        args: how the data set was made, as the index tells it, or how its files were understood.
        fingerprint: SHA-256, hexadecimal, of ``index.json``, or of ids, objects and boxes; set-ups
            of one benchmark share it. Empty if the data set was made in memory.
        query_crop: what the benchmark's protocol does with a query's box before it is encoded.
        name: what tables call it; by default the folder's name.
    """

    root: Path
    queries: tuple[DatasetQuery, ...]
    images: tuple[DatasetImage, ...]
    convention: str = "full"
    args: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    query_crop: QueryCrop = "none"
    name: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.root.name)

    @property
    def asks_in_words(self) -> bool:
        """Whether its queries are words."""
        return any(query.text is not None for query in self.queries)

    def check_pictured(self, what: str) -> None:
        """Refuse queries in words where pictures of them are needed.

        Raises:
            DatasetError: says what needs them.
        """
        if self.asks_in_words:
            raise DatasetError(
                f"{self.root}: the queries are words, and {what} needs query pictures; read the "
                "data set with queries=image"
            )

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
        """For each query the ascending int64 rows of its relevant images; may be empty.

        Raises:
            DatasetError: a query lists an id that no image has.
        """
        by_object = self._rows_by_object()
        return tuple(
            by_object[query.instance]
            if query.positives is None
            else self._rows(query, "positives", query.positives)
            for query in self.queries
        )

    @cached_property
    def junk(self) -> tuple[Rows, ...]:
        """For each query the ascending int64 rows of the images that do not count.

        Raises:
            DatasetError: a query lists an id that no image has, or one of its positives.
        """
        rows = tuple(self._rows(query, "junk", query.junk) for query in self.queries)
        for query, junk, positives in zip(self.queries, rows, self.positives, strict=True):
            both = np.intersect1d(junk, positives) if len(junk) else junk
            if len(both):
                raise DatasetError(
                    f'{self.root}: query "{query.id}": {self.images[both[0]].id!r} is both a '
                    "positive and junk; decide for one"
                )
        return rows

    def _rows_by_object(self) -> dict[Instance, Rows]:
        rows: dict[Instance, list[int]] = {instance: [] for instance in self.objects}
        for row, image in enumerate(self.images):
            if image.instance is not None and image.instance in rows:
                rows[image.instance].append(row)
        return {instance: np.array(found, dtype=np.int64) for instance, found in rows.items()}

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {image.id: row for row, image in enumerate(self.images)}

    def _rows(self, query: DatasetQuery, key: str, ids: Sequence[str]) -> Rows:
        unknown = next((name for name in ids if name not in self._row_of), None)
        if unknown is not None:
            raise DatasetError(
                f'{self.root}: query "{query.id}": {key} names {unknown!r}, which is no picture of '
                f"the data set{near_matches(unknown, self._row_of)}"
            )
        return np.unique(np.array([self._row_of[name] for name in ids], dtype=np.int64))
