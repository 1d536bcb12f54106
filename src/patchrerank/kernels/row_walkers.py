"""The walks over float32, float16 and int8 rows: for Python, and as addresses for kernels."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numba.core import types as numba_types

from patchrerank.kernels._calls import address_of, caller_of
from patchrerank.kernels._image_walks import walk_images
from patchrerank.kernels._row_walks import walk_slots
from patchrerank.kernels.jit import compiled
from patchrerank.types import Floats, Rows

types: Any = numba_types
Stored: TypeAlias = "np.dtype[Any]"
"""How rows lie: the dtype of a store's tag."""
Walkers: TypeAlias = tuple[int, int]
"""Addresses of what walks the slots of one list, and of what walks images that several want."""


def _table(kind: Any, axes: int) -> Any:
    return types.Array(kind, axes, "C")


_LINE, _TABLE, _SCORES = _table(types.int64, 1), _table(types.int64, 2), _table(types.float32, 2)
_PLACES = types.UniTuple(types.int64, 4)
_QUERY = _table(types.float32, 1)
_SLOTS = (types.int64, _QUERY, _LINE, _LINE, _PLACES, _LINE, _QUERY, _LINE)
_IMAGES = (types.int64, _SCORES, _TABLE, _TABLE, _SCORES, _TABLE)

call_slots: Any = caller_of(*_SLOTS)
call_images: Any = caller_of(*_IMAGES)


@cache
def slots_walker(stored: Stored) -> Any:
    """Return :func:`patchrerank.kernels._row_walks.walk_slots` for rows that are stored so."""
    tag, scaled = stored.type(0), stored == np.int8

    def walk(
        stride: int,
        query: Floats,
        begins: Rows,
        scales: Rows,
        places: tuple[int, int, int, int],
        counts: Rows,
        scores: Floats,
        patches: Rows,
    ) -> None:
        walk_slots(tag, stride, scaled, query, begins, scales, places, counts, scores, patches)

    return _named(walk, f"walk_slots_of_{stored}")


@cache
def images_walker(stored: Stored) -> Any:
    """Return :func:`patchrerank.kernels._image_walks.walk_images` for rows that are stored so."""
    tag, scaled = stored.type(0), stored == np.int8

    def walk(
        stride: int, queries: Floats, images: Rows, members: Rows, scores: Floats, patches: Rows
    ) -> None:
        walk_images(tag, stride, scaled, queries, images, members, scores, patches)

    return _named(walk, f"walk_images_of_{stored}")


def _named(walk: Callable[..., None], name: str) -> Any:
    """Compile it by a name of its own.

    numba tells functions of one name by a number, which begins anew in each process: what two
    processes have kept on disk could be taken for one another.
    """
    walk.__name__ = walk.__qualname__ = name
    return compiled(walk)


@cache
def walkers_of(stored: Stored, several: bool) -> Walkers:
    """Return what kernels call to answer one list, or several, which share images."""
    images = address_of(images_walker(stored), *_IMAGES) if several else 0
    return address_of(slots_walker(stored), *_SLOTS), images
