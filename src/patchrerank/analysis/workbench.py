"""What methods measured on one data set share: galleries opened and queries encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from patchrerank.analysis.costs import Clock
from patchrerank.analysis.galleries import dataset_gallery, stored_gallery, with_local_descriptors
from patchrerank.analysis.measurable import check_crop, check_measurable, queries_without_box
from patchrerank.analysis.methods import FIRST_STAGE, Method
from patchrerank.analysis.settings import LOCAL_SIZE, EvaluationSettings
from patchrerank.first_stage import GlobalSearch
from patchrerank.gallery import (
    Gallery,
    encode_queries,
    encode_text_queries,
    write_backgrounds,
)
from patchrerank.pipeline import Cascade, make_cascade
from patchrerank.rerankers.base import with_local
from patchrerank.types import Queries, QueryCrop, QueryViews, Shortlist, Text
from patchrerank.types.text import AS_GIVEN

if TYPE_CHECKING:
    from patchrerank.datasets import Dataset
    from patchrerank.encoders import DenseEncoder, Encoder, QueryPart


@dataclass(frozen=True)
class QueryView:
    """How a query picture is looked at for local descriptors."""

    image_size: int | tuple[int, int]
    part: QueryPart


class Workbench:
    """Galleries, encoded queries, shortlists and cascades of methods; each is made once.

    Args:
        dataset: its queries are asked, with their boxes where they have any.
        encoder: of global vectors and patches.
        methods: that will be asked for; what makes local descriptors is loaded if one needs it.
        settings: what all share.
        cache: galleries are kept below it, one for each store.

    Attributes:
        dense: makes the local descriptors of the gallery; None where no method compares any.

    Raises:
        DatasetError: there is nothing to measure.
        EncoderError: there are no local descriptors of this encoder.
    """

    def __init__(
        self,
        dataset: Dataset,
        encoder: Encoder,
        methods: Sequence[Method],
        settings: EvaluationSettings,
        cache: Path,
    ) -> None:
        self.dataset, self.encoder, self.cache, self.settings = dataset, encoder, cache, settings
        for crop in dict.fromkeys(self.query_crop(method) for method in methods):
            check_measurable(dataset, crop)
        self.files = {image.id: image.file for image in dataset.images}
        self.dense = self._load_dense(methods)
        self._galleries: dict[str, tuple[Gallery, float | None]] = {}
        self._queries: dict[object, tuple[Queries, float]] = {}
        self._shortlists: dict[object, tuple[Shortlist, float]] = {}

    def query_crop(self, method: Method) -> QueryCrop:
        """Return what is done with the queries' boxes; a tuned cascade decides it by itself."""
        if method.tuned is not None:
            return method.tuned.tuned_on.query_crop
        return self.settings.query_crop or self.dataset.query_crop

    def query_views(self, method: Method) -> QueryViews | None:
        """Return how query objects are composed; a tuned cascade decides it by itself."""
        if method.tuned is not None:
            return method.tuned.tuned_on.query_views
        return method.views or self.settings.query_views

    def gallery(self, method: Method = FIRST_STAGE) -> Gallery:
        """Open or build the gallery that a method looks at, with what it compares."""
        gallery, milliseconds = self._opened(method)
        if method.needs_local and self.dense is not None and not gallery.has_local:
            progress = self.settings.build.progress
            gallery = with_local_descriptors(gallery, self.dataset, self.dense, progress=progress)
            self._galleries[method.store.label] = gallery, milliseconds
        if self.query_views(method) is not None and not gallery.has_backgrounds:
            gallery = write_backgrounds(gallery, self.files)
            self._galleries[method.store.label] = gallery, milliseconds
        return gallery

    def index_ms(self, method: Method) -> float | None:
        """Return the milliseconds an image of building the gallery; None if it was there."""
        return self._opened(method)[1]

    def queries(self, method: Method = FIRST_STAGE) -> tuple[Queries, float]:
        """Encode the queries, in the data set's order, with what a method compares.

        Returns:
            The queries, and the milliseconds that each took.
        """
        view = self.query_view(method) if method.needs_local else None
        space, crop = method.store.label if method.store.whiten else "", self.query_crop(method)
        key = space, crop, self.query_views(method), view
        if key not in self._queries:
            plain = replace(method, stages=FIRST_STAGE.stages)
            self._queries[key] = (
                self._encoded(method, crop) if view is None else self._with_local(plain, method)
            )
        return self._queries[key]

    def shortlist(
        self, method: Method = FIRST_STAGE, candidates: int | None = None
    ) -> tuple[Shortlist, float]:
        """Search the gallery for the queries.

        Args:
            method: whose gallery and queries.
            candidates: of each query; None: those of a tuned cascade, else all.

        Returns:
            The shortlist, and the milliseconds that each query took.
        """
        most = method.candidates if candidates is None else candidates
        key = method.store.label, self.query_crop(method), self.query_views(method), most
        if key not in self._shortlists:
            queries, _ = self.queries(method)
            search = GlobalSearch(self.gallery(method), self.settings.first_stage)
            search.search(queries.take([0]), 2)  # loads and warms what it needs
            clock = Clock()
            self._shortlists[key] = search.search(queries, most), clock.lap(len(queries))
        return self._shortlists[key]

    def cascade(self, method: Method) -> Cascade | None:
        """Make a method's cascade; None for the first stage alone.

        Raises:
            SettingError: other encoders than those it was tuned with; something that a stage
                needs is not there.
        """
        if method.is_global:
            return None
        gallery, dense = self.gallery(method), self.query_dense(method)
        if method.tuned is not None:
            return method.tuned.cascade(gallery, self.encoder, dense, self.files)
        crop = self.query_crop(method)
        made = make_cascade(method.stages, gallery, self.encoder, dense, crop, self.files)
        return made.with_query_views(self.query_views(method))

    def query_view(self, method: Method) -> QueryView | None:
        """Return how queries are looked at for local descriptors; a tuned cascade has its own."""
        local = self.settings.local
        if method.tuned is None:
            return QueryView(local.query_image_size, local.query_part)
        tuned = method.tuned.tuned_on.local
        if tuned is None:
            return None
        return QueryView(tuned.query_image_size, tuned.query_part)

    def query_dense(self, method: Method) -> DenseEncoder | None:
        """Return what makes the local descriptors of a method's queries."""
        view = self.query_view(method)
        if self.dense is None or view is None:
            return None
        part = replace(self.dense.selection, query_part=view.part)
        return self.dense.resized(view.image_size, selection=part)

    def _load_dense(self, methods: Sequence[Method]) -> DenseEncoder | None:
        wanting = [method for method in methods if method.needs_local]
        if wanting:
            self.dataset.check_pictured(str(wanting[0]))
        local = self.settings.local
        if not wanting or local.encoder is not None:
            return local.encoder if wanting else None
        from patchrerank.encoders import load_dense_encoder

        tuned = (method.tuned.tuned_on.local for method in wanting if method.tuned is not None)
        own = next((found.image_size for found in tuned if found and found.image_size), LOCAL_SIZE)
        return load_dense_encoder(self.encoder, image_size=local.image_size or own)

    def _opened(self, method: Method) -> tuple[Gallery, float | None]:
        key = method.store.label
        if key not in self._galleries:
            clock, build = Clock(), self.settings.build
            regions = self.settings.regions
            built, there = dataset_gallery(self.dataset, self.encoder, regions, self.cache, build)
            milliseconds = None if there else clock.lap(len(self.dataset.images))
            found = stored_gallery(
                built, self.dataset, self.encoder, method.store, progress=build.progress
            )
            self._galleries[key] = found, milliseconds
        return self._galleries[key]

    def _encoded(self, method: Method, crop: QueryCrop) -> tuple[Queries, float]:
        gallery, templates = self.gallery(method), self.settings.templates
        one = replace(self.dataset, queries=self.dataset.queries[:1])
        views = self.query_views(method)
        asked = partial(encode_dataset_queries, encoder=self.encoder, gallery=gallery, views=views)
        asked(one, crop="none", templates=templates)  # warms the network
        clock = Clock()
        queries = asked(self.dataset, crop=crop, templates=templates)
        return queries, clock.lap(len(queries))

    def _with_local(self, plain: Method, method: Method) -> tuple[Queries, float]:
        queries, milliseconds = self.queries(plain)
        clock = Clock()
        queries = with_local(queries, self.query_dense(method))
        return queries, milliseconds + clock.lap(len(queries))


def encode_dataset_queries(
    dataset: Dataset,
    encoder: Encoder,
    gallery: Gallery,
    crop: QueryCrop,
    templates: Sequence[str] = AS_GIVEN,
    views: QueryViews | None = None,
) -> Queries:
    """Encode a data set's queries, in its order; those in words in the templates, without views.

    Raises:
        DatasetError: they are to be cut to their boxes, and none has one.
    """
    if dataset.asks_in_words:
        texts = [Text(query.text or "", templates) for query in dataset.queries]
        return encode_text_queries(encoder, texts, gallery.whitening)
    if crop == "box" and dataset.queries and queries_without_box(dataset) == len(dataset.queries):
        check_crop(dataset, crop)
    return encode_queries(
        encoder,
        [query.file for query in dataset.queries],
        boxes=[query.box for query in dataset.queries],
        crop=crop,
        views=views,
        backgrounds=None if views is None else gallery.backgrounds,
        whitening=gallery.whitening,
    )
