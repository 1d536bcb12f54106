"""The revisited protocol: what is right, wrong and junk for easy, medium and hard.

Source: Radenović, Iscen, Tolias, Avrithis, Chum, "Revisiting Oxford and Paris", CVPR 2018.

============  ============  ============
protocol      positives     junk
============  ============  ============
``easy``      easy          junk, hard
``medium``    easy, hard    junk
``hard``      hard          junk, easy
``plain``     ok            junk
============  ============  ============

``plain`` is the two-way ground truth (``ok``, ``junk``) of INSTRE in the same file layout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from patchrerank.errors import DatasetError, SettingError, near_matches
from patchrerank.metrics.average_precision import average_precisions
from patchrerank.metrics.convention import REVISITED, APConvention
from patchrerank.metrics.lists import Doubles, mean_over_queries, membership
from patchrerank.metrics.recall import precisions_at
from patchrerank.types import EMPTY

Protocol = Literal["easy", "medium", "hard", "plain"]
Truth = Mapping[str, Sequence[int] | npt.NDArray[np.integer]]

_PROTOCOLS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "easy": (("easy",), ("junk", "hard")),
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("junk", "easy")),
    "plain": (("ok",), ("junk",)),
}


@dataclass(frozen=True)
class RevisitedResult:
    """Values in [0, 1], higher is better; NaN for queries without positives.

    Attributes:
        protocol: which positives and junk.
        convention: the AP convention, to print beside the numbers.
        average_precisions: float64 ``(Q,)``.
        kappas: the κ of the precisions.
        precisions: float64 ``(Q, len(kappas))``.
    """

    protocol: Protocol
    convention: APConvention
    average_precisions: Doubles
    kappas: tuple[int, ...]
    precisions: Doubles

    @property
    def mean_average_precision(self) -> float:
        """Mean over the queries that have positives."""
        return mean_over_queries(self.average_precisions)

    @property
    def mean_precisions(self) -> tuple[float, ...]:
        """Mean precision at each κ over the queries that have positives."""
        return tuple(mean_over_queries(column) for column in self.precisions.T)


def positives_and_junk(
    truths: Sequence[Truth], protocol: str
) -> tuple[list[list[int]], list[list[int]]]:
    """Return each query's positive rows and junk rows under ``protocol``.

    Args:
        truths: one mapping a query with 0-based gallery rows: ``easy``, ``hard`` and ``junk``, or
            ``ok`` and ``junk`` for the protocol ``plain``. A missing ``junk`` means none.

    Raises:
        SettingError: the protocol is unknown.
        DatasetError: a query lacks an entry.
    """
    if protocol not in _PROTOCOLS:
        raise SettingError(
            f"protocol {protocol!r} is unknown{near_matches(str(protocol), _PROTOCOLS)}; "
            f"use one of {', '.join(_PROTOCOLS)}"
        )
    good, bad = _PROTOCOLS[protocol]
    positives = [_collect(truth, good, query) for query, truth in enumerate(truths)]
    junk = [_collect(truth, bad, query) for query, truth in enumerate(truths)]
    return positives, junk


def evaluate_revisited(
    rows: npt.ArrayLike,
    truths: Sequence[Truth],
    protocol: Protocol,
    convention: APConvention = REVISITED,
    kappas: Sequence[int] = (1, 5, 10),
    *,
    scores: npt.ArrayLike | None = None,
) -> RevisitedResult:
    """Evaluate rankings of gallery rows under one protocol.

    Args:
        rows: int ``(Q, R)`` gallery rows, best first, ``-1`` in empty slots. Junk may stand
            anywhere; it is removed before ranks are counted.
        truths, protocol: see :func:`positives_and_junk`.
        convention: ``revisited`` as published; ``ames-trapezoidal`` for AMES' variant.
        kappas: ranks for the precision, see :func:`patchrerank.metrics.precisions_at`.
        scores: float ``(Q, R)``, for conventions that need them.

    Raises:
        SettingError, DatasetError: as :func:`positives_and_junk`.
        ShortlistError: not one list of rows for each query.
    """
    table = np.asarray(rows)
    positives, junk_rows = positives_and_junk(truths, protocol)
    relevant, junk = membership(table, positives), membership(table, junk_rows)
    valid = table != EMPTY
    counts = np.array([len(set(members)) for members in positives], dtype=np.int64)
    values = average_precisions(relevant, counts, convention, scores=scores, junk=junk, valid=valid)
    precisions = np.zeros((len(table), len(kappas)))
    for column, kappa in enumerate(kappas):
        precisions[:, column] = precisions_at(
            relevant, kappa, n_positives=counts, junk=junk, valid=valid
        )
    return RevisitedResult(protocol, convention, values, tuple(kappas), precisions)


def _collect(truth: Truth, keys: tuple[str, ...], query: int) -> list[int]:
    rows: list[int] = []
    for key in keys:
        if key not in truth and key != "junk":
            raise DatasetError(
                f"ground truth of query {query}: no entry {key!r}, only {sorted(truth)}; this "
                "protocol needs it (an empty list if there are none)"
            )
        rows.extend(int(row) for row in truth.get(key, ()))
    return rows
