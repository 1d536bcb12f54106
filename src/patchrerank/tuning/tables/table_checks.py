"""Checks of a score table's parts; every complaint names the field, the query and the slot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.errors import ShortlistError, TableError, short_reason
from patchrerank.metrics.lists import Bools
from patchrerank.types import EMPTY, Floats, Rows, Shortlist

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
    seen: set[str] = set()
    for item in listed:
        if item in seen:
            raise TableError(f"{name}: {item!r} stands there twice; ids are unique")
        seen.add(item)
    return listed


def check_table(held: Mapping[str, Any]) -> None:
    """Check what a table's fields, by name, say about each other.

    Shapes and kinds are right already.

    Raises:
        TableError: a contradiction, or a value out of range.
    """
    _check_list(held["rows"], held["global_scores"], len(held["gallery_ids"]))
    areas = {name: held[name] for name in ("areas", "positive_areas")}
    _check_ranges(held["local_scores"], held["overlaps"], areas)
    _check_marks(held["rows"] == EMPTY, held["relevant"], held["junk"])
    _check_counts(held["n_positives"], held["relevant"], held["positive_areas"])
    told = {name: held[name] for name in ("overlaps", "costs", "list_depths")}
    _check_names(held["local_scores"], told)


def _check_list(rows: Rows, global_scores: Floats, images: int) -> None:
    """Check the first stage's lists ``(Q, K)`` of rows below ``images``."""
    try:
        Shortlist(rows, global_scores)
    except ShortlistError as error:
        raise TableError(f"rows and global_scores are no shortlist: {error}") from error
    if rows.size and rows.max() >= images:
        raise TableError(f"rows: row {int(rows.max())} has no id; there are {images} gallery_ids")


def _check_ranges(
    local_scores: Mapping[str, Array], overlaps: Mapping[str, Array], areas: Mapping[str, Array]
) -> None:
    """Check the ranges of scores, overlaps and areas."""
    for name, scores in local_scores.items():
        _refuse(f"local_scores[{name!r}]", scores, scores == np.inf, "below infinity")
    for name, shares in overlaps.items():
        outside = (shares < 0) | (shares > 1 + 1e-6)
        _refuse(f"overlaps[{name!r}]", shares, outside, "in [0, 1] or NaN")
    for name, shares in areas.items():
        _refuse(name, shares, (shares < 0) | (shares > 1 + 1e-3), "in [0, 1] or NaN")


def _check_marks(empty: Bools, relevant: Bools, junk: Bools) -> None:
    """Check what the marks ``(Q, K)`` say about each other."""
    for name, wrong, why in (
        ("relevant", relevant & empty, "relevant, but empty"),
        ("junk", junk & empty, "junk, but empty"),
        ("relevant", relevant & junk, "relevant and junk at once"),
    ):
        if wrong.any():
            query, slot = np.argwhere(wrong)[0]
            raise TableError(f"{name}: slot {slot} of query {query} is {why}")


def _check_counts(n_positives: Rows, relevant: Bools, positive_areas: Array) -> None:
    """Check that no list, and no list of areas, holds more positives than there are."""
    listed = relevant.sum(axis=1)
    short = np.flatnonzero(n_positives < listed)
    if short.size:
        query = int(short[0])
        raise TableError(
            f"n_positives: query {query} has {n_positives[query]}, but {listed[query]} are "
            "listed; count the positives of the whole data set"
        )
    known = (~np.isnan(positive_areas)).sum(axis=1)
    if (known > n_positives).any():
        query = int(np.flatnonzero(known > n_positives)[0])
        raise TableError(f"positive_areas: query {query} has more areas than positives")


def _check_names(rerankers: Iterable[str], mappings: Mapping[str, Mapping[str, object]]) -> None:
    """Check that what is told by reranker is of rerankers that have scores."""
    known = set(rerankers)
    if "global" in known:
        raise TableError("local_scores: 'global' is the first stage; name the reranker otherwise")
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
