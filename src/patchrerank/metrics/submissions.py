"""Submitted similarities of ILIAS as ranked lists."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from patchrerank.errors import DatasetError, ShortlistError, near_matches
from patchrerank.metrics.lists import Bools, Doubles

Similarities = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class IliasLists:
    """Submitted similarities as ranked lists, ``(Q, R)``, best first.

    Attributes:
        queries: the query ids.
        ids: for each query its database ids, best first; equal similarities keep their order.
        scores: float64 ``(Q, R)``, ``-inf`` in empty slots.
        relevant: bool ``(Q, R)``.
        valid: bool ``(Q, R)``, False in empty slots.
        positives: for each query all positives of its instance.
    """

    queries: tuple[str, ...]
    ids: list[list[str]]
    scores: Doubles
    relevant: Bools
    valid: Bools
    positives: list[frozenset[str]]


def instance_of(item: str) -> str:
    """Return the instance that an id of a query or positive belongs to: the part before ``/``."""
    return item.split("/", 1)[0]


def positives_by_instance(positive_ids: Iterable[str]) -> dict[str, list[str]]:
    """Return ``{instance: its positives}`` for the ids of all positives."""
    groups: dict[str, list[str]] = {}
    for item in positive_ids:
        groups.setdefault(instance_of(item), []).append(item)
    return groups


def ilias_lists(similarities: Similarities, positives: Mapping[str, Collection[str]]) -> IliasLists:
    """Return ranked lists of what was submitted.

    Args:
        similarities: ``{query id: {database id: similarity}}``, in any order, higher is better.
        positives: ``{instance: ids of its positives}`` of all instances.

    Raises:
        DatasetError: a query's instance is unknown.
        ShortlistError: a similarity is not finite.
    """
    members = [_positives_of(query, positives) for query in similarities]
    ids: list[list[str]] = []
    width = max((len(row) for row in similarities.values()), default=0)
    scores = np.full((len(members), width), -np.inf)
    relevant = np.zeros(scores.shape, dtype=np.bool_)
    for number, (query, row) in enumerate(similarities.items()):
        names, ordered = _sorted(query, row)
        ids.append(names)
        scores[number, : len(names)] = ordered
        relevant[number, : len(names)] = [name in members[number] for name in names]
    return IliasLists(tuple(similarities), ids, scores, relevant, scores > -np.inf, members)


def _positives_of(query: str, positives: Mapping[str, Collection[str]]) -> frozenset[str]:
    instance = instance_of(query)
    if instance not in positives:
        raise DatasetError(
            f"query {query!r}: its instance {instance!r} has no entry among the positives"
            f"{near_matches(instance, positives)}; the part before '/' names the instance"
        )
    return frozenset(positives[instance])


def _sorted(query: str, row: Mapping[str, float]) -> tuple[list[str], Doubles]:
    names = list(row)
    values = np.fromiter(row.values(), dtype=np.float64, count=len(row))
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise ShortlistError(
            f"query {query!r}: the similarity of {names[bad[0]]!r} is {values[bad[0]]}; "
            "similarities must be finite"
        )
    order = np.argsort(-values, kind="stable")
    return [names[slot] for slot in order], values[order]
