"""Rerankers side by side on one data set: how good, how fast, how many bytes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from patchrerank.analysis.costs import bytes_read
from patchrerank.analysis.evaluation import encode_dataset_queries
from patchrerank.analysis.galleries import dataset_gallery, with_local_descriptors
from patchrerank.analysis.measurable import Ties, check_measurable, ties_of
from patchrerank.analysis.measuring import AREA_BINS, counted, dataset_convention, measure
from patchrerank.analysis.relevance import positive_areas, relevance_of
from patchrerank.first_stage import GlobalSearch
from patchrerank.gallery import BuildOptions, Gallery
from patchrerank.pipeline import Cascade, make_cascade
from patchrerank.regions import Regions
from patchrerank.rerankers.execution import one_torch_thread
from patchrerank.types import Queries, QueryCrop, Ranking, Shortlist

if TYPE_CHECKING:
    from patchrerank.datasets import Dataset
    from patchrerank.encoders import DenseEncoder, Encoder

TIMED_CANDIDATES = 100
TIMED_QUERIES = 20


@dataclass(frozen=True)
class CompareSettings:
    """What all rerankers share.

    Attributes:
        regions: where patches are cut.
        dense_encoder: makes local descriptors of the gallery's images; None: none are made.
        query_dense_encoder: makes those of the queries, usually at a smaller image size.
        query_crop: what is done with a query's box before its global vector is encoded; None
            takes the data set's own.
        build: how the gallery is built.
    """

    regions: Regions
    dense_encoder: DenseEncoder | None = None
    query_dense_encoder: DenseEncoder | None = None
    query_crop: QueryCrop | None = None
    build: BuildOptions = field(default_factory=BuildOptions)


@dataclass(frozen=True)
class Compared:
    """One line of the comparison.

    Attributes:
        stages: the reranker, or cascade, as text.
        metrics: percent, higher is better; also ``mAP <10%``, for small objects.
        ms_per_query: median milliseconds for 100 candidates, queries one by one, one thread;
            encoding the query is not counted.
        bytes_per_image: what the method reads: patches, local descriptors, global vectors.
        AP: the convention's name.
        localises: any hit has a box; without one LocScore is 0.
        queries: of the data set.
        counted: over how many of them each mean is taken, for they have a positive: ``all``, and
            by object-area bin.
        ties: what candidates that tie leave open.
    """

    stages: str
    metrics: dict[str, float]
    ms_per_query: float
    bytes_per_image: float
    AP: str
    localises: bool
    queries: int
    counted: dict[str, int]
    ties: Ties

    def as_dict(self) -> dict[str, object]:
        """Return a JSON-able record."""
        return asdict(self)


def compare(
    dataset: Dataset,
    encoder: Encoder,
    stages: Sequence[str],
    cache: Path,
    settings: CompareSettings,
) -> list[Compared]:
    """Measure several rerankers or cascades behind one global first stage.

    Args:
        dataset: its queries are asked, with their boxes where they have any.
        encoder: of global vectors and patches.
        stages: each a cascade as text (see :func:`make_cascade`); ``global`` is the first stage
            alone. A stage without K rescores the full list.
        cache: galleries are kept below it.
        settings: what all share.
    """
    settings = replace(settings, query_crop=settings.query_crop or dataset.query_crop)
    check_measurable(dataset, settings.query_crop)
    gallery, _ = dataset_gallery(dataset, encoder, settings.regions, cache, settings.build)
    if settings.dense_encoder is not None:
        gallery = with_local_descriptors(
            gallery, dataset, settings.dense_encoder, progress=settings.build.progress
        )
    queries = encode_dataset_queries(dataset, encoder, gallery, settings.query_crop or "none")
    shortlist = GlobalSearch(gallery).search(queries)
    return [
        _compared(text, dataset, gallery, queries, shortlist, settings, encoder) for text in stages
    ]


def _compared(
    text: str,
    dataset: Dataset,
    gallery: Gallery,
    queries: Queries,
    shortlist: Shortlist,
    settings: CompareSettings,
    encoder: Encoder,
) -> Compared:
    convention = dataset_convention(dataset)
    cascade = None
    if text != "global":
        dense = settings.query_dense_encoder or settings.dense_encoder
        files = {image.id: image.file for image in dataset.images}
        cascade = make_cascade(text, gallery, encoder, dense, settings.query_crop or "none", files)
        queries = cascade.complete(queries)
    ranking = _as_ranking(shortlist) if cascade is None else cascade.rerank(queries, shortlist)
    relevance = relevance_of(ranking, gallery, dataset)
    metrics, _ = measure(relevance, ranking, convention)
    small = relevance.within(*AREA_BINS["<10%"], positive_areas(dataset))
    metrics["mAP <10%"] = measure(small, ranking, convention)[0]["mAP"]
    return Compared(
        stages=text,
        metrics=metrics,
        ms_per_query=float("nan") if cascade is None else _median_ms(cascade, queries, shortlist),
        bytes_per_image=bytes_read(cascade, gallery),
        AP=str(convention),
        localises=not bool(np.isnan(ranking.boxes).all()),
        queries=len(dataset.queries),
        counted=counted(relevance, dataset),
        ties=ties_of(relevance, ranking, convention),
    )


def _as_ranking(shortlist: Shortlist) -> Ranking:
    whole = np.broadcast_to(np.array([0, 0, 1, 1], np.float32), (*shortlist.rows.shape, 4))
    scores = shortlist.scores
    return Ranking(shortlist.rows, scores, scores, np.full_like(scores, np.nan), whole)


def _median_ms(cascade: Cascade, queries: Queries, shortlist: Shortlist) -> float:
    size, times = TIMED_CANDIDATES, []
    for number in range(min(len(queries), TIMED_QUERIES)):
        one = queries.take([number])
        head = Shortlist(
            shortlist.rows[number : number + 1, :size], shortlist.scores[number : number + 1, :size]
        )
        with one_torch_thread():
            begun = time.perf_counter()
            cascade.rerank(one, head)
            times.append(time.perf_counter() - begun)
    return 1000 * float(np.median(times)) if times else float("nan")
