"""Which λ and γ to begin with: chosen on half of the objects and scenes, tested on the others.

Objects of one kind stay together. Wanted is one pair, the best mean of objects and scenes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Annotated

import numpy as np
import typer
from scene_queries import PHOTOS, Asked, Marks, scenes

from patchrerank.datasets import Dataset, load_dataset
from patchrerank.encoders.spectrum import Doubles
from patchrerank.first_stage import GlobalSearch
from patchrerank.fusion import fuse
from patchrerank.gallery import Gallery
from patchrerank.images import read_image
from patchrerank.metrics import average_precisions
from patchrerank.pipeline import Cascade, load_reranker
from patchrerank.types import QueryViews

PAIRS = tuple(product((0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3), (2.0, 4.0, 8.0)))
"""λ and γ."""


def main(
    galleries: Annotated[list[str], typer.Argument(help="GALLERY or GALLERY=VIEWS.")],
    dataset: Annotated[Path, typer.Option(help="Folder with index.json.")],
    splits: Annotated[int, typer.Option(help="Random halves.")] = 100,
) -> None:
    """Print mAP in percent of each pair, and how often halves choose it, with what regret."""
    data = load_dataset(dataset)
    tables = {place: _tables(place, data) for place in galleries}
    print("gallery | queries |", " | ".join(f"{lam:g}:{gamma:g}" for lam, gamma in PAIRS))
    for place, kinds in tables.items():
        for name, table in kinds.items():
            print(Path(place).name, name, *(f"{v:.1f}" for v in table.mean(axis=1)), sep=" | ")
    found = np.array([_split(tables, data, seed) for seed in range(splits)])
    rules = ("chosen pair", "chosen λ, γ = 4", *(f"{lam:g}:{gamma:g}" for lam, gamma in PAIRS))
    for rule, regrets in zip(rules, found[:, 2:].T, strict=True):
        print(f"{rule}: regret {regrets.mean():.2f}, worst tenth {np.quantile(regrets, 0.9):.2f}")
    for column in (0, 1):
        print(rules[column], Counter(PAIRS[int(number)] for number in found[:, column]))


def _tables(place: str, data: Dataset) -> dict[str, Doubles]:
    """Return AP in percent ``(pairs, Q)`` of objects and of scenes."""
    folder, _, views = place.partition("=")
    gallery = Gallery(folder)
    rows = gallery.rows_of([image.id for image in data.images])
    relevant = np.zeros((len(data.queries), len(gallery)), dtype=np.bool_)
    for number in range(len(data.queries)):
        relevant[number, rows[data.positives[number]]] = True
    objects = Asked([read_image(query.file) for query in data.queries], None, relevant)
    ranker = load_reranker(gallery, query_views=QueryViews.parse(views) if views else None)
    kinds = {"objects": objects, "scenes": scenes(data, gallery)}
    return {name: np.array([*_precisions(ranker, one)]) for name, one in kinds.items()}


def _precisions(ranker: Cascade, asked: Asked) -> Iterator[Doubles]:
    queries = ranker.encode(asked.pictures)
    first = GlobalSearch(ranker.gallery).search(queries, None)
    local = ranker.stages[0].reranker.score(queries, first).scores
    marks = np.take_along_axis(asked.relevant, first.rows, axis=1)
    for lam, gamma in PAIRS:
        order = np.argsort(-fuse(first.scores, local, lam, gamma), axis=1, kind="stable")
        found = np.take_along_axis(marks, order, axis=1)
        yield 100 * average_precisions(found, marks.sum(axis=1))


def _split(tables: dict[str, dict[str, Doubles]], data: Dataset, seed: int) -> list[float]:
    """Return the numbers of the pair and of the λ chosen, then the mean regret of each rule."""
    rng = np.random.default_rng(seed)
    names = [str(PurePosixPath(query.source or query.id).parent) for query in data.queries]
    folders, kind = np.unique(names, return_inverse=True)
    mine = rng.permutation(len(folders)) < len(folders) / 2
    half = {"objects": mine[kind], "scenes": rng.permutation(PHOTOS) < PHOTOS / 2}
    seen, both = (
        np.array([_mean(t, half, on=on) for t in tables.values()]) for on in (True, False)
    )
    means = seen.mean(axis=0)
    four = [number for number, (_, gamma) in enumerate(PAIRS) if gamma == 4.0]
    chosen = [int(means.argmax()), four[int(means[four].argmax())]]
    regrets = (both.max(axis=1, keepdims=True) - both).mean(axis=0)
    return [*map(float, chosen), *regrets[chosen].tolist(), *regrets.tolist()]


def _mean(kinds: dict[str, Doubles], half: dict[str, Marks], *, on: bool) -> Doubles:
    return np.mean([t[:, half[kind] == on].mean(axis=1) for kind, t in kinds.items()], axis=0)


if __name__ == "__main__":
    typer.run(main)
