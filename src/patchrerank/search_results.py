"""Anybody's search result as plain lists: whatever holds the ids and scores, checked once.

Lists, tuples, generators, numpy arrays, torch tensors, and the columns of pandas, polars and
pyarrow are read by what they can do; none of these packages is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, NoReturn, TypeAlias, cast
from uuid import UUID

import numpy as np
import numpy.typing as npt

from patchrerank.errors import ShortlistError, shown

Doubles: TypeAlias = npt.NDArray[np.float64]

PLAIN_NUMBERS = frozenset({float, int, np.float16, np.float32, np.float64, np.int32, np.int64})
"""Types that need no closer look; bool is not among them."""

ID_KINDS = frozenset({str, int, UUID})
"""What ids are, mostly; subclasses and numpy's numbers are looked at one by one."""

LARGEST = float(np.finfo(np.float32).max)
APART = "pass ids and scores as two lists: list(row), list(row.values())"


def batch_of(values: object, what: str) -> list[Any]:
    """Return a batch with one entry a query as a list.

    Raises:
        ShortlistError: one text, a run of several queries, or nothing that has entries.
    """
    if type(values) is list:
        return values
    iterable = hasattr(values, "__iter__")
    if isinstance(values, Mapping) or (hasattr(values, "to_dict") and not iterable):
        raise ShortlistError(
            f"{what}: {_named(values)} has no order of queries; {APART}, for the row of each query"
        )
    if isinstance(values, str | bytes) or hasattr(values, "columns") or not iterable:
        raise ShortlistError(f"{what}: expected one sequence a query, got {_named(values)}")
    return list(cast(Iterable[Any], values))


def ids_of(query: int, ids: object) -> list[Any]:
    """Return one query's candidates.

    Raises:
        ShortlistError: no sequence, or an id that is neither text nor a whole number nor a UUID.
    """
    if type(ids) is list:
        listed = ids
    else:
        refused = isinstance(ids, str | bytes | Mapping | Set) or hasattr(ids, "columns")
        if refused or not hasattr(ids, "__iter__"):
            _refuse_ids(query, ids)
        listed = plain_list(ids)
    if not set(map(type, listed)) <= ID_KINDS:
        listed = [str(item) if isinstance(item, np.str_) else item for item in listed]
        _check_types(query, listed)
    return listed


def listed_ids(ids: object) -> list[Any]:
    """Return ids, whatever holds them, as a list.

    Raises:
        ShortlistError: it is none of ids.
    """
    if isinstance(ids, str | bytes) or not hasattr(ids, "__iter__"):
        raise ShortlistError(f"expected a list of ids, as in ['a.jpg'], got {_named(ids)}")
    return plain_list(ids)


def scores_of(query: int, scores: object, count: int) -> Doubles:
    """Return one query's scores, float64 ``(count,)``.

    Raises:
        ShortlistError: another number of scores, or an entry that is no finite number.
    """
    values = _numbers(query, scores)
    if values.ndim != 1:
        raise ShortlistError(
            f"query {query}: scores have the shape {values.shape}; pass one score an id (of a "
            "search for one query its only row)"
        )
    if len(values) != count:
        raise ShortlistError(
            f"query {query}: {count} ids but {len(values)} scores; pass one score an id"
        )
    if not falls(values):
        with np.errstate(over="ignore"):
            bad = np.flatnonzero(~np.isfinite(values.astype(np.float32)))
        if bad.size:
            _refuse_score(query, int(bad[0]), float(values[bad[0]]))
    return values


def plain_scores(scores: Any, count: int) -> Doubles | None:
    """Return scores as float64 ``(count,)`` if they are a list or array of numbers, else None."""
    if type(scores) is list and len(scores) == count and set(map(type, scores)) <= PLAIN_NUMBERS:
        try:
            return np.array(scores, dtype=np.float64)
        except OverflowError:
            return None
    if type(scores) is np.ndarray and scores.shape == (count,) and scores.dtype.kind == "f":
        return scores.astype(np.float64)
    return None


def falls(scores: Doubles) -> bool:
    """Tell a list ``(K,)`` of finite float32 that nowhere rises."""
    inside = len(scores) and scores[-1] >= -LARGEST and scores[0] <= LARGEST
    return bool(inside and (scores[1:] <= scores[:-1]).all())


