"""Build a score table while being killed at random moments; run by test_build_table.

Arguments: folder to write, number of kills. Forks before any thread starts.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

from children import in_child
from patchrerank.datasets import Dataset, DatasetImage, DatasetQuery
from patchrerank.tuning.tables.build_table import TableOptions, build_table
from patchrerank.tuning.tables.pair_scorer import PairScorer
from patchrerank.types import Queries, Shortlist
from synthetic import Living, TableReranker, unit_rows

IMAGES, QUERIES, SLOTS = 40, 60, 20


class Manifest:
    """As much of a gallery's manifest as a table looks at."""

    encoder = {"spec": "none"}  # noqa: RUF012
    regions, store, images, whitened = "none", "float32", IMAGES, False

    def plan(self):
        return {"identity": "none"}


class Gallery:
    """As much of a gallery as a table looks at."""

    ids = Living(f"g{n}" for n in range(IMAGES))
    live, removed = np.arange(IMAGES), np.zeros(IMAGES, dtype=bool)
    manifest = Manifest()
    folder = Path("none")
    has_local = False

    def __len__(self):
        return IMAGES

    def nbytes(self):
        return {"globals": 0}

    def check_queries(self, queries):
        pass


class Slow(TableReranker):
    """Takes its time, so that there is time to be killed in."""

    def score(self, queries, shortlist):
        time.sleep(0.01)
        return super().score(queries, shortlist)


def build(out: Path) -> None:
    rng = np.random.default_rng(0)
    gallery = Gallery()
    boxes = np.sort(rng.random((IMAGES, 2, 2)), axis=1).reshape(IMAGES, 1, 4).astype(np.float32)
    images = [
        DatasetImage(name, Path(name), number % 7, boxes[number], 0.2)
        for number, name in enumerate(gallery.ids)
    ]
    queries = [DatasetQuery(f"q{n}", Path("q"), n % 7) for n in range(QUERIES)]
    rerankers = {name: Slow(gallery, rng.standard_normal(IMAGES)) for name in ("a", "b")}
    scorer = PairScorer(
        Dataset(Path("killed"), tuple(queries), tuple(images)),
        gallery,
        rerankers,
        Queries(unit_rows(rng, QUERIES, 8)),
    )
    rows = np.argsort(rng.random((QUERIES, IMAGES)), axis=1)[:, :SLOTS]
    scores = -np.sort(-rng.random((QUERIES, SLOTS)), axis=1)
    options = TableOptions(progress=False, timed=False, block=2)
    build_table(out, scorer, Shortlist(rows, scores), options)


def main() -> None:
    out, kills = Path(sys.argv[1]), int(sys.argv[2])
    whole, pieces = out / "whole", out / "pieces"
    again = partial(build, pieces)
    _, seconds = in_child(partial(build, whole), None)
    rng = np.random.default_rng(0)
    killed = 0
    for _ in range(kills):
        killed += in_child(again, rng.uniform(0.05, 0.35) * seconds)[0]
        if (pieces / "manifest.json").exists():
            break
    in_child(again, None)
    print(killed)


if __name__ == "__main__":
    main()
