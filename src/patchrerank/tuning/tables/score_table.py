"""The score table: all that tuning needs, and nothing else; then a trial is arithmetic on arrays.

``Q`` queries, ``K`` candidates of the first stage each, best first. A *slot* is a place in the
first stage's list; everything here stays in that order, whatever a fusion makes of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property

import numpy as np

from patchrerank.errors import SettingError, TableError, near_matches
from patchrerank.metrics.convention import FULL, APConvention
from patchrerank.metrics.lists import Bools
from patchrerank.tuning.fused.judged_lists import JudgedLists
from patchrerank.tuning.fused.query_scores import Cost, Metric
from patchrerank.tuning.tables.table_checks import check_table, fixed, fixed_ids
from patchrerank.types import EMPTY, Floats, Rows


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Scores, relevance and overlaps of the first stage's candidates.

    Attributes:
        rows: int64 ``(Q, K)`` gallery rows, ``-1`` in empty slots (only at the end).
        global_scores: float32 ``(Q, K)``, the first stage's, non-increasing.
        local_scores: by reranker (its stage text without numbers, e.g. ``chamfer+refine``)
            float32 ``(Q, K)``; NaN: not computed yet, −inf: no evidence. Never ``global``.
        overlaps: by reranker float32 ``(Q, K)``, IoU of its box with the best true one; NaN
            where it gave no box, anything where not relevant. Under ``global`` the whole
            image's. A name that is absent: nobody knows.
        relevant: bool ``(Q, K)``, the candidate shows the query's object.
        junk: bool ``(Q, K)``, removed before ranks are counted; never relevant as well.
        areas: float32 ``(Q, K)``, share of the image that the true box covers; NaN: unknown.
        positive_areas: float32 ``(Q, P)``, the areas of all positives, listed or not, in any
            order, padded with NaN.
        n_positives: int64 ``(Q,)``, positives in the whole data set, listed or not.
        query_ids: Q ids.
        gallery_ids: the id of each gallery row.
        groups: int64 ``(Q,)``, which instance each query shows; folds never split one.
        costs: by reranker, measured while the table was built.
        list_depths: rerankers whose scores depend on the list beside the pair (query expansion,
            SuperGlobal), with how many of its first candidates they look at. Their scores hold
            for the first stage's order only, cut no higher than that.
        convention: how average precision is computed.
        fingerprint: hash of data set, ground truth, gallery, encoder and rerankers.
        about: what the table is of, for people: data set, encoder, versions.

    Raises:
        TableError: something has the wrong shape or kind, or contradicts something else.
    """

    rows: Rows
    global_scores: Floats
    local_scores: Mapping[str, Floats]
    overlaps: Mapping[str, Floats]
    relevant: Bools
    junk: Bools
    areas: Floats
    positive_areas: Floats
    n_positives: Rows
    query_ids: tuple[str, ...]
    gallery_ids: tuple[str, ...]
    groups: Rows
    costs: Mapping[str, Cost] = field(default_factory=dict)
    list_depths: Mapping[str, int] = field(default_factory=dict)
    convention: APConvention = FULL
    fingerprint: str = ""
    about: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if np.ndim(self.rows) != 2:
            raise TableError(f"rows: expected the shape (Q, K), got {np.shape(self.rows)}")
        for name, value in self._fixed().items():
            object.__setattr__(self, name, value)
        check_table(vars(self))

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def size(self) -> int:
        """K, the slots of each list."""
        return int(self.rows.shape[1])

    @cached_property
    def valid(self) -> Bools:
        """bool ``(Q, K)``, False in empty slots; read-only."""
        filled = np.asarray(self.rows != EMPTY)
        filled.flags.writeable = False
        return filled

    def take(self, query_numbers: Sequence[int] | Rows) -> ScoreTable:
        """Return the table of the queries with these numbers, in this order.

        Raises:
            TableError: a number is no query's, or stands there twice.
        """
        numbers = fixed("query numbers", query_numbers, np.int64, (-1,))
        if numbers.size and not (numbers.min() >= 0 and numbers.max() < len(self)):
            raise TableError(f"query numbers must lie in 0 … {len(self) - 1}, got {numbers}")
        kept = {name: getattr(self, name)[numbers] for name in BY_QUERY}
        for name in BY_RERANKER:
            kept[name] = {key: array[numbers] for key, array in getattr(self, name).items()}
        return replace(self, query_ids=tuple(self.query_ids[n] for n in numbers), **kept)

    def within(self, low: float, high: float) -> ScoreTable:
        """Keep only positives whose area lies in ``[low, high)``; the others become junk.

        Raises:
            TableError: the table knows no areas.
        """
        if not np.isfinite(self.positive_areas).any() and self.n_positives.any():
            raise TableError("this table knows no areas of its positives, so it has no area bins")
        kept = self.relevant & (self.areas >= low) & (self.areas < high)
        counted = (self.positive_areas >= low) & (self.positive_areas < high)
        return replace(
            self,
            relevant=kept,
            junk=self.junk | (self.relevant & ~kept),
            n_positives=counted.sum(axis=1),
            positive_areas=np.where(counted, self.positive_areas, np.nan),
        )

    def reranker(self, name: str | None = None) -> str:
        """Return ``name``, or the only reranker's if it is None.

        Raises:
            SettingError: no such reranker (near matches are given), or several to choose from.
        """
        known = ", ".join(self.local_scores)
        if name is None and len(self.local_scores) != 1:
            raise SettingError(f"this table holds {known or 'no reranker'}; say which is meant")
        if name is not None and name not in self.local_scores:
            near = near_matches(name, self.local_scores)
            raise SettingError(f"reranker {name!r} is not in this table{near}; it holds {known}")
        return next(iter(self.local_scores)) if name is None else name

    def missing(self, reranker: str, size: int | None = None) -> Bools:
        """Return bool ``(Q, K)``: which of the first ``size`` slots were not computed yet."""
        wanted = np.isnan(self.local_scores[reranker]) & self.valid
        wanted[:, self.size if size is None else size :] = False
        return wanted

    @cached_property
    def listed(self) -> Rows:
        """int64 ``(Q,)``, how many slots of each list are filled."""
        return np.asarray(self.valid.sum(axis=1))

    @cached_property
    def has_gaps(self) -> bool:
        """Whether any slot is empty."""
        return bool(self.rows[:, -1:].min(initial=0) == EMPTY)

    @cached_property
    def has_junk(self) -> bool:
        """Whether any candidate is junk."""
        return bool(self.junk.any())

    def scored(self, reranker: str) -> int:
        """Return how many slots, from the first on, have all their local scores."""
        if reranker not in self._scored:
            lacking = self.missing(reranker).any(axis=0)
            self._scored[reranker] = int(np.argmax(lacking)) if lacking.any() else self.size
        return self._scored[reranker]

    def judged(self, reranker: str, metric: Metric = "AP") -> JudgedLists:
        """Return the lists with one reranker's scores, on which fusions are evaluated.

        They are checked and prepared once for the table.

        Raises:
            TableError: LocScore, but the table knows no overlaps of this reranker.
        """
        key = (reranker, metric)
        if key not in self._judged:
            located = metric == "LocScore"
            self._judged[key] = JudgedLists.of(
                self.global_scores,
                self.local_scores[reranker],
                self.relevant,
                self.junk | ~self.valid,
                self.n_positives,
                self.convention,
                weights=self._overlaps(reranker) if located else None,
                tail_pays=not located,
            )
        return self._judged[key]

    def _overlaps(self, reranker: str) -> Floats:
        if reranker not in self.overlaps:
            raise TableError(
                f"this table knows no overlaps of {reranker!r}, so it has no LocScore; build it "
                "from a gallery, or pass overlaps when it is made from arrays"
            )
        return self.overlaps[reranker]

    @cached_property
    def _scored(self) -> dict[str, int]:
        return {}

    @cached_property
    def _judged(self) -> dict[tuple[str, Metric], JudgedLists]:
        return {}

    def __getstate__(self) -> dict[str, object]:
        """Return the fields alone: what is made of them is made again elsewhere."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def _fixed(self) -> dict[str, object]:
        """Return the fields as read-only arrays of the right kind and shape."""
        shape, count = np.shape(self.rows), len(self.rows)
        made: dict[str, object] = {
            "query_ids": fixed_ids("query_ids", self.query_ids),
            "gallery_ids": fixed_ids("gallery_ids", self.gallery_ids),
        }
        if len(self.query_ids) != count:
            raise TableError(f"query_ids: {len(self.query_ids)} ids, but {count} lists")
        for name, (dtype, columns) in BY_QUERY.items():
            wanted = {"K": shape, "P": (count, -1), "": (count,)}[columns]
            made[name] = fixed(name, getattr(self, name), dtype, wanted)
        for name in BY_RERANKER:
            given: Mapping[str, Floats] = getattr(self, name)
            made[name] = {
                key: fixed(f"{name}[{key!r}]", array, np.float32, shape)
                for key, array in given.items()
            }
        return made


BY_QUERY = {
    "rows": (np.int64, "K"),
    "global_scores": (np.float32, "K"),
    "relevant": (np.bool_, "K"),
    "junk": (np.bool_, "K"),
    "areas": (np.float32, "K"),
    "positive_areas": (np.float32, "P"),
    "n_positives": (np.int64, ""),
    "groups": (np.int64, ""),
}
"""The arrays with one row a query: their dtype, and whether they have K, P or no columns."""

BY_RERANKER = ("local_scores", "overlaps")
"""The mappings from a reranker's name to a float32 array ``(Q, K)``."""
