"""Which queries a report shows: largest gains, largest losses, and a sample of the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from patchrerank.errors import SettingError
from patchrerank.report.content import GROUPS, ReportQuery


@dataclass(frozen=True)
class QueryChoice:
    """How many queries of each kind, at most.

    Attributes:
        largest: with the largest gains of the last method over the first.
        smallest: with the largest losses.
        sample: drawn from all others, those that neither gain nor lose among them.
        seed: of the drawing.

    Raises:
        SettingError: a negative number.
    """

    largest: int = 5
    smallest: int = 5
    sample: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("largest", "smallest", "sample", "seed"):
            if getattr(self, name) < 0:
                raise SettingError(f"{name} must be 0 or more, got {getattr(self, name)}")


def by_gain(queries: Sequence[ReportQuery]) -> list[ReportQuery]:
    """Return the queries, the largest gain first, stably; those without a gain come last."""
    gains = [-math.inf if query.gain is None else query.gain for query in queries]
    order = sorted(range(len(queries)), key=lambda number: -gains[number])
    return [queries[number] for number in order]


def choose_queries(queries: Sequence[ReportQuery], choice: QueryChoice) -> list[ReportQuery]:
    """Return the chosen queries with their group: gains, losses (largest first), then the sample.

    Queries that gain nothing are never called gains, and those that lose nothing never losses;
    of equal ones the earlier comes first. The sample keeps the queries' own order.
    """
    gains = [query.gain or 0.0 for query in queries]
    order = sorted(range(len(queries)), key=lambda number: -gains[number])
    gained = [n for n in order if gains[n] > 0][: choice.largest]
    lost = sorted((n for n in order if gains[n] < 0), key=lambda n: gains[n])[: choice.smallest]
    rest = [n for n in range(len(queries)) if n not in {*gained, *lost}]
    drawn = np.random.default_rng(choice.seed).permutation(len(rest))[: choice.sample]
    groups = {"gains": gained, "losses": lost, "sample": [rest[n] for n in sorted(drawn)]}
    return [replace(queries[n], group=group) for group, found in groups.items() for n in found]


def describe_choice(chosen: Sequence[ReportQuery], total: int, choice: QueryChoice) -> str:
    """Say which queries are shown, of how many."""
    present = [query.group for query in chosen]
    parts = [f"{present.count(group)} {name}" for group, name in GROUPS.items() if group in present]
    drawn = f" (seed {choice.seed})" if "sample" in present else ""
    return f"{len(chosen)} of {total} queries: {', '.join(parts)}{drawn}" if parts else "none"
