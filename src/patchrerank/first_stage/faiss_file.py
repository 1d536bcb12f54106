"""Somebody's faiss index file as the first stage."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from patchrerank.boxes import Floats
from patchrerank.errors import (
    GalleryError,
    SettingError,
    ShortlistError,
    near_matches,
    short_reason,
    shown,
)
from patchrerank.faiss_files import open_index
from patchrerank.first_stage.index_labels import LabelIds, rows_by_label
from patchrerank.first_stage.index_sample import check_sample, not_unit
from patchrerank.gallery import Gallery
from patchrerank.types import EMPTY, Missing, Queries, Rows, Shortlist
from patchrerank.types.missing import UNHELD, check_missing, told_apart

SETTINGS = ("nprobe", "efSearch", "quantizer_efSearch", "k_factor_rf", "max_codes")
"""What may be set of an index; which of them it has, faiss knows."""

MOST = (1 << 31) - 1
MOST_RESULTS = 10_000_000
"""Vectors that one faiss call may return; more queries go in several calls."""

BEYOND = 1.25
"""No decoded vector makes a cosine larger than this, if it was of unit length once."""


class FaissFile:
    """First stage: a faiss index that is there already, with the labels that its owner gave.

    Args:
        gallery: holds the images that the index finds.
        path: the index file; it stays as it is, and on disk where faiss can map it. Its metric is
            inner product or L2, its vectors are of unit length and of the gallery's encoder.
        ids: the id behind each label: a list (``ids[label]``), a mapping ``{label: id}``, or a
            file of either (``.npy``, ``.json``, or one id a line). None: labels are the ids of a
            gallery whose ids are whole numbers; of another one the rows, where the index has no
            labels of its own and as many vectors as the gallery images.
        missing: a label that the gallery does not hold is an ``error``; or ``keep``: its id
            keeps its place and score among the hits; or ``drop``: passed over.
        settings: of the index, where it has them: ``nprobe``, ``efSearch``,
            ``quantizer_efSearch``, ``k_factor_rf``, ``max_codes``.

    Raises:
        GalleryError: no index there, a damaged one, one of another dimension or metric, or its
            vectors are not of unit length (as far as they can be read back); labels are rows,
            and some of its vectors are of other images than stand there now.
        SettingError: ids that do not fit, an unknown setting, or one that the index has not.
        ShortlistError: ids that the gallery does not hold, and ``missing`` does not drop them.
    """

    def __init__(
        self,
        gallery: Gallery,
        path: str | os.PathLike[str],
        *,
        ids: LabelIds | None = None,
        missing: Missing = "error",
        **settings: float,
    ) -> None:
        check_missing(missing)
        self.gallery, self.path, self.missing = gallery, Path(path), missing
        self.index = open_index(path)
        self._l2 = _metric_is_l2(self.index, self.path)
        if self.index.d != gallery.dim:
            whitened = (
                " and whitening, a gallery of --whiten none, or rerank what your index finds: "
                "its ids and scores (patchrerank rerank)"
            ) * gallery.manifest.whitened
            raise GalleryError(
                f"{path}: its vectors have {self.index.d} dimensions, those of the gallery "
                f"{gallery.folder} {gallery.dim}; use an index of the gallery's encoder{whitened}"
            )
        for name, value in settings.items():
            _set(self.index, name, value)
        self._rows_of, self._id_of = rows_by_label(gallery, self.index, ids, missing)
        by_row = ids is None and gallery.ids.kind.name != "int"
        check_sample(gallery, self.index, self.path, self._rows_of, by_row=by_row)

    def search(self, queries: Queries, size: int | None = None) -> Shortlist:
        """Return the ``size`` best images of each query (None: all of the gallery).

        Scores are cosines, whatever the metric. An image that the index holds several times
        stands where its best vector does. An approximate index may find fewer; the slots behind
        are empty. Kept labels count among the ``size``, and are found in ``missing``.

        Raises:
            QueryError: the queries do not live in the gallery's space.
            SettingError: ``size`` is negative.
            ShortlistError: the index names a label that the gallery does not hold, and
                ``missing`` is ``error``.
            GalleryError: scores that no vectors of unit length have, or faiss cannot search it.
        """
        self.gallery.check_queries(queries)
        most = self.index.ntotal if self.missing == "keep" else self.gallery.live_count
        depth = most if size is None else min(size, most)
        if depth < 0:
            raise SettingError(f"the shortlist size must be at least 0, got {size}")
        rows = np.full((len(queries), depth), EMPTY, dtype=np.int64)
        scores = np.full((len(queries), depth), -np.inf, dtype=np.float32)
        asked = min(depth, self.index.ntotal)
        block, away = max(1, MOST_RESULTS // max(1, asked)), dict[Any, int]()
        for start in range(0, len(queries) if asked else 0, block):
            part = slice(start, start + block)
            self._fill(queries.vectors[part], asked, rows[part], scores[part], away)
        return Shortlist(*told_apart(rows, scores, [list(away)] * len(rows), kept=True))

    def _fill(
        self, vectors: Floats, asked: int, rows: Rows, scores: Floats, away: dict[Any, int]
    ) -> None:
        """Write the best into ``rows`` and ``scores``, asking for more until they are full."""
        found, labels = self._asked(vectors, asked)
        known = self._known(labels, away)
        best, cosines = _first_of_each(known, self._cosines(vectors, found, known != EMPTY))
        width = min(rows.shape[1], asked)
        rows[:, :width], scores[:, :width] = best[:, :width], cosines[:, :width]
        short = (rows == EMPTY).any(axis=1) & (labels != EMPTY).all(axis=1)
        if asked < self.index.ntotal and short.any():
            more, deeper = rows[short], scores[short]
            self._fill(vectors[short], min(2 * asked, self.index.ntotal), more, deeper, away)
            rows[short], scores[short] = more, deeper

    def _asked(self, vectors: Floats, asked: int) -> tuple[Floats, Rows]:
        try:
            found, labels = self.index.search(vectors, asked)
        except (RuntimeError, MemoryError) as error:
            raise GalleryError(
                f"{self.path}: faiss cannot search this {type(self.index).__name__} "
                f"({short_reason(error)}); damaged? Write it again with faiss.write_index"
            ) from error
        return found, labels

    def _known(self, labels: Rows, away: dict[Any, int]) -> Rows:
        """Return the row of each label, ``-1`` for none, or of kept ones the number in ``away``."""
        rows = np.full(labels.shape, EMPTY, dtype=np.int64)
        given = labels != EMPTY
        rows[given] = self._rows_of(labels[given])
        strange = given & (rows == EMPTY)
        if self.missing == "keep":
            names, where = np.unique(labels[strange], return_inverse=True)
            numbers = [away.setdefault(self._id_of(label), len(away)) for label in names.tolist()]
            rows[strange] = UNHELD - np.asarray(numbers, dtype=np.int64)[where]
        if self.missing == "error" and strange.any():
            raise ShortlistError(
                f"{self.path}: {len(np.unique(labels[strange]))} labels that it found are no "
                f"images of the gallery {self.gallery.folder}, for example {labels[strange][0]}; "
                "pass over such labels with missing='drop', or say with ids= what labels stand for"
            )
        return rows

    def _cosines(self, vectors: Floats, found: Floats, known: Any) -> Floats:
        squares = np.square(vectors).sum(axis=1, keepdims=True)
        cosines = (squares + 1 - found) / 2 if self._l2 else found
        cosines = np.where(known, cosines, np.float32(-np.inf))
        beyond = known & (np.abs(cosines) > BEYOND * np.sqrt(squares))
        if beyond.any():
            raise GalleryError(not_unit(self.path, f"a score of {float(found[beyond][0]):.4g}"))
        return cosines


def _metric_is_l2(index: Any, path: Path) -> bool:
    import faiss

    if index.metric_type not in (faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L2):
        names = {getattr(faiss, n): n for n in dir(faiss) if n.startswith("METRIC_")}
        raise GalleryError(
            f"{path}: its metric is {names.get(index.metric_type, index.metric_type)}; use an "
            "index of METRIC_INNER_PRODUCT or METRIC_L2"
        )
    return bool(index.metric_type == faiss.METRIC_L2)


def _set(index: Any, name: str, value: float) -> None:
    import faiss

    if name not in SETTINGS:
        near = near_matches(name, SETTINGS)
        raise SettingError(f"setting {name!r} is unknown{near}; known are {', '.join(SETTINGS)}")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= MOST:
        raise SettingError(f"{name} must be at least 1 and at most {MOST}, got {shown(value)}")
    try:
        faiss.ParameterSpace().set_index_parameter(index, name, value)
    except RuntimeError as error:
        raise SettingError(f"this {type(index).__name__} has no {name}; leave it out") from error


def _first_of_each(rows: Rows, scores: Floats) -> tuple[Rows, Floats]:
    """Sort, best first, equal scores by row; of a row that stands twice the best stays."""
    order = np.lexsort((-scores, rows), axis=1)
    by_row = np.take_along_axis(rows, order, axis=1)
    again = np.zeros(rows.shape, dtype=bool)
    np.put_along_axis(again, order[:, 1:], by_row[:, 1:] == by_row[:, :-1], axis=1)
    rows = np.where(again, EMPTY, rows)
    scores = np.where(rows == EMPTY, np.float32(-np.inf), scores)
    order = np.lexsort((rows, -scores), axis=1)
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)
