"""The candidates of each anchor: gallery pictures that look similar as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from patchrerank.errors import SettingError
from patchrerank.training.pool import NO_OBJECT, Pool
from patchrerank.training.sampling import Candidates, Flags
from patchrerank.types import EMPTY, Floats, Rows

Anchors = Literal["queries", "images", "both"]
BLOCK = 256
"""Anchors that are compared at once."""


@dataclass(frozen=True)
class CandidateSettings:
    """Who is an anchor, and what it is compared with.

    Attributes:
        anchors: ``queries``: the data sets' queries, of which only the searched part is seen;
            ``images``: gallery pictures that show an object (only the part in its box, where
            it is known); ``both``.
        count: the most similar pictures of the same data set that are candidates.
        every_positive: all pictures of the anchor's object are candidates, similar or not.
        least: see :class:`~patchrerank.training.sampling.Candidates`.

    Raises:
        SettingError: an unknown kind of anchor, or numbers below 1.
    """

    anchors: Anchors = "queries"
    count: int = 300
    every_positive: bool = True
    least: int = 1

    def __post_init__(self) -> None:
        if self.anchors not in get_args(Anchors):
            raise SettingError(
                f"anchors is {self.anchors!r}; use one of {', '.join(get_args(Anchors))}"
            )
        if min(self.count, self.least) < 1:
            raise SettingError(f"count and least must be at least 1, got {self}")


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Anchors with their candidates.

    Attributes:
        items: int64 ``(N,)``, the anchors as numbers of the pool.
        candidates: of each; its rows are numbers of the pool, its anchors places in ``items``.
    """

    items: Rows
    candidates: Candidates


def find_neighbours(
    pool: Pool, means: Floats, settings: CandidateSettings, without: Rows | None = None
) -> Neighbours:
    """Return the anchors of a pool and their candidates.

    Similarity is the cosine of the pictures' global vectors. Pictures that are junk for a query,
    and an image that is its own anchor, are no candidates.

    Args:
        pool: the items.
        means: ``Pool.means()``.
        settings: see :class:`CandidateSettings`.
        without: labels of objects that are held out: neither anchors nor candidates.

    Raises:
        SettingError: no anchor can be used.
    """
    held = np.zeros(0, dtype=np.int64) if without is None else without
    items = _anchors(pool, settings.anchors)
    items = items[~np.isin(pool.labels[items], held)]
    if not len(items):
        raise SettingError(
            f"no anchors: the data sets have no {settings.anchors} that show an object"
        )
    found = [_of_part(pool, means, settings, items, part, held) for part in range(len(pool.parts))]
    width = max(rows.shape[1] for _, rows, _, _ in found)
    rows, similarities, same = (
        np.concatenate([_widen(one[column], width, fill) for one in found])
        for column, fill in ((1, EMPTY), (2, 0), (3, False))
    )
    order = np.concatenate([one[0] for one in found])
    return Neighbours(order, Candidates(rows, similarities, same, settings.least))


def _anchors(pool: Pool, kind: Anchors) -> Rows:
    shown = pool.images[pool.labels[pool.images] != NO_OBJECT]
    chosen = {"queries": [pool.queries], "images": [shown], "both": [pool.queries, shown]}[kind]
    return np.concatenate(chosen)


def _of_part(
    pool: Pool, means: Floats, settings: CandidateSettings, items: Rows, part: int, held: Rows
) -> tuple[Rows, Rows, Floats, Flags]:
    """Return anchors, rows, similarities and whether they are positives, of one data set."""
    own = items[pool.part_of(items) == part]
    images = pool.images[pool.part_of(pool.images) == part]
    barred = np.isin(pool.labels[images], held)
    blocks = []
    for start in range(0, max(1, len(own)), BLOCK):
        asked = own[start : start + BLOCK]
        similarities = np.where(barred, np.float32(0), means[asked] @ means[images].T)
        left_out = (images == asked[:, None]) | _junk(pool, part, asked, len(images))
        same = _same(pool, part, asked, images) & ~left_out
        similarities = np.where(left_out, np.float32(0), similarities)
        blocks.append(_nearest(images, similarities.astype(np.float32), same, settings))
    width = max(rows.shape[1] for rows, _, _ in blocks)
    rows, found, marks = (
        np.concatenate([_widen(block[column], width, fill) for block in blocks])
        for column, fill in ((0, EMPTY), (1, 0), (2, False))
    )
    return own, rows, found, marks


def _same(pool: Pool, part: int, asked: Rows, images: Rows) -> Flags:
    """Return bool ``(n, images)``: which gallery pictures show the anchor's object."""
    same = pool.labels[asked][:, None] == pool.labels[images]
    positives = pool.parts[part].dataset.positives
    first, behind = pool.first_query(part), pool.first_image(part)
    for place, item in enumerate(asked):
        if item < behind:
            same[place] = False
            same[place, positives[item - first]] = True
    return np.asarray(same)


def _junk(pool: Pool, part: int, asked: Rows, count: int) -> Flags:
    junk = np.zeros((len(asked), count), dtype=np.bool_)
    lists = pool.parts[part].dataset.junk
    first, behind = pool.first_query(part), pool.first_image(part)
    for place, item in enumerate(asked):
        if item < behind:
            junk[place, lists[item - first]] = True
    return junk


def _nearest(
    images: Rows, similarities: Floats, same: Flags, settings: CandidateSettings
) -> tuple[Rows, Floats, Flags]:
    """Return the first ``count`` of each row, and behind them the positives that are missing."""
    order = np.argsort(-similarities, axis=1, kind="stable")
    near = order[:, : settings.count]
    if settings.every_positive:
        rest = order[:, settings.count :]
        missing = np.take_along_axis(same, rest, axis=1)
        width = int(missing.sum(axis=1).max(initial=0))
        front = np.argsort(~missing, axis=1, kind="stable")[:, :width]
        tail = np.take_along_axis(rest, front, axis=1)
        kept = np.take_along_axis(missing, front, axis=1)
        near = np.concatenate([near, tail], axis=1)
        used = np.concatenate([np.ones((len(near), near.shape[1] - width), np.bool_), kept], axis=1)
    else:
        used = np.ones(near.shape, dtype=np.bool_)
    values = np.where(used, np.take_along_axis(similarities, near, axis=1), np.float32(0))
    marks = used & np.take_along_axis(same, near, axis=1)
    return np.where(used, images[near], EMPTY), values, marks


def _widen(array: npt.NDArray[np.generic], width: int, fill: int) -> npt.NDArray[np.generic]:
    wide = np.full((len(array), width), fill, dtype=array.dtype)
    wide[:, : array.shape[1]] = array
    return wide
