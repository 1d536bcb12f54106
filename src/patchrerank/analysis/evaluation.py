"""Evaluate a data set: first stage, Patchify, fusion, metrics, time and bytes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchrerank.analysis.galleries import StoreSettings, dataset_gallery, stored_gallery
from patchrerank.analysis.relevance import Relevance, positive_areas, relevance_of
from patchrerank.datasets import Dataset
from patchrerank.first_stage import GlobalSearch
from patchrerank.fusion import Fusion
from patchrerank.gallery import BuildOptions, Gallery, encode_queries
from patchrerank.gallery.stores import PATCH_ARRAYS
from patchrerank.metrics import (
    APConvention,
    average_precisions,
    locscores,
    mean_over_queries,
    mlocscores,
    parse_convention,
    recalls_at,
)
from patchrerank.regions import GridPyramid, Regions
from patchrerank.rerankers import Patchify
from patchrerank.types import Queries, QueryCrop, Ranking

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder

AREA_BINS = {"<10%": (0.0, 0.10), "10-25%": (0.10, 0.25), "25-70%": (0.25, 0.70)}
DELTAS = (0.3, 0.4, 0.5)
RECALL_DEPTHS = (1, 10)


@dataclass(frozen=True)
class EvaluationSettings:
    """What is evaluated.

    Attributes:
        regions: where Patchify looks.
        fusion: λ, γ and the shortlist size; the default is the patch score alone on the full
            list.
        query_crop: ``none`` (whole query picture) or ``box``.
        first_stage: faiss factory string over the global vectors.
        convention: how average precision is computed; None takes the data set's own.
        store: how patch vectors are stored.
        build: how the gallery is built.
    """

    regions: Regions = field(default_factory=lambda: GridPyramid(3))
    fusion: Fusion = field(default_factory=Fusion)
    query_crop: QueryCrop = "none"
    first_stage: str = "Flat"
    convention: APConvention | None = None
    store: StoreSettings = field(default_factory=StoreSettings)
    build: BuildOptions = field(default_factory=BuildOptions)


@dataclass(frozen=True)
class Measured:
    """The figures of one evaluation; all metrics in percent, higher is better.

    Attributes:
        metrics: mAP, LocScore, LocScore(0.3/0.4/0.5), mLocScore, recall@1/10.
        areas: the same for positives of each object-area bin (others removed as junk).
        milliseconds: index (an image; None if the gallery was there already), encode, first
            stage and rerank (a query).
        bytes_per_image: patch vectors and all arrays.
        bytes_per_query: its vector, and the patch vectors read to rescore its candidates.
        settings: everything that the numbers depend on, with the AP convention's name.
        per_query: average precision of each query, NaN without positives, in the data set's
            order.
    """

    metrics: dict[str, float]
    areas: dict[str, dict[str, float]]
    milliseconds: dict[str, float | None]
    bytes_per_image: dict[str, float]
    bytes_per_query: dict[str, float]
    settings: dict[str, str]
    per_query: tuple[float, ...]

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
        dataset: see :meth:`patchrerank.datasets.Dataset.load`.
        encoder: encodes images and queries.
        settings: see :class:`EvaluationSettings`.
        cache: folder where galleries are kept and found again; None uses a temporary one.

    Raises:
        PatchRerankError: whatever is wrong with pictures, data set or settings.
    """
    settings = settings or EvaluationSettings()
    if cache is None:
        with tempfile.TemporaryDirectory(prefix="patchrerank-") as scratch:
            return _evaluate(dataset, encoder, settings, Path(scratch))
    return _evaluate(dataset, encoder, settings, Path(cache))


def measure(
    relevance: Relevance, ranking: Ranking, convention: APConvention
) -> tuple[dict[str, float], npt.NDArray[np.float64]]:
    """Return the metrics (percent) of a ranking and each query's average precision (0 to 1)."""
    seen: dict[str, Any] = {
        "n_positives": relevance.n_positives,
        "junk": relevance.junk,
        "valid": relevance.valid,
    }
    how: dict[str, Any] = {**seen, "convention": convention, "scores": ranking.scores}
    relevant, overlap = relevance.relevant, relevance.iou
    precisions = average_precisions(relevant, **how)
    by_query = {"mAP": precisions, "LocScore": locscores(relevant, overlap, **how)}
    for delta in DELTAS:
        by_query[f"LocScore({delta})"] = locscores(relevant, overlap, delta=delta, **how)
    by_query["mLocScore"] = mlocscores(relevant, overlap, **how)
    for depth in RECALL_DEPTHS:
        by_query[f"recall@{depth}"] = recalls_at(relevant, depth, **seen)
    metrics = {name: 100 * mean_over_queries(values) for name, values in by_query.items()}
    return metrics, precisions


