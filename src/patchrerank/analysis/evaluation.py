"""Evaluate methods on a data set: metrics, time and bytes, measured in one way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from patchrerank.analysis.costs import (
    Clock,
    bytes_per_image,
    bytes_per_query,
    bytes_read,
    one_by_one_ms,
    warm_up,
)
from patchrerank.analysis.measurable import crop_record, described, ties_of, views_record
from patchrerank.analysis.measured import Measured, Run
from patchrerank.analysis.measuring import (
    counted,
    dataset_convention,
    measure,
    measure_areas,
    measure_probabilities,
)
from patchrerank.analysis.methods import Method, parse_method
from patchrerank.analysis.relevance import Relevance, relevance_of
from patchrerank.analysis.settings import EvaluationSettings, cache_folder
from patchrerank.analysis.workbench import Workbench
from patchrerank.boxes import WHOLE_IMAGE
from patchrerank.datasets import Dataset
from patchrerank.pipeline import BEST_PATCH, Cascade
from patchrerank.rerankers.fallback import check_unfailed
from patchrerank.types import Queries, Ranking, Shortlist

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder

Milliseconds = dict[str, float | None]
RERANK_TIMES = ("rerank_per_query", "rerank_one_by_one")


def evaluate(
    dataset: Dataset,
    encoder: Encoder,
    settings: EvaluationSettings | None = None,
    cache: str | Path | None = None,
    method: Method | str = BEST_PATCH,
) -> Run:
    """Index a data set's images, search and rerank its queries, and measure.

    Args:
        dataset: see :func:`patchrerank.datasets.load_dataset`.
        encoder: encodes images and queries.
        settings: see :class:`EvaluationSettings`.
        cache: folder where galleries are kept and found again; None uses a temporary one.
        method: what is evaluated, or its text (see :func:`parse_method`); the default is the
            patch score alone on the full list.

    Raises:
        PatchRerankError: whatever is wrong with pictures, data set or settings.
    """
    return evaluate_methods(dataset, encoder, [method], settings, cache)[0]


def evaluate_methods(
    dataset: Dataset,
    encoder: Encoder,
    methods: Sequence[Method | str],
    settings: EvaluationSettings | None = None,
    cache: str | Path | None = None,
    *,
    one_by_one: bool = False,
) -> list[Run]:
    """Evaluate several methods behind one global first stage; see :func:`evaluate`.

    Args:
        dataset: its queries are asked, with their boxes where they have any.
        encoder: of global vectors and patches.
        methods: each as text or made already.
        settings: what all share.
        cache: galleries are kept below it, one for each store.
        one_by_one: time queries one by one, too.

    Returns:
        A run for each method, in their order.
    """
    made = [parse_method(method) if isinstance(method, str) else method for method in methods]
    with cache_folder(cache) as folder:
        bench = Workbench(dataset, encoder, made, settings or EvaluationSettings(), folder)
        return [_run(bench, method, one_by_one=one_by_one) for method in made]


def _run(bench: Workbench, method: Method, *, one_by_one: bool) -> Run:
    gallery, cascade = bench.gallery(method), bench.cascade(method)
    queries, encode_ms = bench.queries(method)
    shortlist, search_ms = bench.shortlist(method)
    milliseconds: Milliseconds = {
        "index_per_image": bench.index_ms(method),
        "encode_per_query": encode_ms,
        "first_stage_per_query": search_ms,
    }
    if cascade is not None:
        queries = cascade.complete(queries)
    ranking, spent = _reranked(cascade, queries, shortlist, one_by_one=one_by_one)
    whole = np.broadcast_to(WHOLE_IMAGE, ranking.boxes.shape)
    counts = ranking if cascade is not None else replace(ranking, boxes=whole)
    relevance = relevance_of(counts, gallery, bench.dataset)
    costs = _bytes(bench, method, cascade)
    measured = _measured(bench, method, counts, relevance, {**milliseconds, **spent}, costs)
    return Run(measured, ranking, relevance, gallery)


def _reranked(
    cascade: Cascade | None, queries: Queries, shortlist: Shortlist, *, one_by_one: bool
) -> tuple[Ranking, Milliseconds]:
    if cascade is None:
        return Ranking.of(shortlist, queries.crops, queries.views), dict.fromkeys(RERANK_TIMES)
    warm_up(cascade, queries, shortlist)
    clock = Clock()
    ranking = cascade.rerank(queries, shortlist)
    check_unfailed(ranking.failed)
    together = clock.lap(len(queries))
    alone = one_by_one_ms(cascade, queries, shortlist) if one_by_one else None
    return ranking, dict(zip(RERANK_TIMES, (together, alone), strict=True))


def _bytes(
    bench: Workbench, method: Method, cascade: Cascade | None
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the bytes an image and the bytes a query."""
    gallery, stages = bench.gallery(method), () if cascade is None else cascade.stages
    there = gallery.live_count
    most = there if method.candidates is None else min(method.candidates, there)
    image = {**bytes_per_image(gallery), "read": bytes_read(cascade, gallery)}
    return image, bytes_per_query(stages, gallery, most)


def _measured(
    bench: Workbench,
    method: Method,
    counts: Ranking,
    relevance: Relevance,
    milliseconds: Milliseconds,
    costs: tuple[dict[str, float], dict[str, float]],
) -> Measured:
    dataset = bench.dataset
    convention = bench.settings.convention or dataset_convention(dataset)
    metrics, precisions = measure(relevance, counts, convention)
    return Measured(
        metrics=metrics,
        areas=measure_areas(relevance, counts, dataset, convention),
        milliseconds=milliseconds,
        bytes_per_image=costs[0],
        bytes_per_query=costs[1],
        settings={**_record(bench, method), "AP": str(convention)},
        per_query=tuple(float(value) for value in precisions),
        localises=not bool(np.isnan(counts.boxes).all()),
        queries=len(dataset.queries),
        counted=counted(relevance, dataset),
        ties=ties_of(relevance, counts, convention),
        reliability=measure_probabilities(relevance, counts),
    )


def _record(bench: Workbench, method: Method) -> dict[str, str]:
    """Return the settings that the numbers of a method depend on."""
    data, encoder = bench.dataset, bench.encoder
    record = {
        "dataset": described(data),
        "encoder": f"{encoder.spec} {encoder.precision} ({encoder.backend.name})",
        "image_size": _pixels(encoder.preprocessing.image_size),
        "regions": bench.settings.regions.spec,
        "store": method.store.label,
        "first_stage": bench.settings.first_stage,
        **crop_record(data, bench.query_crop(method)),
        **method.record(data.fingerprint),
    }
    views = bench.query_views(method)
    if views is not None:
        record["query_views"] = views_record(views, bench.queries(method)[0])
    if data.asks_in_words:
        record["query templates"] = ", ".join(bench.settings.templates)
    if bench.dense is not None:
        record["local descriptors"] = f"of pictures at {_pixels(bench.dense.image_size)}"
        asked = bench.query_dense(method)
        if asked is not None:
            size, part = _pixels(asked.image_size), asked.selection.query_part
            record["local descriptors"] += f", of queries at {size} ({part})"
    return record


def _pixels(size: tuple[int, int]) -> str:
    return "x".join(map(str, size))
