"""Chamfer: how well each local descriptor of the query is matched in the candidate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from patchrerank.errors import SettingError, check_kind
from patchrerank.fusion import Fusion
from patchrerank.gallery import Gallery, LocalStore
from patchrerank.kernels import Matches, chamfer_matches
from patchrerank.kernels.set_comparison import SetStore
from patchrerank.rerankers._local import (
    Block,
    LocalReranker,
    blocks_of,
    cell_sizes,
    local_of,
)
from patchrerank.types import (
    Floats,
    LocalDescriptors,
    LocalScores,
    Queries,
    QueryCrop,
    Ranking,
    Rows,
    Shortlist,
)

if TYPE_CHECKING:
    from torch import Tensor

    from patchrerank.encoders import DenseEncoder, Encoder
    from patchrerank.kernels.devices import Device
    from patchrerank.kernels.held_rows import HeldRows

OUTLIERS = 0.1
"""Share of the matches that the box leaves out on each side of each axis."""

MATCH_FLOATS = 16
"""How many floats a match takes while scores and boxes are made, at most."""


@dataclass(frozen=True)
class ChamferSettings:
    """What is averaged.

    Attributes:
        direction: ``query``: for each query descriptor its best match in the candidate;
            ``symmetric``: the mean of that and of the reverse, each of the candidate's
            descriptors with its best match in the query.
        best: the mean is taken over this many best matches of each direction (all, if there
            are fewer), and the box from those of the query; None: over all.
    """

    direction: Literal["query", "symmetric"] = "query"
    best: int | None = None

    def __post_init__(self) -> None:
        if self.direction not in ("query", "symmetric"):
            raise SettingError(f"direction is {self.direction!r}; use 'query' or 'symmetric'")
        if self.best is not None and self.best < 1:
            raise SettingError(f"best must be at least 1 or None (all), got {self.best}")


class Chamfer(LocalReranker):
    """A candidate's score is the mean similarity of the query's descriptors' best matches.

    Scores are cosines in [-1, 1], the mean of ``max_j q_i · c_j`` over the query's descriptors
    i (Chamfer similarity; MaxSim divided by the number of query descriptors). A candidate or a
    query without descriptors gives −inf and no box.

    The box holds the matched cells without the outliers: of the centres of the cells that the
    query's descriptors match best, a share of ``OUTLIERS`` is left out on each side of each
    axis, and the rest is bounded with a cell's width (not half of it) to spare, since cells at
    an object's border see its surroundings and are matched less.

    Args:
        settings: see :class:`ChamferSettings`.
        gallery, encoder, fusion, query_crop, dense_encoder, threads: see
            :class:`~patchrerank.rerankers._local.LocalReranker`.
    """

    name = "chamfer"

    def __init__(
        self,
        gallery: Gallery,
        encoder: Encoder | None = None,
        fusion: Fusion | None = None,
        query_crop: QueryCrop = "none",
        dense_encoder: DenseEncoder | None = None,
        settings: ChamferSettings | None = None,
        threads: int = 1,
    ) -> None:
        super().__init__(gallery, encoder, fusion, query_crop, dense_encoder, threads)
        check_kind("settings", settings, ChamferSettings, "ChamferSettings(…)")
        self.settings = settings or ChamferSettings()

    def score(self, queries: Queries, shortlist: Shortlist) -> LocalScores:
        """Return Chamfer similarity and box of each candidate; see the base class.

        Raises:
            QueryError: the queries have no local descriptors, or of another space.
            GalleryError: the gallery has none.
        """
        local = local_of(queries, shortlist, self.gallery.local, self.name)
        if self.device is not None:
            from patchrerank.rerankers._on_device import brought_back

            return brought_back(*self._on(self.device, local, shortlist))
        scores = np.full(shortlist.rows.shape, -np.inf, dtype=np.float32)
        boxes = np.full((*shortlist.rows.shape, 4), np.nan, dtype=np.float32)
        for number, query in enumerate(local):
            if len(query):
                self._score_one(query, shortlist.rows[number], scores[number], boxes[number])
        return LocalScores(scores, boxes)

    def rescored(self, fusion: Fusion, queries: Queries, ranking: Ranking, size: int) -> Ranking:
        """Score, fuse and sort on the device, where there is one; see the base class."""
        if self.device is None:
            return super().rescored(fusion, queries, ranking, size)
        from patchrerank.rerankers._on_device import resorted

        head = ranking.head(size)
        local = local_of(queries, head, self.gallery.local, self.name)
        found = self._on(self.device, local, head)
        return resorted(fusion, ranking, *found, self._held(self.device))

    def _placed(self, device: Device | None) -> Self:
        return self._with_device(device)

    def _held(self, device: Device) -> HeldRows:
        """Return the descriptors on the device, with the cells where they lie."""
        local = self.gallery.local
        return device.hold(local.store, local.ends, partial(_cells, local))

    def _on(
        self, device: Device, local: Sequence[LocalDescriptors], shortlist: Shortlist
    ) -> tuple[Tensor, Tensor]:
        from patchrerank.rerankers._on_device import chamfer_on_device

        sets, how = [query.vectors for query in local], self.settings
        symmetric = how.direction == "symmetric"
        given = self._held(device), sets, shortlist.rows, how.best, OUTLIERS
        return chamfer_on_device(*given, symmetric=symmetric)

    def _score_one(
        self, query: LocalDescriptors, rows: Rows, scores: Floats, boxes: Floats
    ) -> None:
        local, best = self.gallery.local, self.settings.best
        for block, matches in matched(query.vectors, local, rows, self.threads):
            scores[block.slots] = mean_of_best(matches.scores, best)
            if self.settings.direction == "symmetric":
                scores[block.slots] += _reverse(query.vectors, local, block, best)
                scores[block.slots] /= 2
            boxes[block.slots] = match_boxes(matches, best, block, local)


def matched(
    query: Floats, local: LocalStore, images: Rows, threads: int = 1
) -> Iterator[tuple[Block, Matches]]:
    """Compare descriptors ``(n, D)``, n ≥ 1, with candidates ``(K,)``, block by block.

    Yields a block and the best match of each query descriptor in each of its candidates. Stores
    that the kernels read are read in place, others are decoded.
    """
    readable = isinstance(local.store, SetStore)
    for block in blocks_of(local, images, MATCH_FLOATS * len(query), decoded=not readable):
        source = block.in_place(local) if readable else block.decoded(local)
        yield block, chamfer_matches(query, *source, threads=threads)


def _cells(local: LocalStore, rows: Rows) -> Floats:
    """Return the cells of descriptors ``(n,)``, with a cell's width to spare: ``(n, 4)``."""
    centres, cells = local.positions[rows], cell_sizes(local, local.scales[rows])
    return np.concatenate([centres - cells, centres + cells], axis=1)


