"""Checks of a score table's parts; every complaint names the field, the query and the slot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchrerank.errors import ShortlistError, TableError, short_reason
from patchrerank.types import EMPTY, Shortlist

if TYPE_CHECKING:
    from patchrerank.tuning.tables.score_table import ScoreTable

Array = npt.NDArray[Any]
KINDS = {"f": "a floating array", "i": "an array of whole numbers", "b": "an array of bool"}


def fixed(name: str, values: npt.ArrayLike, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> Array:
    """Return ``values`` as a read-only array of ``dtype``; -1 in ``shape`` fits any length.

    Raises:
        TableError: another shape, or values of another kind (no float becomes a row number).
    """
    given, wanted = array_of(name, values), np.dtype(dtype)
    kinds = {"f": "fiu", "i": "iu", "b": "b"}[wanted.kind]
    if given.size and given.dtype.kind not in kinds:
        raise TableError(f"{name}: expected {KINDS[wanted.kind]}, got {given.dtype}")
    fits = len(given.shape) == len(shape) and all(
        want in (-1, have) for want, have in zip(shape, given.shape, strict=True)
    )
    if not fits:
        text = ", ".join("any" if want < 0 else str(want) for want in shape)
        raise TableError(f"{name}: expected the shape ({text}), got {given.shape}")
    array = given.astype(wanted, copy=False).view()
    array.flags.writeable = False
    return array


def array_of(name: str, values: npt.ArrayLike) -> Array:
    """Return ``values`` as an array of whatever kind.

    Raises:
        TableError: they are none.
    """
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as error:  # lists of different lengths, objects of others
        raise TableError(f"{name}: no array of numbers ({short_reason(error)})") from error


def fixed_ids(name: str, ids: Sequence[str]) -> tuple[str, ...]:
    """Return ids as a tuple after checking that they are distinct text."""
    if isinstance(ids, str) or not isinstance(ids, Iterable):
        raise TableError(f"{name}: expected a list of text, got a {type(ids).__name__}")
    listed = tuple(ids)
    wrong = next((item for item in listed if not isinstance(item, str)), None)
    if wrong is not None:
        raise TableError(f"{name}: {wrong!r} is a {type(wrong).__name__}; ids are text")
    if len(set(listed)) != len(listed):
        seen: set[str] = set()
        twice = next(item for item in listed if item in seen or seen.add(item))  # type: ignore[func-returns-value]
        raise TableError(f"{name}: {twice!r} stands there twice; ids are unique")
    return listed


def check_table(table: ScoreTable) -> None:
    """Check what the fields say about each other; shapes and kinds are right already."""
    _check_list(table)
    for name, scores in table.local_scores.items():
        _refuse(f"local_scores[{name!r}]", scores, scores == np.inf, "below infinity")
    for name, overlaps in table.overlaps.items():
        outside = (overlaps < 0) | (overlaps > 1 + 1e-6)
        _refuse(f"overlaps[{name!r}]", overlaps, outside, "in [0, 1] or NaN")
    for name, areas in (("areas", table.areas), ("positive_areas", table.positive_areas)):
        _refuse(name, areas, (areas < 0) | (areas > 1 + 1e-3), "in [0, 1] or NaN")
    _check_marks(table)
    _check_names(table)


def _check_list(table: ScoreTable) -> None:
    try:
        Shortlist(table.rows, table.global_scores)
    except ShortlistError as error:
        raise TableError(f"rows and global_scores are no shortlist: {error}") from error
    if table.rows.size and table.rows.max() >= len(table.gallery_ids):
        raise TableError(
            f"rows: row {int(table.rows.max())} has no id; there are {len(table.gallery_ids)} "
            "gallery_ids"
        )


def _check_marks(table: ScoreTable) -> None:
    empty = table.rows == EMPTY
    for name, wrong, why in (
        ("relevant", table.relevant & empty, "relevant, but empty"),
        ("junk", table.junk & empty, "junk, but empty"),
        ("relevant", table.relevant & table.junk, "relevant and junk at once"),
    ):
        if wrong.any():
            query, slot = np.argwhere(wrong)[0]
            raise TableError(f"{name}: slot {slot} of query {query} is {why}")
    listed = table.relevant.sum(axis=1)
    short = np.flatnonzero(table.n_positives < listed)
    if short.size:
        query = int(short[0])
        raise TableError(
            f"n_positives: query {query} has {table.n_positives[query]}, but {listed[query]} are "
            "listed; count the positives of the whole data set"
        )
    known = (~np.isnan(table.positive_areas)).sum(axis=1)
    if (known > table.n_positives).any():
        query = int(np.flatnonzero(known > table.n_positives)[0])
        raise TableError(f"positive_areas: query {query} has more areas than positives")


def _check_names(table: ScoreTable) -> None:
    known = set(table.local_scores)
    if "global" in known:
        raise TableError("local_scores: 'global' is the first stage; name the reranker otherwise")
    mappings: Mapping[str, Mapping[str, object]] = {
        "overlaps": table.overlaps,
        "costs": table.costs,
        "list_depths": table.list_depths,
    }
    for field, mapping in mappings.items():
        strangers = set(mapping) - known - {"global"}
        if strangers:
            raise TableError(f"{field}: {min(strangers)!r} has no local scores")


def _refuse(name: str, values: Array, wrong: Array, expected: str) -> None:
    if wrong.any():
        query, slot = (int(place) for place in np.argwhere(wrong)[0])
        raise TableError(
            f"{name}: query {query}, slot {slot} holds {values[query, slot]}; expected {expected}"
        )
