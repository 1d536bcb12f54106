"""Scoring pairs for a table: rerankers, the queries they are asked, and the ground truth."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from patchrerank.errors import DatasetError, SettingError, TableError
from patchrerank.metrics import best_iou
from patchrerank.pipeline import make_cascade, parse_stages
from patchrerank.rerankers import Reranker
from patchrerank.rerankers.fallback import check_unfailed
from patchrerank.tuning.fused.query_scores import GLOBAL
from patchrerank.tuning.tables._reranker_records import describe
from patchrerank.types import EMPTY, Floats, Queries, QueryCrop, Rows, Shortlist

if TYPE_CHECKING:
    from patchrerank.datasets import Dataset, DatasetImage
    from patchrerank.encoders import DenseEncoder, Encoder
    from patchrerank.gallery import Gallery
    from patchrerank.images import ImageSource
    from patchrerank.metrics.lists import Bools


def rerankers_of(
    stages: str,
    gallery: Gallery,
    encoder: Encoder | None = None,
    dense_encoder: DenseEncoder | None = None,
    query_crop: QueryCrop = "none",
    images: Mapping[str, ImageSource] | None = None,
) -> dict[str, Reranker]:
    """Return the rerankers of stages such as ``patchify:400,chamfer+refine``, by stage name.

    λ, γ and sizes in the text are ignored. For the rest see
    :func:`patchrerank.pipeline.make_cascade`.
    """
    made: dict[str, Reranker] = {}
    for spec in parse_stages(stages):
        cascade = make_cascade(spec.reranker, gallery, encoder, dense_encoder, query_crop, images)
        made[spec.reranker] = cascade.stages[0].reranker
    return made


class PairScorer:
    """Everything that is needed to score pairs of a data set's queries and a gallery's images.

    Args:
        dataset: the ground truth; its queries, in order, are the ones that are asked.
        gallery: of the data set's images, or of some of them.
        rerankers: by the name that the table knows them by; see :func:`rerankers_of`.
        queries: the data set's queries, encoded. Local descriptors are added where a reranker
            needs them and has an encoder for them.

    A reranker's scores may depend on the list beside the pair: query expansion and SuperGlobal
    look at the first candidates. Any other reranker that does so says it by an attribute
    ``list_depth``, the number of first candidates it looks at.

    Raises:
        TableError: another number of queries than the data set has.
        DatasetError: the gallery holds images that the data set does not name.
        SettingError: a reranker on another gallery, or called ``global``.
    """

    def __init__(
        self,
        dataset: Dataset,
        gallery: Gallery,
        rerankers: Mapping[str, Reranker],
        queries: Queries,
    ) -> None:
        if len(queries) != len(dataset.queries):
            raise TableError(f"{len(queries)} queries, but the data set has {len(dataset.queries)}")
        for name, reranker in rerankers.items():
            if not name or name == GLOBAL or reranker.gallery is not gallery:
                raise SettingError(f"reranker {name!r}: needs this gallery and a name of its own")
            queries = reranker.complete(queries)
        self.dataset = dataset
        self.gallery = gallery
        self.rerankers = dict(rerankers)
        self.queries = queries
        self.list_depths = {
            name: reranker.list_depth for name, reranker in rerankers.items() if reranker.list_depth
        }
        self._images = _images_of(dataset, gallery)

    def score(
        self, name: str, numbers: Rows, shortlist: Shortlist, relevant: Bools
    ) -> tuple[Floats, Floats]:
        """Return local scores and overlaps, float32 ``(q, k)``, as a score table holds them.

        Args:
            name: of the reranker.
            numbers: int64 ``(q,)``, which queries.
            shortlist: ``(q, k)``, their candidates.
            relevant: bool ``(q, k)``.

        Raises:
            TableError: the reranker returned NaN, which would mean "not computed".
            RerankerError: it could not score a query.
        """
        found = self.rerankers[name].score(self.queries.take(numbers.tolist()), shortlist)
        check_unfailed(found.failed)
        valid = shortlist.rows != EMPTY
        scores = np.where(valid, found.scores, np.float32(-np.inf)).astype(np.float32)
        if np.isnan(scores).any():
            raise TableError(f"reranker {name!r} returned NaN; no evidence is −inf")
        overlaps = np.full(scores.shape, np.nan, dtype=np.float32)
        if found.boxes is not None:
            located = valid & ~np.isnan(found.boxes).any(axis=-1)
            overlaps[located] = 0.0
            hits = located & relevant
            truths = [
                self._images[row].boxes_of(self.dataset.queries[query].instance)
                for query, row in zip(
                    numbers[np.nonzero(hits)[0]], shortlist.rows[hits], strict=True
                )
            ]
            overlaps[hits] = best_iou(found.boxes[hits], truths)
        return scores, overlaps

    def reads(self, name: str) -> dict[str, float]:
        """Return the bytes an image that a reranker reads, by what is read."""
        return self.rerankers[name].bytes_read()

    def gallery_ids(self) -> tuple[str, ...]:
        """Return the id of each gallery row, and another name for each that was removed."""
        names = list(self.gallery.ids)
        for row in np.flatnonzero(self.gallery.removed).tolist():
            names[row] = f"removed row {row}"
        return tuple(names)

    def fingerprint(self, size: int) -> str:
        """Return a hash of everything that a table of K = ``size`` slots is made of."""
        truth = [
            (image.id, str(image.instance), image.boxes.tolist(), image.area)
            for image in self.dataset.images
        ]
        made_of = {
            "queries": [(query.id, str(query.instance)) for query in self.dataset.queries],
            "truth": truth,
            "crop": self.queries.crop,
            "encoder": self.queries.encoder,
            "gallery": self.gallery.manifest.plan(),
            "ids": list(self.gallery.ids),
            **({"live": self.gallery.live.tolist()} if self.gallery.removed.any() else {}),
            "rerankers": {name: describe(item) for name, item in self.rerankers.items()},
            "size": size,
        }
        lists = [(query.positives, query.junk) for query in self.dataset.queries]
        if any(positives or junk for positives, junk in lists):
            made_of["lists"] = lists
        return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()


def _images_of(dataset: Dataset, gallery: Gallery) -> dict[int, DatasetImage]:
    """Return the data set's image of each gallery row that is there."""
    known = {image.id: image for image in dataset.images}
    strangers = [name for name in gallery.ids.living() if name not in known]
    if strangers:
        raise DatasetError(
            f"{dataset.root}: {len(strangers)} images of the gallery {gallery.folder} are not in "
            f"this data set, for example {strangers[0]!r}"
        )
    names = zip(gallery.live.tolist(), gallery.ids.living(), strict=True)
    return {row: known[name] for row, name in names}
