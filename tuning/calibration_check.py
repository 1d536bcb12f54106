"""How far probabilities hold on held-out objects: over splits, by chance, with fewer answers.

Printed for the patches alone: Brier score and calibration error of each list's first five and first
ten; the calibration error that probabilities which hold exactly would show by chance; and that of
the first five where each query has one to all of its answers, with calibrations fitted to all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from scipy.special import expit

from patchrerank.analysis.workbench import encode_dataset_queries
from patchrerank.calibration import Reliability, reliability
from patchrerank.datasets import Dataset, load_dataset
from patchrerank.first_stage import GlobalSearch
from patchrerank.gallery import Gallery, load_own_encoder
from patchrerank.rerankers import Patchify
from patchrerank.tuning.calibrate import calibrate
from patchrerank.tuning.statistics import group_folds
from patchrerank.types import QueryViews

Array = npt.NDArray[Any]
GAMMA, FOLDS, DRAWS = 4.0, 5, 2000


def main(
    dataset: Annotated[Path, typer.Argument(help="Folder with index.json.")],
    gallery: Annotated[Path, typer.Argument(help="Of its pictures, whitened or not.")],
    query_views: Annotated[str | None, typer.Option(help="Such as 8:20.")] = None,
    splits: Annotated[int, typer.Option(help="Of the objects into five folds.")] = 3,
) -> None:
    """Print the figures."""
    data, opened = load_dataset(dataset), Gallery(gallery)
    views = None if query_views is None else QueryViews.parse(query_views)
    scores, relevant = _scored(data, opened, views)
    objects = np.array([query.instance for query in data.queries])
    valid = np.ones_like(relevant)
    for seed in range(splits):
        check = calibrate(scores, relevant, valid, objects, folds=FOLDS, seed=seed).check
        assert check is not None
        for name, found in (("first five", check.first_five), ("first ten", check.first_ten)):
            low, mean, high = _by_chance(found)
            error = f"Brier {found.brier:.3f}, calibration error {found.calibration_error:.3f}"
            print(f"split {seed}, {name}: {error}; by chance {mean:.3f} ({low:.3f} to {high:.3f})")
    fewer = _with_fewer_answers(scores, relevant, objects)
    print(f"first five, one to all answers: calibration error {fewer.calibration_error:.3f}")


def _scored(data: Dataset, gallery: Gallery, views: QueryViews | None) -> tuple[Array, Array]:
    """Return fused scores of all images, and which are relevant, ``(Q, images)``."""
    encoder = load_own_encoder(gallery, "auto")
    queries = encode_dataset_queries(data, encoder, gallery, "none", views=views)
    listed = GlobalSearch(gallery).search(queries)
    found = Patchify(gallery).score(queries, listed).scores
    scores, relevant = np.empty(found.shape), np.zeros(found.shape, dtype=bool)
    np.put_along_axis(scores, listed.rows, expit(GAMMA * found), axis=1)
    for number, places in enumerate(data.positives):
        names = [data.images[place].id for place in places]
        relevant[number, gallery.rows_of(names)] = True
    return scores, relevant


def _by_chance(found: Reliability) -> tuple[float, float, float]:
    """Return the calibration error of exact probabilities: 5 % of draws, mean, 95 %."""
    counts = np.array([one.count for one in found.bins])
    predicted = np.array([one.predicted for one in found.bins])
    drawn = np.random.default_rng(0).binomial(counts, predicted, (DRAWS, len(counts)))
    errors = np.abs(drawn - counts * predicted).sum(axis=1) / counts.sum()
    low, high = np.quantile(errors, [0.05, 0.95])
    return float(low), float(errors.mean()), float(high)


def _with_fewer_answers(scores: Array, relevant: Array, objects: Array) -> Reliability:
    rng = np.random.default_rng(1)
    whole = np.ones_like(relevant)
    valid = whole.copy()
    for row, truth in zip(valid, relevant, strict=True):
        answers = rng.permutation(np.flatnonzero(truth))
        row[answers[rng.integers(1, len(answers) + 1) :]] = False
    fold = group_folds(objects, FOLDS, 0)
    pairs = []
    for number in range(FOLDS):
        held, others = fold == number, fold != number
        made = calibrate(scores[others], relevant[others], whole[others], objects[others])
        seen = np.where(valid, scores, np.nan)[held]
        first = np.argsort(-np.where(np.isnan(seen), -np.inf, seen), axis=1, kind="stable")[:, :5]
        for part in (made.probabilities(seen, valid[held]), relevant[held]):
            pairs.append(np.take_along_axis(part, first, axis=1).ravel())
    return reliability(np.concatenate(pairs[::2]), np.concatenate(pairs[1::2]))


if __name__ == "__main__":
    typer.run(main)
