"""The pictures of all data sets of a training run, as one list of items."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from patchrerank.errors import SettingError
from patchrerank.gallery import LocalStore
from patchrerank.gallery.identity import differences
from patchrerank.training.descriptors import DatasetDescriptors, mean_descriptors
from patchrerank.training.views import inside
from patchrerank.types import Floats, Rows

NO_OBJECT = -1
"""Label of a picture that shows none of the objects."""


@dataclass(frozen=True)
class _Stretch:
    """The items of one store: ``first`` to below ``first + len(store)``."""

    store: LocalStore
    first: int
    ends: Rows


class Pool:
    """Items of training: each a picture's descriptors, with what it shows and where.

    Items are numbered data set by data set, queries before gallery pictures.

    Attributes:
        parts: the data sets.
        dim: of the descriptors.
        labels: int64 ``(N,)``, number of the object; ``NO_OBJECT`` in distractors.
        boxes: float32 ``(N, 4)``, where a gallery picture shows it; NaN: unknown.
        queries: int64, the items that are queries.
        images: int64, the items that are gallery pictures.

    Args:
        parts: at least one, all of the same dense encoder.

    Raises:
        SettingError: none, or descriptors of different encoders.
    """

    def __init__(self, parts: Sequence[DatasetDescriptors]) -> None:
        if not parts:
            raise SettingError("training needs at least one data set")
        identities = {part.images.identity for part in parts}
        if len(identities) > 1:
            one = parts[0].images
            other = next(part.images for part in parts if part.images.identity != one.identity)
            raise SettingError(
                "the data sets' descriptors come from different encoders: "
                f"{differences(one.manifest.encoder, other.manifest.encoder)}"
            )
        self.parts = tuple(parts)
        self.dim = parts[0].images.dim
        self._stretches: list[_Stretch] = []
        for store in (store for part in parts for store in (part.queries, part.images)):
            first = sum(len(other.store) for other in self._stretches)
            self._stretches.append(_Stretch(store, first, np.asarray(store.ends)))
        self._firsts = np.array([stretch.first for stretch in self._stretches])
        self.labels, self.boxes = _shown(parts)
        spans = [np.arange(one.first, one.first + len(one.store)) for one in self._stretches]
        self.queries: Rows = np.concatenate(spans[::2])
        self.images: Rows = np.concatenate(spans[1::2])

    def __len__(self) -> int:
        return len(self.labels)

    def part_of(self, items: Rows) -> Rows:
        """Return the number of the data set that each item belongs to."""
        return np.asarray((np.searchsorted(self._firsts, items, side="right") - 1) // 2)

    def first_image(self, part: int) -> int:
        """Return the item of a data set's first gallery picture."""
        return self._stretches[2 * part + 1].first

    def first_query(self, part: int) -> int:
        """Return the item of a data set's first query."""
        return self._stretches[2 * part].first

    def box(self, item: int) -> Floats | None:
        """Return where a gallery picture shows its object; None: unknown."""
        found: Floats = self.boxes[item]
        return None if np.isnan(found).any() else found

    def vectors(self, item: int, count: int, box: Floats | None = None) -> Floats:
        """Return the strongest descriptors of an item, float32 ``(n, D)``, n at most ``count``.

        Args:
            item: its number.
            count: how many at most.
            box: only those inside; None: all.
        """
        stretch = self._stretches[int(np.searchsorted(self._firsts, item, side="right")) - 1]
        row = item - stretch.first
        begin, end = int(stretch.ends[row - 1]) if row else 0, int(stretch.ends[row])
        rows = np.arange(begin, end)
        if box is not None:
            rows = rows[inside(stretch.store.positions[begin:end], box)]
        found: Floats = stretch.store.store.decode(rows[:count])
        return found

    def means(self) -> Floats:
        """Return one global vector an item, float32 ``(N, D)``; see ``mean_descriptors``."""
        return np.concatenate([mean_descriptors(one.store) for one in self._stretches])

    def sample(self, count: int, seed: int) -> Floats:
        """Return descriptors of gallery pictures drawn at random, float32 ``(n, D)``."""
        rng = np.random.default_rng([seed, len(self)])
        stores = [stretch.store for stretch in self._stretches[1::2]]
        total = sum(store.manifest.descriptors for store in stores)
        found = []
        for store in stores:
            own = store.manifest.descriptors
            share = min(own, -(-count * own // max(1, total)))
            found.append(store.store.decode(np.sort(rng.choice(own, share, replace=False))))
        return np.concatenate(found)


_NOWHERE = np.full(4, np.nan, dtype=np.float32)


def _shown(parts: Sequence[DatasetDescriptors]) -> tuple[Rows, Floats]:
    """Return the label and the box of every item."""
    numbers: dict[Hashable, int] = {}
    labels: list[int] = []
    boxes: list[Floats] = []
    for place, part in enumerate(parts):
        for query in part.dataset.queries:
            labels.append(numbers.setdefault((place, query.instance), len(numbers)))
            boxes.append(_NOWHERE)
        for image in part.dataset.images:
            if image.instance is None:
                labels.append(NO_OBJECT)
                boxes.append(_NOWHERE)
                continue
            labels.append(numbers.setdefault((place, image.instance), len(numbers)))
            own = image.boxes_of(image.instance)
            boxes.append(own[0] if len(own) else _NOWHERE)
    return np.array(labels, dtype=np.int64), np.array(boxes, dtype=np.float32).reshape(-1, 4)
