"""Run the methods of a report on a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from patchrerank.analysis import Measured, Relevance, relevance_of
from patchrerank.analysis.compare import CompareSettings
from patchrerank.analysis.costs import bytes_read
from patchrerank.analysis.evaluation import Run, encode_dataset_queries
from patchrerank.analysis.galleries import dataset_gallery, stored_gallery, with_local_descriptors
from patchrerank.analysis.measurable import check_measurable, crop_record, described, ties_of
from patchrerank.analysis.measuring import counted as counted_by_bin
from patchrerank.analysis.measuring import dataset_convention, measure, measure_areas
from patchrerank.boxes import WHOLE_IMAGE
from patchrerank.first_stage import GlobalSearch
from patchrerank.gallery import Gallery
from patchrerank.pipeline import Cascade, make_cascade
from patchrerank.report.methods import Method, check_labels
from patchrerank.types import Queries, QueryCrop, Ranking, Shortlist

if TYPE_CHECKING:
    from patchrerank.datasets import Dataset
    from patchrerank.encoders import DenseEncoder, Encoder

Settings = dict[str, str]


def run_methods(
    dataset: Dataset,
    encoder: Encoder,
    methods: Sequence[Method],
    cache: Path,
    settings: CompareSettings,
) -> dict[str, Run]:
    """Evaluate methods behind one global first stage; return label → run.

    The first stage alone counts with the whole picture as its box, as everywhere; its ranking
    holds no boxes, since it does not look for any.

    Args:
        dataset: its queries are asked, with their boxes where they have any.
        encoder: of global vectors and patches.
        methods: with different labels.
        cache: galleries are kept below it, one for each store.
        settings: what all share.

    Raises:
        SettingError: no methods, or two of one label.
        PatchRerankError: whatever is wrong with pictures, data set or settings.
    """
    check_labels(methods)
    settings = replace(settings, query_crop=settings.query_crop or dataset.query_crop)
    check_measurable(dataset, settings.query_crop)
    bench = _Bench(dataset, encoder, cache, settings)
    return {method.label: bench.run(method) for method in methods}


@dataclass(frozen=True)
class _Bench:
    """What the methods share; galleries are opened and queries encoded once."""

    dataset: Dataset
    encoder: Encoder
    cache: Path
    settings: CompareSettings
    _galleries: dict[str, Gallery] = field(default_factory=dict)
    _queries: dict[tuple[str, QueryCrop], Queries] = field(default_factory=dict)

    def run(self, method: Method) -> Run:
        """Evaluate one."""
        gallery = self._gallery(method)
        crop = method.tuned.tuned_on.query_crop if method.tuned else self.settings.query_crop
        queries = self._asked(gallery, method, crop or "none")
        most = method.tuned.tuned_on.candidates if method.tuned else None
        shortlist = GlobalSearch(gallery).search(queries, most)
        cascade = self._cascade(method, gallery, crop or "none")
        if cascade is None:
            ranking = _first_stage(shortlist, queries.crops)
            counted = replace(ranking, boxes=np.broadcast_to(WHOLE_IMAGE, ranking.boxes.shape))
        else:
            ranking = counted = cascade.rerank(cascade.complete(queries), shortlist)
        relevance = relevance_of(counted, gallery, self.dataset)
        measured = self._measured(counted, relevance, self._record(method, queries.crop))
        read = {"read": bytes_read(cascade, gallery)}
        return Run(replace(measured, bytes_per_image=read), ranking, relevance, gallery)

    def _gallery(self, method: Method) -> Gallery:
        """Open or build the gallery, with local descriptors if they are wanted."""
        key = method.store.label
        if key not in self._galleries:
            build = self.settings.build
            regions = self.settings.regions
            built, _ = dataset_gallery(self.dataset, self.encoder, regions, self.cache, build)
            found = stored_gallery(
                built, self.dataset, self.encoder, method.store, progress=build.progress
            )
            self._galleries[key] = self._with_local(found)
        return self._galleries[key]

    def _with_local(self, gallery: Gallery) -> Gallery:
        dense = self.settings.dense_encoder
        if dense is None:
            return gallery
        progress = self.settings.build.progress
        return with_local_descriptors(gallery, self.dataset, dense, progress=progress)

    def _asked(self, gallery: Gallery, method: Method, crop: QueryCrop) -> Queries:
        key = (method.store.label if method.store.whiten else "", crop)
        if key not in self._queries:
            asked = encode_dataset_queries(self.dataset, self.encoder, gallery, crop)
            self._queries[key] = asked
        return self._queries[key]

    def _cascade(self, method: Method, gallery: Gallery, crop: QueryCrop) -> Cascade | None:
        if method.is_global:
            return None
        files = {image.id: image.file for image in self.dataset.images}
        dense = self._query_dense(method)
        if method.tuned is None:
            return make_cascade(method.stages, gallery, self.encoder, dense, crop, files)
        return method.tuned.cascade(gallery, self.encoder, dense, files)

    def _query_dense(self, method: Method) -> DenseEncoder | None:
        """Return what makes the local descriptors of queries; a tuned cascade has its own."""
        dense = self.settings.query_dense_encoder or self.settings.dense_encoder
        if method.tuned is None or dense is None:
            return dense
        local = method.tuned.tuned_on.local
        if local is None:
            return None
        part = replace(dense.selection, query_part=local.query_part)  # type: ignore[arg-type]
        return dense.resized(local.query_image_size, selection=part)

    def _measured(self, counted: Ranking, relevance: Relevance, record: Settings) -> Measured:
        convention = dataset_convention(self.dataset)
        metrics, precisions = measure(relevance, counted, convention)
        return Measured(
            metrics=metrics,
            areas=measure_areas(relevance, counted, self.dataset, convention),
            milliseconds={},
            bytes_per_image={},
            bytes_per_query={},
            settings={**record, "AP": str(convention)},
            per_query=tuple(float(value) for value in precisions),
            queries=len(self.dataset.queries),
            counted=counted_by_bin(relevance, self.dataset),
            ties=ties_of(relevance, counted, convention),
        )

    def _record(self, method: Method, crop: QueryCrop) -> Settings:
        """Return the settings that the numbers of a method depend on."""
        data, encoder = self.dataset, self.encoder
        record = {
            "dataset": described(data),
            "encoder": f"{encoder.spec} {encoder.precision} ({encoder.backend.name})",
            "image_size": _pixels(encoder.preprocessing.image_size),
            "regions": self.settings.regions.spec,
            **crop_record(data, crop),
            "method": method.described(data.fingerprint),
        }
        dense, asked = self.settings.dense_encoder, self._query_dense(method)
        if dense is not None:
            record["local descriptors"] = f"of pictures at {_pixels(dense.image_size)}" + (
                f", of queries at {_pixels(asked.image_size)} ({asked.selection.query_part})"
                if asked is not None
                else ""
            )
        return record


def _pixels(size: tuple[int, int]) -> str:
    return "x".join(map(str, size))


def shared_settings(runs: Mapping[str, Run]) -> Settings:
    """Return the settings of the runs; where they differ, each with its label.

    A method whose label says it all already is not repeated.
    """
    records = {label: run.measured.settings for label, run in runs.items()}
    shown = {}
    for name, value in next(iter(records.values())).items():
        values = {label: record[name] for label, record in records.items()}
        if len(set(values.values())) > 1:
            told = (f"{label}: {text}" for label, text in values.items() if label != text)
            value = "; ".join(told)
        if value not in ("", *records):
            shown[name] = value
    return shown


def _first_stage(shortlist: Shortlist, crops: tuple[QueryCrop, ...]) -> Ranking:
    scores = shortlist.scores
    unknown = np.full_like(scores, np.nan)
    boxes = np.full((*scores.shape, 4), np.nan, dtype=np.float32)
    return Ranking(shortlist.rows, scores, scores, unknown, boxes, crops)
