"""Patchify as the retriever: exhaustive patch search over a data set, by any faiss index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from patchrerank.analysis.costs import TIMED_CANDIDATES, median_ms
from patchrerank.analysis.measurable import with_positives
from patchrerank.analysis.measuring import dataset_convention, measure
from patchrerank.analysis.methods import FIRST_STAGE
from patchrerank.analysis.relevance import relevance_of
from patchrerank.analysis.settings import EvaluationSettings, cache_folder
from patchrerank.analysis.training_vectors import train_label, training_vectors
from patchrerank.analysis.workbench import Workbench
from patchrerank.first_stage import PatchResult, PatchSearch, build_patch_index
from patchrerank.first_stage.patch_index import INDEX_FILE, RECORD_FILE
from patchrerank.gallery import BuildOptions
from patchrerank.regions import Regions
from patchrerank.types import Floats, Ranking

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
    cache: Path | None,
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
        cache: galleries and indexes are kept below it; None uses a temporary one.
        factories: faiss factory strings.
        nprobe: lists visited, for inverted-file indexes.
        train_on: see :func:`patchrerank.analysis.training_vectors.training_vectors`; ``boxes``
            takes the data set's own true boxes.
        build: how the gallery is built.
    """
    settings = EvaluationSettings(regions, build=build or BuildOptions())
    with cache_folder(cache) as folder:
        bench = Workbench(dataset, encoder, [FIRST_STAGE], settings, folder)
        train = training_vectors(bench.gallery(), train_on, dataset.root, encoder)
        return [_result(bench, _index(bench, f, train, train_on), f, nprobe) for f in factories]


def _index(bench: Workbench, factory: str, train: Floats | None, train_on: str) -> Path:
    """Return the folder of an index over the gallery's patches, built if it is not there."""
    gallery, progress = bench.gallery(), bench.settings.build.progress
    name = f"{factory}-{train_label(train_on)}".replace(",", "_")
    folder = gallery.folder.with_name(f"{gallery.folder.name}-{name}")
    if not (folder / RECORD_FILE).exists():  # written last
        build_patch_index(
            gallery, folder, factory, train=train, train_on=train_on, progress=progress
        )
    return folder


def _result(bench: Workbench, folder: Path, factory: str, nprobe: int | None) -> ExhaustiveResult:
    dataset, gallery = bench.dataset, bench.gallery()
    queries, _ = bench.queries()
    single = [queries.take([number]) for number in range(len(queries))]
    search = PatchSearch(gallery, folder, nprobe if "IVF" in factory else None)
    found = search.search(queries, len(gallery))
    ranking = _ranking(found)
    convention = dataset_convention(dataset)
    metrics, _ = measure(relevance_of(ranking, gallery, dataset), ranking, convention)
    return ExhaustiveResult(
        index=search.record.factory,
        nprobe=nprobe if "IVF" in search.record.factory else None,
        train_on=search.record.train_on,
        metrics=metrics,
        index_bytes=(folder / INDEX_FILE).stat().st_size,
        search_ms=median_ms(
            lambda number: search.search(single[number], TIMED_CANDIDATES), len(single)
        ),
        fewest_found=int(found.found.min()) if len(found.found) else 0,
        AP=str(convention),
        queries=len(dataset.queries),
        counted=with_positives(dataset),
    )


def _ranking(found: PatchResult) -> Ranking:
    scores = found.shortlist.scores
    return Ranking(found.shortlist.rows, scores, scores, scores, found.boxes)
