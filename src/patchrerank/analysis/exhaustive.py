"""Patchify as the retriever: exhaustive patch search over a data set, by any faiss index."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from patchrerank.analysis.evaluation import encode_dataset_queries
from patchrerank.analysis.galleries import dataset_gallery
from patchrerank.analysis.measurable import check_measurable, with_positives
from patchrerank.analysis.measuring import dataset_convention, measure
from patchrerank.analysis.relevance import relevance_of
from patchrerank.analysis.training_vectors import train_label, training_vectors
from patchrerank.first_stage import PatchResult, PatchSearch, build_patch_index
from patchrerank.first_stage.patch_index import INDEX_FILE, RECORD_FILE
from patchrerank.gallery import BuildOptions, Gallery
from patchrerank.regions import Regions
from patchrerank.types import Queries, Ranking

if TYPE_CHECKING:
    from patchrerank.datasets import Dataset
    from patchrerank.encoders import Encoder

PUBLISHED_SWEEP = tuple(f"IVF{nlist},PQ{m}" for nlist in (2048, 4096) for m in (16, 32, 64))
"""Patchify's grid of index settings: m in 16, 32, 64; nlist in 2048, 4096; 8 bits a code."""


@dataclass(frozen=True)
class ExhaustiveResult:
    """One index, measured.

    Attributes:
        index: faiss factory string.
        nprobe: lists visited; None is the index's own setting.
        train_on: what the quantisers were trained on.
        metrics: percent, as in :class:`patchrerank.analysis.Measured`.
        index_bytes: size of the index file.
        search_ms: a query, median of single searches.
        fewest_found: the shortest list, in images.
        AP: the convention's name.
        queries: of the data set.
        counted: over how many of them each mean is taken, for they have a positive.
    """

    index: str
    nprobe: int | None
    train_on: str
    metrics: dict[str, float]
    index_bytes: int
    search_ms: float
    fewest_found: int
    AP: str
    queries: int
    counted: int

    def as_dict(self) -> dict[str, object]:
        """Return a JSON-able record."""
        return asdict(self)


def evaluate_exhaustive(
    dataset: Dataset,
    encoder: Encoder,
    regions: Regions,
    cache: Path,
    factories: Sequence[str],
    nprobe: int | None = None,
    train_on: str = "all",
    build: BuildOptions | None = None,
) -> list[ExhaustiveResult]:
    """Index all patches of a data set's images by each factory string, search, and measure.

    Args:
        dataset: its queries are asked; all images are wanted in each answer.
        encoder: encodes images and queries.
        regions: where patches are cut.
        cache: galleries and indexes are kept below it.
        factories: faiss factory strings.
        nprobe: lists visited, for inverted-file indexes.
        train_on: see :func:`patchrerank.analysis.training_vectors.training_vectors`; ``boxes``
            takes the data set's own true boxes.
        build: how the gallery is built.
    """
    build = build or BuildOptions()
    check_measurable(dataset)
    gallery, _ = dataset_gallery(dataset, encoder, regions, cache, build)
    queries = encode_dataset_queries(dataset, encoder, gallery, dataset.query_crop)
    train = training_vectors(gallery, train_on, dataset.root, encoder)
    results = []
    for factory in factories:
        name = f"{factory}-{train_label(train_on)}".replace(",", "_")
        folder = gallery.folder.with_name(f"{gallery.folder.name}-{name}")
        if not (folder / RECORD_FILE).exists():  # written last
            build_patch_index(
                gallery, folder, factory, train=train, train_on=train_on, progress=build.progress
            )
        search = PatchSearch(gallery, folder, nprobe if "IVF" in factory else None)
        found = search.search(queries, len(gallery))
        size = (folder / INDEX_FILE).stat().st_size
        results.append(_result(dataset, gallery, search, queries, found, nprobe, size))
    return results


def _result(
    dataset: Dataset,
    gallery: Gallery,
    search: PatchSearch,
    queries: Queries,
    found: PatchResult,
    nprobe: int | None,
    size: int,
) -> ExhaustiveResult:
    ranking = _ranking(found)
    convention = dataset_convention(dataset)
    metrics, _ = measure(relevance_of(ranking, gallery, dataset), ranking, convention)
    return ExhaustiveResult(
        index=search.record.factory,
        nprobe=nprobe if "IVF" in search.record.factory else None,
        train_on=search.record.train_on,
        metrics=metrics,
        index_bytes=size,
        search_ms=_median_ms(search, queries),
        fewest_found=int(found.found.min()) if len(found.found) else 0,
        AP=str(convention),
        queries=len(dataset.queries),
        counted=with_positives(dataset),
    )


def _ranking(found: PatchResult) -> Ranking:
    scores = found.shortlist.scores
    return Ranking(found.shortlist.rows, scores, scores, scores, found.boxes)


def _median_ms(search: PatchSearch, queries: Queries, size: int = 100) -> float:
    """Return the median milliseconds of single searches for 100 images."""
    times = []
    for number in range(len(queries)):
        one = queries.take([number])
        begun = time.perf_counter()
        search.search(one, size)
        times.append(time.perf_counter() - begun)
    return 1000 * float(np.median(times)) if times else float("nan")
