"""Evaluate a data set: first stage, Patchify or a tuned cascade, metrics, time and bytes."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from patchrerank.analysis.costs import Clock, bytes_per_image, bytes_per_query, stages_of
from patchrerank.analysis.galleries import StoreSettings, dataset_gallery, stored_gallery
from patchrerank.analysis.measurable import (
    Ties,
    check_crop,
    check_measurable,
    crop_record,
    described,
    queries_without_box,
    ties_of,
)
from patchrerank.analysis.measuring import counted, dataset_convention, measure, measure_areas
from patchrerank.analysis.relevance import Relevance, relevance_of
from patchrerank.analysis.tuned import dataset_cascade
from patchrerank.datasets import Dataset
from patchrerank.first_stage import GlobalSearch
from patchrerank.fusion import Fusion
from patchrerank.gallery import BuildOptions, Gallery, encode_queries
from patchrerank.metrics import (
    APConvention,
)
from patchrerank.pipeline import Cascade, Tuned
from patchrerank.regions import GridPyramid, Regions
from patchrerank.rerankers import Patchify, Ranker
from patchrerank.types import Queries, QueryCrop, Ranking

if TYPE_CHECKING:
    from patchrerank.encoders import DenseEncoder, Encoder


@dataclass(frozen=True)
class EvaluationSettings:
    """What is evaluated.

    Attributes:
        regions: where Patchify looks.
        fusion: λ, γ and the shortlist size; the default is the patch score alone on the full
            list.
        query_crop: ``none`` (whole query picture) or ``box``; None takes the data set's own.
        first_stage: faiss factory string over the global vectors.
        convention: how average precision is computed; None takes the data set's own.
        store: how patch vectors are stored.
        build: how the gallery is built.
        tuned: a tuned cascade in place of Patchify; its own fusions, query crop and number of
            first-stage candidates are used.
        dense_encoder: makes the gallery's local descriptors, if that cascade compares any.
    """

    regions: Regions = field(default_factory=lambda: GridPyramid(3))
    fusion: Fusion = field(default_factory=Fusion)
    query_crop: QueryCrop | None = None
    first_stage: str = "Flat"
    convention: APConvention | None = None
    store: StoreSettings = field(default_factory=StoreSettings)
    build: BuildOptions = field(default_factory=BuildOptions)
    tuned: Tuned | None = None
    dense_encoder: DenseEncoder | None = None


@dataclass(frozen=True)
class Measured:
    """The figures of one evaluation; all metrics in percent, higher is better.

    Attributes:
        metrics: mAP, LocScore, LocScore(0.3/0.4/0.5), mLocScore, recall@1/10.
        areas: the same for positives of each object-area bin (others removed as junk).
        milliseconds: index (an image; None if the gallery was there already), encode, first
            stage and rerank (a query).
        bytes_per_image: patch vectors and all arrays.
        bytes_per_query: its vector, and the patch vectors (and, by a tuned cascade, local
            descriptors) read to rescore its candidates.
        settings: everything that the numbers depend on, with the AP convention's name.
        per_query: average precision of each query, NaN without positives, in the data set's
            order.
        queries: of the data set.
        counted: over how many of them each mean is taken, for they have a positive: ``all``, and
            by object-area bin.
        ties: what candidates that tie leave open.
    """

    metrics: dict[str, float]
    areas: dict[str, dict[str, float]]
    milliseconds: dict[str, float | None]
    bytes_per_image: dict[str, float]
    bytes_per_query: dict[str, float]
    settings: dict[str, str]
    per_query: tuple[float, ...]
    queries: int
    counted: dict[str, int]
    ties: Ties

    def as_dict(self) -> dict[str, object]:
        """Return a JSON-able record."""
        return asdict(self)


@dataclass(frozen=True)
class Run:
    """An evaluation with what it was computed from."""

    measured: Measured
    ranking: Ranking
    relevance: Relevance
    gallery: Gallery


def evaluate(
    dataset: Dataset,
    encoder: Encoder,
    settings: EvaluationSettings | None = None,
    cache: str | Path | None = None,
) -> Run:
    """Index a data set's images, search and rerank its queries, and measure.

    Args:
        dataset: see :func:`patchrerank.datasets.load_dataset`.
        encoder: encodes images and queries.
        settings: see :class:`EvaluationSettings`.
        cache: folder where galleries are kept and found again; None uses a temporary one.

    Raises:
        PatchRerankError: whatever is wrong with pictures, data set or settings.
    """
    settings = settings or EvaluationSettings()
    settings = replace(settings, query_crop=settings.query_crop or dataset.query_crop)
    tuned = settings.tuned
    check_measurable(dataset, settings.query_crop if tuned is None else tuned.tuned_on.query_crop)
    if cache is None:
        with tempfile.TemporaryDirectory(prefix="patchrerank-") as scratch:
            return _evaluate(dataset, encoder, settings, Path(scratch))
    return _evaluate(dataset, encoder, settings, Path(cache))


def _evaluate(dataset: Dataset, encoder: Encoder, settings: EvaluationSettings, cache: Path) -> Run:
    clock = Clock()
    gallery, cached = dataset_gallery(dataset, encoder, settings.regions, cache, settings.build)
    index_ms = None if cached else clock.lap(len(dataset.images))
    gallery = stored_gallery(
        gallery, dataset, encoder, settings.store, progress=settings.build.progress
    )
    reranker = _ranker(gallery, dataset, encoder, settings)
    gallery = reranker.gallery
    clock.lap(1)
    queries = encode_dataset_queries(dataset, encoder, gallery, reranker.query_crop)
    if isinstance(reranker, Cascade):
        queries = reranker.complete(queries)
    encode_ms = clock.lap(len(queries))
    search = GlobalSearch(gallery, settings.first_stage)
    _warm_up(reranker, search, queries)
    clock.lap(1)
    shortlist = search.search(queries, _candidates(settings))
    search_ms = clock.lap(len(queries))
    ranking = reranker.rerank(queries, shortlist)
    rerank_ms = clock.lap(len(queries))
    convention = settings.convention or dataset_convention(dataset)
    relevance = relevance_of(ranking, gallery, dataset)
    metrics, precisions = measure(relevance, ranking, convention)
    measured = Measured(
        metrics=metrics,
        areas=measure_areas(relevance, ranking, dataset, convention),
        milliseconds={
            "index_per_image": index_ms,
            "encode_per_query": encode_ms,
            "first_stage_per_query": search_ms,
            "rerank_per_query": rerank_ms,
        },
        bytes_per_image=bytes_per_image(gallery),
        bytes_per_query=_bytes_per_query(reranker, settings),
        settings=_record(dataset, encoder, settings, convention),
        per_query=tuple(float(value) for value in precisions),
        queries=len(dataset.queries),
        counted=counted(relevance, dataset),
        ties=ties_of(relevance, ranking, convention),
    )
    return Run(measured, ranking, relevance, gallery)


def _ranker(
    gallery: Gallery, dataset: Dataset, encoder: Encoder, settings: EvaluationSettings
) -> Ranker:
    if settings.tuned is None:
        return Patchify(gallery, encoder, settings.fusion, settings.query_crop or "none")
    progress = settings.build.progress
    return dataset_cascade(
        settings.tuned, gallery, dataset, encoder, settings.dense_encoder, progress=progress
    )


def _candidates(settings: EvaluationSettings) -> int | None:
    return None if settings.tuned is None else settings.tuned.tuned_on.candidates


def _warm_up(reranker: Ranker, search: GlobalSearch, queries: Queries) -> None:
    """Let kernels compile before anything is timed."""
    one = queries.take(range(min(1, len(queries))))
    reranker.rerank(one, search.search(one, 2))


def encode_dataset_queries(
    dataset: Dataset, encoder: Encoder, gallery: Gallery, crop: QueryCrop
) -> Queries:
    """Encode a data set's queries, in its order.

    Raises:
        DatasetError: they are to be cut to their boxes, and none has one.
    """
    if crop == "box" and dataset.queries and queries_without_box(dataset) == len(dataset.queries):
        check_crop(dataset, crop)
    return encode_queries(
        encoder,
        [query.file for query in dataset.queries],
        boxes=[query.box for query in dataset.queries],
        crop=crop,
        whitening=gallery.whitening,
    )


def _bytes_per_query(reranker: Ranker, settings: EvaluationSettings) -> dict[str, float]:
    gallery, most = reranker.gallery, _candidates(settings)
    candidates = len(gallery) if most is None else min(most, len(gallery))
    return bytes_per_query(stages_of(reranker), gallery, candidates)


def _record(
    dataset: Dataset, encoder: Encoder, settings: EvaluationSettings, convention: APConvention
) -> dict[str, str]:
    tuned = settings.tuned
    return {
        "dataset": described(dataset),
        "encoder": f"{encoder.spec} {encoder.precision} ({encoder.backend.name})",
        "image_size": "x".join(map(str, encoder.preprocessing.image_size)),
        "regions": settings.regions.spec,
        "store": settings.store.label,
        "first_stage": settings.first_stage,
        **crop_record(
            dataset, str(settings.query_crop if tuned is None else tuned.tuned_on.query_crop)
        ),
        **(_fused(settings.fusion) if tuned is None else _tuned(tuned, dataset)),
        "AP": str(convention),
    }


def _fused(fusion: Fusion) -> dict[str, str]:
    size = fusion.shortlist_size
    shown = "all" if size is None else str(size)
    return {"lam": str(fusion.lam), "gamma": str(fusion.gamma), "shortlist_size": shown}


def _tuned(tuned: Tuned, dataset: Dataset) -> dict[str, str]:
    same = tuned.tuned_on.dataset == dataset.fingerprint
    where = "this data set (optimistic figures)" if same else "another data set"
    return {"stages": str(tuned), "tuned_on": where}