def mean_of_best(scores: Floats, best: int | None) -> Floats:
    """Return the mean ``(K,)`` of the ``best`` highest scores of each row ``(K, n)``, n ≥ 1."""
    ordered = np.sort(scores, axis=1)[:, ::-1][:, :best]
    return np.asarray(ordered.astype(np.float64).mean(axis=1), dtype=np.float32)


def match_boxes(matches: Matches, best: int | None, block: Block, local: LocalStore) -> Floats:
    """Return the box ``(k, 4)`` of each candidate's matched cells, NaN without descriptors."""
    boxes = np.full((len(block.counts), 4), np.nan, dtype=np.float32)
    found = np.flatnonzero(block.counts)
    order = np.argsort(-matches.scores[found], axis=1, kind="stable")[:, :best]
    wanted = np.take_along_axis(matches.descriptors[found], order, axis=1)
    rows = block.begins[found, None] + wanted
    centres, cells = local.positions[rows], cell_sizes(local, local.scales[rows])
    left_out = int(OUTLIERS * rows.shape[1])
    boxes[found, :2] = np.sort(centres - cells, axis=1)[:, left_out]
    boxes[found, 2:] = np.sort(centres + cells, axis=1)[:, -1 - left_out]
    return boxes.clip(0.0, 1.0)


def _reverse(query: Floats, local: LocalStore, block: Block, best: int | None) -> Floats:
    """Return for each candidate the mean of its descriptors' best matches in the query."""
    means = np.full(len(block.counts), -np.inf, dtype=np.float32)
    for slot in np.flatnonzero(block.counts):
        begin, count = int(block.begins[slot]), int(block.counts[slot])
        table = local.store.decode(np.arange(begin, begin + count)) @ query.T
        means[slot] = mean_of_best(table.max(axis=1)[None], best)[0]
    return means
