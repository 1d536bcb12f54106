"""Single keys of a request: numbers, words, and those that are not taken."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from patchrerank.errors import shown
from patchrerank.serving.refusals import RequestError

TOPS = "top_n", "top_k"
"""How clients call the number of results that they want."""

NOT_HERE = {
    "limit": "top_n says how many results are wanted",
    "k": "top_n says how many results are wanted, and --stages of the service how many candidates "
    "are rescored",
    **dict.fromkeys(
        ("stages", "lam", "gamma", "shortlist_size", "tuned", "query_crop", "query_views"),
        "the service has been started with it; its page, at /, tries other settings",
    ),
}
"""Keys that no foreign client sends, and whose meaning would be lost if they were passed over."""


def count_of(body: Mapping[str, Any], key: str) -> int | None:
    """Return a whole number; None: there is none.

    Raises:
        RequestError: it is something else.
    """
    value = body.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise RequestError(f"{key} is {shown(value)}; use a whole number of at least 0")
    return value


def top_of(body: Mapping[str, Any]) -> int | None:
    """Return how many results are wanted, by any of its names; None: nobody says.

    Raises:
        RequestError: two names say two numbers.
    """
    given = {key: count for key in TOPS if (count := count_of(body, key)) is not None}
    if len(set(given.values())) > 1:
        told = " and ".join(f"{key} {count}" for key, count in given.items())
        raise RequestError(f"{told} are two names of one thing; send one of them")
    return next(iter(given.values()), None)


def check_keys(body: Mapping[str, Any]) -> None:
    """Refuse keys that would be passed over in silence though they were meant.

    Raises:
        RequestError: names one, and what to do.
    """
    for key, instead in NOT_HERE.items():
        if body.get(key) is not None:
            raise RequestError(f"{key} is not taken in a request: {instead}")


def timeout_of(body: Mapping[str, Any]) -> float | None:
    """Return the seconds that a request gives itself; None: it does not say.

    Raises:
        RequestError: it is no positive number.
    """
    value = body.get("timeout_ms")
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value < math.inf:
        raise RequestError(f"timeout_ms is {shown(value)}; use a positive number")
    return float(value) / 1000


def one_of(body: Mapping[str, Any], key: str, known: Sequence[Any]) -> Any:
    """Return one of some words; None: there is none.

    Raises:
        RequestError: it is another.
    """
    value = body.get(key)
    if value is not None and value not in known:
        raise RequestError(f"{key} is {shown(value)}; use {', '.join(known)}")
    return value
