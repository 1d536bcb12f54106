"""A local store without files, and slow, obviously right twins of what is computed on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import kernel_twins
from patchrerank.cells import CellAxis, Cells
from patchrerank.errors import QueryError
from patchrerank.gallery import LocalStore
from patchrerank.gallery.local_rows import BinaryStore, pack_signs
from patchrerank.kernels.peaks import peak_regions
from patchrerank.types import LocalDescriptors, Queries, Shortlist

KINDS = ("float32", "float16", "int8", "binary")


@dataclass
class FakeLocal:
    """The interface of a gallery's local store."""

    store: Any
    ends: np.ndarray
    positions: np.ndarray
    scales: np.ndarray
    grids: tuple[tuple[int, int], ...]

    shift: tuple[float, float] = (0.0, 0.0)
    """Of all positions against the cells' even shares: down, across, in cells."""

    sample = LocalStore.sample

    @property
    def dim(self):
        return self.store.dim

    @property
    def cells(self):
        return tuple(
            Cells(*(axis(n, s) for n, s in zip(grid, self.shift, strict=True)))
            for grid in self.grids
        )

    def check_queries(self, queries):
        for query in queries:
            if len(query) and query.vectors.shape[1] != self.dim:
                raise QueryError(f"dimensions: {query.vectors.shape[1]}, not {self.dim}")


def axis(count, shift):
    return CellAxis(count, (0.5 + shift) / count, 1 / count)


class FakeGallery:
    has_local = True
    has_boxes = True
    folder = "drawn"

    def __init__(self, local):
        self.local = local
        images = 0 if local is None else len(local.ends)
        self.sizes = np.array([(640, 480), (0, 0), (300, 900)])[np.arange(images) % 3]

    def check_queries(self, queries):
        pass


def make_store(kind, vectors):
    if kind == "binary":
        return BinaryStore(pack_signs(vectors), vectors.shape[1])
    return kernel_twins.make_store(kind, vectors, None)