def plain_list(values: Iterable[Any]) -> list[Any]:
    """Return the entries of a column or other iterable as Python objects."""
    for name in ("to_pylist", "tolist", "to_list"):  # pyarrow; numpy, torch, pandas; polars
        if hasattr(values, name):
            listed = getattr(values, name)()
            return listed if isinstance(listed, list) else [listed]
    return list(values)


def _refuse_ids(query: int, ids: object) -> NoReturn:
    hint = ""
    if isinstance(ids, Mapping) or hasattr(ids, "to_dict"):
        hint = f"; {APART}"
    elif isinstance(ids, Set):
        hint = "; a set has no order, pass a list, best first"
    raise ShortlistError(f"query {query}: expected a sequence of ids, got {_named(ids)}{hint}")


def _named(value: object) -> str:
    """Return a plain value's text, and of any other object its kind."""
    if value is None or isinstance(value, str | bytes | int | float):
        return shown(value)
    return f"a {type(value).__module__.partition('.')[0]} {type(value).__name__}".replace(
        "a builtins ", "a "
    )


def _check_types(query: int, ids: Sequence[object]) -> None:
    for position, item in enumerate(ids):
        if isinstance(item, bool) or not isinstance(item, str | int | np.integer | UUID):
            raise ShortlistError(
                f"query {query}: id {shown(item)} is a {type(item).__name__} (position "
                f"{position}); ids are strings, whole numbers or UUIDs, the ones that the gallery "
                "was built with"
            )


def refuse_twice(query: int, ids: Sequence[str]) -> NoReturn:
    """Say which id of a list stands twice in it.

    Raises:
        ShortlistError: always.
    """
    first = {item: place for place, item in reversed(list(enumerate(ids)))}
    position = next(place for place, item in enumerate(ids) if first[item] < place)
    raise ShortlistError(
        f"query {query}: id {shown(ids[position])} stands twice in the shortlist (again at "
        f"position {position}); keep its best score and drop the other"
    )


def _refuse_score(query: int, position: int, value: object) -> NoReturn:
    raise ShortlistError(
        f"query {query}: the score at position {position} is {shown(value)}; scores must be "
        "finite numbers (drop such candidates, or pass scores=None)"
    )


def _numbers(query: int, scores: Any) -> Doubles:
    if type(scores) is list:
        return _checked(query, scores)
    if hasattr(scores, "detach"):  # a torch tensor, of any device and precision
        scores = scores.detach().cpu().double().numpy()
    if isinstance(scores, np.ma.MaskedArray):
        scores = np.ma.filled(scores.astype(np.float64), np.nan)
    if isinstance(scores, np.ndarray) and scores.dtype.kind in "iuf":
        return scores.astype(np.float64)
    refused = isinstance(scores, str | bytes | Mapping | Set) or hasattr(scores, "columns")
    if refused or not hasattr(scores, "__iter__"):
        raise ShortlistError(
            f"query {query}: expected a sequence of scores, got {_named(scores)}; pass one number "
            "an id, in the order of the ids"
        )
    return _checked(query, plain_list(scores))


def _checked(query: int, values: Sequence[Any]) -> Doubles:
    if not set(map(type, values)) <= PLAIN_NUMBERS:
        values = [_number(query, position, value) for position, value in enumerate(values)]
    try:
        return np.array(values, dtype=np.float64)
    except OverflowError:
        position = next(n for n, value in enumerate(values) if abs(value) >= 2**1024)
        _refuse_score(query, position, values[position])


def _number(query: int, position: int, value: Any) -> float:
    """Return a score of any numeric type; text, truth values and what holds several are none."""
    if hasattr(value, "as_py"):  # a pyarrow scalar
        value = value.as_py()
    if value is None:
        _refuse_score(query, position, value)
    several = isinstance(value, Iterable) and getattr(value, "ndim", 1) > 0
    if isinstance(value, str | bool | np.bool_) or several or not hasattr(value, "__float__"):
        raise ShortlistError(
            f"query {query}: the score at position {position} is {shown(value)}, a "
            f"{type(value).__name__}; scores are numbers, one an id"
        )
    return float(value)