def _evaluate(dataset: Dataset, encoder: Encoder, settings: EvaluationSettings, cache: Path) -> Run:
    clock = _Clock()
    gallery, cached = dataset_gallery(dataset, encoder, settings.regions, cache, settings.build)
    index_ms = None if cached else clock.lap(len(dataset.images))
    gallery = stored_gallery(
        gallery, dataset, encoder, settings.store, progress=settings.build.progress
    )
    clock.lap(1)
    queries = encode_dataset_queries(dataset, encoder, gallery, settings.query_crop)
    encode_ms = clock.lap(len(queries))
    search = GlobalSearch(gallery, settings.first_stage)
    reranker = Patchify(gallery, encoder, settings.fusion, settings.query_crop)
    _warm_up(reranker, search, queries)
    clock.lap(1)
    shortlist = search.search(queries)
    search_ms = clock.lap(len(queries))
    ranking = reranker.rerank(queries, shortlist)
    rerank_ms = clock.lap(len(queries))
    convention = settings.convention or dataset_convention(dataset)
    relevance = relevance_of(ranking, gallery, dataset)
    metrics, precisions = measure(relevance, ranking, convention)
    measured = Measured(
        metrics=metrics,
        areas=_by_area(relevance, ranking, dataset, convention),
        milliseconds={
            "index_per_image": index_ms,
            "encode_per_query": encode_ms,
            "first_stage_per_query": search_ms,
            "rerank_per_query": rerank_ms,
        },
        bytes_per_image=bytes_per_image(gallery),
        bytes_per_query=_bytes_per_query(gallery, settings.fusion.shortlist_size),
        settings=_record(dataset, encoder, settings, convention),
        per_query=tuple(float(value) for value in precisions),
    )
    return Run(measured, ranking, relevance, gallery)


def _warm_up(reranker: Patchify, search: GlobalSearch, queries: Queries) -> None:
    """Let kernels compile before anything is timed."""
    one = Queries(queries.vectors[:1])
    reranker.rerank(one, search.search(one, 2))


def encode_dataset_queries(
    dataset: Dataset, encoder: Encoder, gallery: Gallery, crop: QueryCrop
) -> Queries:
    """Encode a data set's queries, in its order."""
    return encode_queries(
        encoder,
        [query.file for query in dataset.queries],
        boxes=[query.box for query in dataset.queries],
        crop=crop,
        whitening=gallery.whitening,
    )


def dataset_convention(dataset: Dataset) -> APConvention:
    """Return the average-precision convention that the data set fixes."""
    return parse_convention(dataset.convention)


def bytes_per_image(gallery: Gallery) -> dict[str, float]:
    """Return the bytes an image takes: its patch vectors, and everything."""
    sizes = gallery.nbytes()
    images = max(len(gallery), 1)
    patches = sum(size for name, size in sizes.items() if name in PATCH_ARRAYS)
    return {"patches": patches / images, "all": sum(sizes.values()) / images}


def _bytes_per_query(gallery: Gallery, size: int | None) -> dict[str, float]:
    candidates = len(gallery) if size is None else min(size, len(gallery))
    read = candidates * bytes_per_image(gallery)["patches"]
    return {"vector": 4.0 * gallery.dim, "patches_read": read}


def _by_area(
    relevance: Relevance, ranking: Ranking, dataset: Dataset, convention: APConvention
) -> dict[str, dict[str, float]]:
    areas = positive_areas(dataset)
    return {
        name: measure(relevance.within(low, high, areas), ranking, convention)[0]
        for name, (low, high) in AREA_BINS.items()
    }


def _record(
    dataset: Dataset, encoder: Encoder, settings: EvaluationSettings, convention: APConvention
) -> dict[str, str]:
    fused: Mapping[str, object] = asdict(settings.fusion)
    size = settings.fusion.shortlist_size
    return {
        "dataset": f"{dataset.root.name} ({len(dataset.queries)} queries, "
        f"{len(dataset.images)} images)",
        "encoder": f"{encoder.spec} {encoder.precision} ({encoder.backend.name})",
        "image_size": "x".join(map(str, encoder.preprocessing.image_size)),
        "regions": settings.regions.spec,
        "store": settings.store.label,
        "first_stage": settings.first_stage,
        "query_crop": settings.query_crop,
        "lam": str(fused["lam"]),
        "gamma": str(fused["gamma"]),
        "shortlist_size": "all" if size is None else str(size),
        "AP": str(convention),
    }


class _Clock:
    """Milliseconds between laps."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self, count: int) -> float:
        """Return the milliseconds since the last lap, divided by ``count``."""
        now = time.perf_counter()
        elapsed, self._last = now - self._last, now
        return 1000 * elapsed / max(count, 1)