def unit(rng, count, dim):
    vectors = rng.standard_normal((count, dim), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def cells_of(grids):
    """All cells of all scales: (x, y, scale)."""
    return [
        ((x + 0.5) / width, (y + 0.5) / height, scale)
        for scale, (height, width) in enumerate(grids)
        for y in range(height)
        for x in range(width)
    ]


def make_local(rng, counts, grids=((5, 6), (3, 3)), dim=16, kind="float32"):
    """Images with ``counts`` descriptors each, of cells drawn without repetition."""
    cells = np.array(cells_of(grids))
    picked = [cells[rng.permutation(len(cells))[:count]] for count in counts]
    chosen = np.concatenate(picked) if picked else np.zeros((0, 3))
    return FakeLocal(
        store=make_store(kind, unit(rng, len(chosen), dim)),
        ends=np.cumsum([len(part) for part in picked], dtype=np.int64),
        positions=chosen[:, :2].astype(np.float32),
        scales=chosen[:, 2].astype(np.int16),
        grids=grids,
    )


def make_queries(rng, counts, dim=16):
    local = [
        LocalDescriptors(
            unit(rng, count, dim),
            rng.random((count, 2), dtype=np.float32),
            np.zeros(count, np.int16),
            np.ones(count, np.float32),
        )
        for count in counts
    ]
    return Queries(unit(rng, len(counts), 8), local=local)


def make_shortlist(rng, queries, width, images, holes=2):
    rows = np.stack([rng.permutation(images)[:width] for _ in range(queries)])
    for number in range(queries):
        rows[number, width - number % (holes + 1) :] = -1
    scores = -np.sort(-rng.random((queries, width)).astype(np.float32), axis=1)
    return Shortlist(rows, scores)


def one(queries, shortlist, number):
    """Query ``number`` alone."""
    part = slice(number, number + 1)
    alone = Queries(queries.vectors[part], local=queries.local[part])
    return alone, Shortlist(shortlist.rows[part], shortlist.scores[part])


def owned(local, image):
    """Descriptors (float64), positions and scales of one image."""
    begin = local.ends[image - 1] if image > 0 else 0
    rows = np.arange(begin, local.ends[image]) if image >= 0 else np.arange(0)
    return local.store.decode(rows).astype(np.float64), local.positions[rows], local.scales[rows]


def chamfer_twin(query, local, image, symmetric=False, best=None):
    """Score and box of one candidate, match by match."""
    vectors, positions, scales = owned(local, image)
    if not len(vectors) or not len(query):
        return -np.inf, [np.nan] * 4
    table = query.vectors.astype(np.float64) @ vectors.T
    forth = sorted(((row.max(), -i, row.argmax()) for i, row in enumerate(table)), reverse=True)
    forth = forth[:best]
    score = np.mean([value for value, _, _ in forth])
    if symmetric:
        back = sorted(table.max(axis=0), reverse=True)[:best]
        score = (score + np.mean(back)) / 2
    cells = [positions[j].tolist() + list(local.grids[scales[j]]) for _, _, j in forth]
    cut = int(0.1 * len(cells))
    left = sorted(x - 1 / width for x, _, _, width in cells)[cut]
    top = sorted(y - 1 / height for _, y, height, _ in cells)[cut]
    right = sorted((x + 1 / width for x, _, _, width in cells), reverse=True)[cut]
    bottom = sorted((y + 1 / height for _, y, height, _ in cells), reverse=True)[cut]
    return score, np.clip([left, top, right, bottom], 0, 1)


def map_twin(query, local, image, smooth=True):
    """The correlation map of one candidate with a query's descriptors, cell by cell."""
    vectors, positions, scales = owned(local, image)
    height, width = max(local.grids, key=lambda grid: grid[0] * grid[1])
    found = {}
    for vector, (x, y), scale in zip(vectors, positions, scales, strict=True):
        h, w = local.grids[scale]
        value = np.mean([vector @ own for own in query.vectors.astype(np.float64)])
        found[scale, int(y * h), int(x * w)] = value
    raw = np.full((height, width), np.nan)
    for y in range(height):
        for x in range(width):
            here = [
                found[scale, int((y + 0.5) / height * h), int((x + 0.5) / width * w)]
                for scale, (h, w) in enumerate(local.grids)
                if (scale, int((y + 0.5) / height * h), int((x + 0.5) / width * w)) in found
            ]
            raw[y, x] = max(here, default=np.nan)
    raw[np.isnan(raw)] = np.nanmin(raw)
    return smoothed_twin(raw) if smooth else raw


def smoothed_twin(raw):
    height, width = raw.shape
    smooth = np.zeros_like(raw)
    for y in range(height):
        for x in range(width):
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    near = raw[min(max(y + dy, 0), height - 1), min(max(x + dx, 0), width - 1)]
                    smooth[y, x] += near * (2 - abs(dy)) * (2 - abs(dx)) / 16
    return smooth


def patch_mean_twin(similarities, boxes, anchor, temperature):
    """The weighted mean of the patches that touch the anchor, one patch at a time."""
    if np.std(similarities) < 1e-6:
        return np.full(4, np.nan)
    total, sums = 0.0, np.zeros(4)
    for value, box in zip(similarities, boxes, strict=True):
        apart = box[0] > anchor[2] or box[2] < anchor[0] or box[1] > anchor[3] or box[3] < anchor[1]
        height = (value - max(similarities)) / (temperature * np.std(similarities))
        weight = 0.0 if apart else np.exp(height)
        total += weight
        sums += weight * box
    return sums / total if total > 0 else np.full(4, np.nan)


def patch_map_twin(similarities, boxes, cells, width):
    """The weighted mean of the patches' scores, cell by cell."""
    found = np.zeros((cells, cells))
    for y in range(cells):
        for x in range(cells):
            masses = []
            for x0, y0, x1, y1 in boxes:
                across = ((x + 0.5) / cells - (x0 + x1) / 2) / (width * (x1 - x0))
                down = ((y + 0.5) / cells - (y0 + y1) / 2) / (width * (y1 - y0))
                masses.append(np.exp(-(across**2 + down**2) / 2) / ((x1 - x0) * (y1 - y0)))
            known = sum(masses) > 1e-30
            found[y, x] = np.average(similarities, weights=masses) if known else min(similarities)
    return found


def patch_box_twin(similarities, boxes, anchor, cut, *, cells=16, width=0.35, temperature=0.65):
    """The box of one candidate: the mean of a region of its map and of a mean of patches."""
    if np.isnan(anchor).any():
        anchor = boxes[max(range(len(boxes)), key=lambda i: similarities[i])]
    mean = patch_mean_twin(similarities, boxes, anchor, temperature)
    table = patch_map_twin(similarities, boxes, cells, width).astype(np.float32)
    region = peak_regions(table[None], np.asarray(anchor)[None], cut=cut)[0]
    return mean if np.isnan(region).any() else (mean + region) / 2


def background_twin(vectors, shrinkage=20.0):
    """Mean and inverse covariance of descriptors, as a formula has them."""
    mean, covariance = vectors.mean(axis=0), np.cov(vectors.T, bias=True)
    ridge = shrinkage * np.trace(covariance) / len(covariance)
    return mean, np.linalg.inv(covariance + ridge * np.eye(len(covariance)))


def drawn_twin(box, size, aspect, share):
    """One box with its aspect ratio drawn towards another one."""
    x0, y0, x1, y1 = (np.asarray(box, dtype=float) * [*size, *size]).tolist()
    width, height = x1 - x0, y1 - y0
    wanted = np.exp((1 - share) * np.log(width / height) + share * np.log(aspect))
    area, x, y = width * height, (x0 + x1) / 2, (y0 + y1) / 2
    width, height = np.sqrt(area * wanted), np.sqrt(area / wanted)
    drawn = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    return np.clip(np.array(drawn) / [*size, *size], 0, 1)
