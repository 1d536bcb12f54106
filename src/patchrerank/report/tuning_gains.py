"""Which queries a tuned cascade wins and loses against the first stage, with pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from patchrerank.datasets import Dataset
from patchrerank.errors import DatasetError
from patchrerank.metrics.lists import Doubles
from patchrerank.pipeline.stages import StageSpec
from patchrerank.report.comparison import box_of, known_boxes
from patchrerank.report.content import (
    SAME_GAIN,
    SHOWN_HITS,
    ReportColumn,
    ReportHit,
    ReportQuery,
)
from patchrerank.report.tuning_charts import Chart, rounded
from patchrerank.tuning.tables.cascades import evaluate_stages
from patchrerank.tuning.tables.score_table import ScoreTable
from patchrerank.types import EMPTY, Rows

PICTURED = 5
"""How many wins, and how many losses, are shown with pictures."""
NAN = float("nan")
"""The score of a hit here: a table does not keep what the stages made of it."""


@dataclass(frozen=True, eq=False)
class QueryGains:
    """The tuned cascade and the first stage, query by query.

    Attributes:
        table: what they were computed from.
        before, after: float64 ``(Q,)`` average precision of the first stage and of the tuned
            stages; NaN for a query without positives.
        order: int64 ``(Q, K)``, the slots of the first stage's list as the tuned stages sort them.
    """

    table: ScoreTable
    before: Doubles
    after: Doubles
    order: Rows

    @classmethod
    def of(cls, table: ScoreTable, stages: tuple[StageSpec, ...]) -> QueryGains:
        """Evaluate both.

        Raises:
            TableError: scores that the tuned stages need were not computed.
        """
        first, tuned = evaluate_stages(table, []), evaluate_stages(table, stages)
        return cls(table, first.AP, tuned.AP, tuned.order)

    @property
    def ranked(self) -> Rows:
        """Numbers of the queries that have a value, the largest win first."""
        gains = self.after - self.before
        return np.argsort(-gains, kind="stable")[: int((~np.isnan(gains)).sum())]

    def chart(self) -> Chart:
        """Return ids and values, the largest win first."""
        return {
            "ids": [self.table.query_ids[query] for query in self.ranked],
            "before": rounded(self.before[self.ranked]),
            "after": rounded(self.after[self.ranked]),
            "same": SAME_GAIN,
        }

    def wins(self) -> list[int]:
        """Return the queries with the largest wins, the largest first."""
        return [int(n) for n in self.ranked[:PICTURED] if self._gain(n) >= SAME_GAIN]

    def losses(self) -> list[int]:
        """Return the queries with the largest losses, the largest first."""
        return [int(n) for n in self.ranked[::-1][:PICTURED] if self._gain(n) <= -SAME_GAIN]

    def _gain(self, query: int) -> float:
        return float(self.after[query] - self.before[query])


def pictured(gains: QueryGains, queries: Sequence[int], dataset: Dataset) -> list[ReportQuery]:
    """Return queries as the report shows them: picture, box, top hits of both rankings.

    Raises:
        DatasetError: the data set lacks a query or a picture of the table.
    """
    known = {query.id: query for query in dataset.queries}
    images = {image.id: number for number, image in enumerate(dataset.images)}
    listed = np.broadcast_to(np.arange(gains.table.size), gains.order.shape)
    shown = []
    for number in queries:
        query = known.get(gains.table.query_ids[number])
        if query is None:
            raise _stranger(dataset, "query", gains.table.query_ids[number])
        columns = tuple(
            ReportColumn(name, float(values[number]), _hits(gains, number, order, dataset, images))
            for name, values, order in (
                ("First stage", gains.before, listed),
                ("Tuned", gains.after, gains.order),
            )
        )
        shown.append(ReportQuery(query.id, query.file, box_of(query.box), columns))
    return shown


def _hits(
    gains: QueryGains, number: int, order: Rows, dataset: Dataset, images: dict[str, int]
) -> tuple[ReportHit, ...]:
    table, hits = gains.table, []
    for slot in order[number, :SHOWN_HITS]:
        row = int(table.rows[number, slot])
        if row == EMPTY:
            break
        name = table.gallery_ids[row]
        if name not in images:
            raise _stranger(dataset, "picture", name)
        image = dataset.images[images[name]]
        correct = bool(table.relevant[number, slot])
        known = None if table.junk[number, slot] else correct
        truths = known_boxes(image.boxes) if correct else ()
        hits.append(ReportHit(name, image.file, NAN, known, None, truths))
    return tuple(hits)


def _stranger(dataset: Dataset, kind: str, name: str) -> DatasetError:
    return DatasetError(
        f"{dataset.root}: holds no {kind} {name!r}, which the score table names; pass the data "
        "set that the table was built of"
    )
