"""From evaluations to a report: the same queries as each method answered them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from patchrerank.analysis import Measured, Run
from patchrerank.analysis.measurable import counted_queries
from patchrerank.boxes import Floats
from patchrerank.datasets import Dataset
from patchrerank.report.content import (
    SHOWN_HITS,
    Box,
    ReportColumn,
    ReportHit,
    ReportQuery,
    ReportTable,
    gain_over,
)
from patchrerank.types import EMPTY, Ranking

PARTS = ("store", "stages", "tuned_on", "lam", "gamma", "shortlist_size")
"""Settings that the text of a method says."""


def compare_runs(dataset: Dataset, runs: Mapping[str, Run]) -> list[ReportQuery]:
    """Return one entry a query, with one column a run (name → run) in the mapping's order.

    Hits that the benchmark removes before it counts ranks (junk) are neither right nor wrong.
    """
    by_id = {image.id: position for position, image in enumerate(dataset.images)}
    scores = {name: shown_scores(run.ranking) for name, run in runs.items()}
    return [
        ReportQuery(
            id=query.id,
            image=query.file,
            box=box_of(query.box),
            columns=tuple(
                _column(dataset, name, run, scores[name][number], number, by_id)
                for name, run in runs.items()
            ),
        )
        for number, query in enumerate(dataset.queries)
    ]


def shown_scores(ranking: Ranking) -> Floats:
    """Return the scores to show, float32 ``(Q, K)``; higher is better.

    Where the local scores alone made the order (λ = 0) it is them, cosines for Patchify; else the
    fused ones.
    """
    local, filled = ranking.local_scores, ranking.rows != EMPTY
    if np.isnan(local[filled]).any():
        return ranking.scores
    falls = (local[:, 1:] <= local[:, :-1]) | ~filled[:, 1:]
    return local if falls.all() else ranking.scores


def result_sentence(queries: Sequence[ReportQuery], measured: Mapping[str, Measured]) -> str:
    """Say what the last method makes of the first's mAP, and of how many queries.

    Args:
        queries: all of them.
        measured: name → figures; with a single method there is nothing to say.
    """
    if len(measured) < 2:
        return ""
    (first, *_), (*_, last) = measured, measured
    before, after = (_percent(measured[name].metrics["mAP"]) for name in (first, last))
    gains = [query.gain for query in queries if query.gain is not None]
    better, worse = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    return (
        f"{first} {before} → {last} {after} mAP: {better or 'none'} of {len(gains)} queries "
        f"better, {worse or 'none'} worse."
    )


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
        note=_note(measured),
    )


def _note(measured: Mapping[str, Measured]) -> str:
    """Return what to know about the means: their convention, their n, and what ties leave open."""
    first = next(iter(measured.values()))
    over = counted_queries(first.counted["all"], first.queries)
    told = [f"Percent, higher is better. Average precision: {first.settings['AP']}; {over}."]
    told += [f"{name}: {result.ties}." for name, result in measured.items() if result.ties.queries]
    return " ".join(told)


def with_costs(table: ReportTable, measured: Mapping[str, Measured]) -> ReportTable:
    """Return a table of methods with what each costs: milliseconds a query, bytes an image.

    Milliseconds are those of reranking all queries together, once kernels are compiled.
    """
    rows = tuple(
        (*row, *_costs(result)) for row, result in zip(table.rows, measured.values(), strict=True)
    )
    return replace(table, headers=(*table.headers, "ms/query", "bytes/image read"), rows=rows)


def _costs(measured: Measured) -> tuple[str, str]:
    spent = measured.milliseconds["rerank_per_query"]
    return "–" if spent is None else f"{spent:.2f}", f"{measured.bytes_per_image['read']:,.0f}"


def shared_settings(runs: Mapping[str, Run]) -> dict[str, str]:
    """Return the settings of the runs; where they differ, each with its label.

    A method whose label says it all already is not repeated, nor are its parts.
    """
    records = {label: run.measured.settings for label, run in runs.items()}
    shown = {}
    for name, value in next(iter(records.values())).items():
        values = {label: record[name] for label, record in records.items() if name in record}
        if len(set(values.values())) > 1:
            told = (f"{label}: {text}" for label, text in values.items() if label != text)
            value = "; ".join(told)
        if name not in PARTS and value not in ("", *records):
            shown[name] = value
    return shown


def gains_table(queries: Sequence[ReportQuery]) -> ReportTable | None:
    """Return how many queries each method gains and loses against the first; None for one."""
    if not queries or len(queries[0].columns) < 2:
        return None
    first, *others = (column.name for column in queries[0].columns)
    rows = [_gains_row(name, queries, place) for place, name in enumerate(others, start=1)]
    return ReportTable(
        title=f"Queries, against {first}",
        headers=("method", "gained", "lost", "same", "mean gain"),
        rows=tuple(rows),
        note="All queries that have an average precision, shown below or not; gain in percent.",
    )


def _gains_row(name: str, queries: Sequence[ReportQuery], place: int) -> tuple[str, ...]:
    found = (gain_over(query.columns[0], query.columns[place]) for query in queries)
    gains = np.array([gain for gain in found if gain is not None])
    counts = ((gains > 0).sum(), (gains < 0).sum(), (gains == 0).sum())
    mean = f"{100 * gains.mean():+.1f}".replace("-", "−") if len(gains) else "–"
    return name, *map(str, counts), mean


def _column(
    dataset: Dataset,
    name: str,
    run: Run,
    scores: Floats,
    query: int,
    by_id: Mapping[str, int],
) -> ReportColumn:
    precision = run.measured.per_query[query]
    ranking, asked = run.ranking, dataset.queries[query].instance
    slots = np.flatnonzero(ranking.rows[query] != EMPTY)[:SHOWN_HITS]
    hits = []
    for slot in slots:
        image = dataset.images[by_id[run.gallery.ids[ranking.rows[query, slot]]]]
        correct = bool(run.relevance.relevant[query, slot])
        hits.append(
            ReportHit(
                id=image.id,
                image=image.file,
                score=float(scores[slot]),
                correct=None if run.relevance.junk[query, slot] else correct,
                predicted=box_of(ranking.boxes[query, slot]),
                truths=known_boxes(image.boxes_of(asked)) if correct else (),
            )
        )
    return ReportColumn(name, None if math.isnan(precision) else precision, tuple(hits))


def known_boxes(boxes: Floats) -> tuple[Box, ...]:
    """Return the rows of ``(n, 4)`` that are boxes, without those of NaN."""
    found = (box_of(box) for box in boxes)
    return tuple(box for box in found if box is not None)


def box_of(box: Floats | Sequence[float] | None) -> Box | None:
    """Return four numbers as a box; None where there are none, or NaN."""
    if box is None or np.isnan(np.asarray(box)).any():
        return None
    x0, y0, x1, y1 = (float(side) for side in box)
    return x0, y0, x1, y1


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1f}"
