"""One candidate of a shortlist in a file: its id and, where it has one, its score."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from patchrerank.errors import ShortlistError, shown

SCORE = "score"
DISTANCES = ("distance", "_distance")
"""Keys under which stores answer, whatever the metric; read where it is said what they mean."""

METRIC_HINT = (
    "if its number is a distance, say which with metric='cosine-distance' (or l2, l2-squared, …)"
)


@dataclass(frozen=True)
class Entry:
    """A candidate as it stands in a file.

    Attributes:
        where: which entry or line, for messages.
        id: as the file has it.
        scores: the score, or nothing.
    """

    where: str
    id: Any
    scores: tuple[Any, ...] = ()


Lists: TypeAlias = dict[str | None, list[Entry]]
"""Entries by query; None where a file holds one list and does not say whose."""


def id_of(entry: Entry) -> str:
    """Return an entry's id; a whole number counts as its digits.

    Raises:
        ShortlistError: it is something else than text.
    """
    if isinstance(entry.id, str):
        return entry.id
    if isinstance(entry.id, int) and not isinstance(entry.id, bool):
        return str(entry.id)
    raise ShortlistError(
        f"{entry.where}: the id {shown(entry.id)} is a {type(entry.id).__name__}; ids are strings"
    )


def scores_of(entries: list[Entry]) -> list[float] | None:
    """Return the scores of all entries, or None if none has one.

    Raises:
        ShortlistError: only some have one, or it is no number.
    """
    without = [entry for entry in entries if not entry.scores]
    if len(without) == len(entries):
        return None
    if without:
        raise ShortlistError(f"{without[0].where} has no score, others have; give all or none")
    return [_score(entry) for entry in entries]


def entries_of(items: Iterable[Any], where: str, *, first: int = 0, said: bool) -> list[Entry]:
    """Return the entries of a list in a JSON file: ids, ``[id, score]`` or objects.

    Args:
        items: as ``json.loads`` returned them.
        where: what an entry's number stands behind in messages.
        first: the number of the first.
        said: whether it is said what the scores mean, so that ``distance`` may be one.

    Raises:
        ShortlistError: an entry of another form, or an object whose keys name no score.
    """
    return [_entry(item, f"{where} {number}", said) for number, item in enumerate(items, first)]


def is_entry(content: dict[str, Any]) -> bool:
    """Tell an object that is one candidate from one that maps ids to scores."""
    known = {"id", SCORE, *DISTANCES}
    return "id" in content and (
        isinstance(content["id"], str) or (isinstance(content["id"], int) and set(content) <= known)
    )


def _entry(item: Any, where: str, said: bool) -> Entry:
    if isinstance(item, dict):
        return _from_object(item, where, said)
    if not isinstance(item, list):
        return Entry(where, item)
    if len(item) not in (1, 2):
        raise ShortlistError(f"{where} is {shown(item)}; use [id, score] or id")
    return Entry(where, item[0], tuple(item[1:]))


def _from_object(item: dict[str, Any], where: str, said: bool) -> Entry:
    keys = ", ".join(map(shown, list(item)[:10]))
    if "id" not in item:
        raise ShortlistError(f"{where} has the keys {keys}, but no 'id'")
    scores = [key for key in (SCORE, *(DISTANCES if said else ())) if key in item]
    if len(scores) > 1:
        raise ShortlistError(f"{where} has both {' and '.join(scores)}; leave one of them")
    if not scores and len(item) > 1:
        raise ShortlistError(
            f"{where} has the keys {keys}, but no 'score'; {METRIC_HINT}; where there are no "
            "scores, list the ids alone"
        )
    return Entry(where, item["id"], tuple(item[key] for key in scores))


def _score(entry: Entry) -> float:
    (score,) = entry.scores
    try:
        if not isinstance(score, bool):
            return float(score)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ShortlistError(f"{entry.where}: the score {shown(score)} is not a number")
