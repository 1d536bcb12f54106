"""From evaluations to a report: the same queries as each method answered them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from patchrerank.analysis import Measured
from patchrerank.analysis.evaluation import Run
from patchrerank.boxes import Floats
from patchrerank.datasets import Dataset
from patchrerank.report.content import (
    SHOWN_HITS,
    Box,
    ReportColumn,
    ReportHit,
    ReportQuery,
    ReportTable,
)
from patchrerank.types import EMPTY


def compare_runs(dataset: Dataset, runs: Mapping[str, Run]) -> list[ReportQuery]:
    """Return one entry a query, with one column a run (name → run) in the mapping's order."""
    by_id = {image.id: position for position, image in enumerate(dataset.images)}
    return [
        ReportQuery(
            id=query.id,
            image=query.file,
            box=_box(query.box),
            columns=tuple(_column(dataset, name, run, number, by_id) for name, run in runs.items()),
        )
        for number, query in enumerate(dataset.queries)
    ]


def metrics_table(title: str, measured: Mapping[str, Measured]) -> ReportTable:
    """Return a table of all metrics in percent, a row each method."""
    first = next(iter(measured.values()))
    names = list(first.metrics)
    bins = list(first.areas)
    rows = [
        (
            name,
            *(_percent(result.metrics[metric]) for metric in names),
            *(_percent(result.areas[area]["mAP"]) for area in bins),
        )
        for name, result in measured.items()
    ]
    return ReportTable(
        title=title,
        headers=("method", *names, *(f"mAP, object {area}" for area in bins)),
        rows=tuple(rows),
        note=f"Percent, higher is better. Average precision: {first.settings['AP']}.",
    )


def _column(
    dataset: Dataset, name: str, run: Run, query: int, by_id: Mapping[str, int]
) -> ReportColumn:
    precision = run.measured.per_query[query]
    ranking = run.ranking
    slots = np.flatnonzero(ranking.rows[query] != EMPTY)[:SHOWN_HITS]
    hits = []
    for slot in slots:
        image = dataset.images[by_id[run.gallery.ids[ranking.rows[query, slot]]]]
        correct = bool(run.relevance.relevant[query, slot])
        hits.append(
            ReportHit(
                id=image.id,
                image=image.file,
                score=float(ranking.scores[query, slot]),
                correct=correct,
                predicted=_box(ranking.boxes[query, slot]),
                truths=_boxes(image.boxes) if correct else (),
            )
        )
    return ReportColumn(name, None if math.isnan(precision) else precision, tuple(hits))


def _boxes(boxes: Floats) -> tuple[Box, ...]:
    found = (_box(box) for box in boxes)
    return tuple(box for box in found if box is not None)


def _box(box: Floats | Sequence[float] | None) -> Box | None:
    if box is None or np.isnan(np.asarray(box)).any():
        return None
    x0, y0, x1, y1 = (float(side) for side in box)
    return x0, y0, x1, y1


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1f}"
