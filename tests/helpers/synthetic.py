"""Random score tables, a reranker that looks scores up, a slow cascade, stand-in galleries."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from patchrerank.errors import QueryError
from patchrerank.metrics import FULL, average_precisions
from patchrerank.pipeline import StageSpec
from patchrerank.rerankers.base import Reranker
from patchrerank.tuning.fused.query_scores import Cost
from patchrerank.tuning.tables.cascades import evaluate_stages
from patchrerank.tuning.tables.score_table import ScoreTable
from patchrerank.types import LocalScores


def unit_rows(rng, count, dim):
    rows = rng.standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class Living(tuple):
    """Ids of a stand-in gallery, none of which was removed."""

    __slots__ = ()

    def living(self):
        return iter(self)


class NamedGallery:
    """A gallery as far as ids and rows go."""

    folder = "g"

    def __init__(self, names):
        self.ids, self.live = Living(names), np.arange(len(names))
        self.removed = np.zeros(len(names), dtype=bool)

    def __len__(self):
        return len(self.ids)


class VectorGallery:
    """A gallery of ready global vectors."""

    def __init__(self, vectors):
        self.global_vectors = np.asarray(vectors, np.float32)
        self.dim = self.global_vectors.shape[1]
        self.live_count = len(self.global_vectors)

    def __len__(self):
        return len(self.global_vectors)

    def check_queries(self, queries):
        if queries.vectors.shape[1] != self.dim:
            raise QueryError("dimension")


class TableReranker(Reranker):
    """Looks scores up by row, −inf below −1; boxes only where the score is positive."""

    name = "table"

    def __init__(self, gallery, table, *, localises=True):
        super().__init__(gallery)
        self.values = np.asarray(table, dtype=np.float32)
        self.localises = localises
        self._scored = 0

    def score(self, queries, shortlist):
        self._scored += int((shortlist.rows >= 0).sum())
        mixed = self.values[shortlist.rows] + queries.vectors[:, :1]
        scores = np.where((shortlist.rows >= 0) & (mixed >= -1), mixed, -np.inf)
        corner = np.float32(1 / (2 + shortlist.rows % 3))[..., None]
        boxes = np.where(scores[..., None] > 0, corner * np.float32([0.1, 0.1, 1, 1]), np.nan)
        return LocalScores(scores.astype(np.float32), boxes if self.localises else None)


def random_table(
    seed=0, queries=5, slots=12, names=("a", "b"), coarse=False, holes=True, convention=FULL
):
    """A table with junk, empty slots, ties (``coarse``), −inf scores and missing boxes."""
    rng = np.random.default_rng(seed)
    shape = (queries, slots)
    rows = np.argsort(rng.random((queries, slots + 5)), axis=1)[:, :slots]
    scores = -np.sort(-rng.random(shape), axis=1).astype(np.float32)
    local = {name: rng.standard_normal(shape).astype(np.float32) for name in names}
    if coarse:
        scores = np.round(scores * 3) / 3
        local = {name: np.round(values) for name, values in local.items()}
    valid = np.ones(shape, dtype=bool)
    if holes:
        valid = np.arange(slots) < rng.integers(slots // 2, slots + 1, queries)[:, None]
        for values in local.values():
            values[rng.random(shape) < 0.1] = -np.inf
    kind = rng.random(shape)
    relevant, junk = valid & (kind < 0.3), valid & (kind > 0.85) & holes
    overlaps = {name: rng.random(shape).astype(np.float32) for name in (*names, "global")}
    for name in names:
        overlaps[name][rng.random(shape) < 0.3] = np.nan
    areas = np.where(relevant, rng.random(shape), np.nan).astype(np.float32)
    missed = rng.integers(0, 3, queries)
    missed[0] = 0
    known = np.full((queries, slots + 3), np.nan, np.float32)
    for query in range(queries):
        listed = areas[query][relevant[query]]
        known[query, : len(listed)] = listed
        known[query, len(listed) : len(listed) + missed[query]] = 0.05
    return ScoreTable(
        rows=np.where(valid, rows, -1),
        global_scores=np.where(valid, scores, -np.inf).astype(np.float32),
        local_scores=local,
        overlaps=overlaps,
        relevant=relevant,
        junk=junk,
        areas=areas,
        positive_areas=known,
        n_positives=relevant.sum(axis=1) + missed,
        query_ids=tuple(f"q{n}" for n in range(queries)),
        gallery_ids=tuple(f"g{n}" for n in range(slots + 5)),
        groups=np.arange(queries) // 2,
        costs={name: Cost(0.5, 2.0, {"patches": 100.0, name: 10.0}) for name in names},
        convention=convention,
        fingerprint="abc",
        about={"dataset": "random"},
    )


def one_stage(table, lam, gamma, size=None, name=None):
    """What one reranker with this fusion is worth; the table's only one if none is named."""
    return evaluate_stages(table, [StageSpec(table.reranker(name), lam, gamma, size)])


def slow_stages(table, stages, whole_image=False):
    """Python lists, one query at a time: orders, average precisions, LocScores."""
    orders, precisions, located = [], [], []
    for query in range(len(table)):
        order, scores, overlap = _slow_query(table, query, stages, whole_image)
        orders.append(order)
        how = {
            "n_positives": table.n_positives[query : query + 1],
            "convention": table.convention,
            "junk": table.junk[query, order][None],
            "valid": (table.rows[query, order] >= 0)[None],
            "scores": np.float32(scores)[None],
        }
        relevant = table.relevant[query, order][None]
        precisions.append(average_precisions(relevant, **how)[0])
        paid = np.array([overlap[slot] for slot in order], np.float32)[None]
        located.append(average_precisions(relevant, weights=paid, **how)[0])
    return np.array(orders), np.array(precisions), np.array(located)


def _slow_query(table, query, stages, whole_image):
    filled = [slot for slot in range(table.size) if table.rows[query, slot] >= 0]
    rest = [slot for slot in range(table.size) if slot not in filled]
    now = [(slot, table.global_scores[query, slot]) for slot in filled]
    first = table.overlaps["global"][query] if whole_image else np.zeros(table.size)
    overlap = {slot: first[slot] for slot in range(table.size)}
    for stage in stages:
        name, fusion = stage.reranker, stage.fusion
        size = table.size if fusion.shortlist_size is None else fusion.shortlist_size
        head = []
        for slot, score in now[:size]:
            local = float(table.local_scores[name][query, slot])
            second = float(expit(fusion.gamma * local)) if fusion.gamma > 0 else 0.5
            fused = fusion.lam * float(score) + (1 - fusion.lam) * second
            by = local if fusion.lam == 0 and fusion.gamma > 0 else fused
            head.append((-by, slot, np.float32(fused)))
            box = table.overlaps[name][query, slot]
            overlap[slot] = overlap[slot] if np.isnan(box) else box
        now = [(slot, fused) for _, slot, fused in sorted(head, key=lambda it: it[0])] + now[size:]
    order = [slot for slot, _ in now] + rest
    return order, [score for _, score in now] + [-np.inf] * len(rest), overlap
