"""From how many images a whitening can be learned, and what it gains: mAP of the patch score."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from patchrerank.datasets import Dataset, load_dataset
from patchrerank.encoders import Spectrum, Whitening, learn_spectrum
from patchrerank.gallery import Gallery, encode_queries, load_own_encoder
from patchrerank.metrics import average_precisions
from patchrerank.tuning.statistics import gain
from patchrerank.types import Floats, Rows

IMAGES = (16, 32, 64, 128, 256, 512)
DIMS = (256, 512, 1024)

Marks = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Bench:
    """A benchmark: plain queries ``(Q, d)`` and patches ``(T, d)``, and relevance ``(Q, N)``."""

    queries: Floats
    patches: Floats
    ends: Rows
    relevant: Marks

    def take(self, images: Rows) -> Bench:
        """Return the benchmark of some of its images."""
        counts = np.diff(self.ends, prepend=0)[images]
        starts = np.concatenate([[0], self.ends[:-1]])[images]
        rows = np.concatenate([np.arange(s, s + c) for s, c in zip(starts, counts, strict=True)])
        return Bench(self.queries, self.patches[rows], np.cumsum(counts), self.relevant[:, images])

    def spectrum(self, shrinkage: float | None = None) -> Spectrum:
        """Learn on all patches."""
        return learn_spectrum(self.patches, self.ends, shrinkage=shrinkage)

    def precisions(self, whitening: Whitening | None) -> npt.NDArray[np.float64]:
        """Return the AP of each query over the full list, in percent; NaN without positives."""
        queries, patches = self.queries, self.patches
        if whitening is not None:
            queries, patches = whitening.apply(queries), whitening.apply(patches)
        starts = np.concatenate([[0], self.ends[:-1]])
        scores = np.maximum.reduceat(queries @ patches.T, starts, axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")
        ranked = np.take_along_axis(self.relevant, order, axis=1)
        return 100 * average_precisions(ranked, self.relevant.sum(axis=1))

    def mAP(self, whitening: Whitening | None) -> float:  # noqa: N802
        """Return the mean over queries that have positives."""
        return float(np.nanmean(self.precisions(whitening)))


def main(
    gallery: Annotated[Path, typer.Argument(help="Plain gallery of the data set.")],
    dataset: Annotated[Path, typer.Argument(help="Folder with index.json.")],
    images: Annotated[list[int], typer.Option(help="Learned on so many.")] = list(IMAGES),  # noqa: B006
    dims: Annotated[list[int], typer.Option(help="Kept.")] = list(DIMS),  # noqa: B006
    seeds: Annotated[int, typer.Option()] = 3,
    other: Annotated[Path | None, typer.Option(help="Gallery of other pictures.")] = None,
    out: Annotated[Path | None, typer.Option()] = None,
) -> None:
    """Print what whitening gains: learned on few images, in small galleries, on other pictures."""
    bench = read(Gallery(gallery), load_dataset(dataset))
    total = len(bench.ends)
    found = {
        "without": bench.mAP(None),
        "curve": [curve(bench, n, dims, seeds) for n in (*images, total) if n <= total],
        "small_galleries": [small(bench, n, dims, seeds) for n in images if n <= total],
        "held_out": held_out(bench, dims),
    }
    if other is not None:
        found["other"] = learned_elsewhere(bench, Gallery(other), dims)
    show(found)
    if out is not None:
        text = json.dumps(found, indent=1).replace("NaN", "null")
        out.write_text(text + "\n", encoding="utf-8")


def read(gallery: Gallery, data: Dataset) -> Bench:
    """Encode the queries; note what is relevant to each."""
    queries = encode_queries(load_own_encoder(gallery), [query.file for query in data.queries])
    shown = {image.id: image.instance for image in data.images}
    instances = [shown[name] for name in gallery.ids]
    relevant = [[query.instance == one for one in instances] for query in data.queries]
    return Bench(
        queries.vectors, np.array(gallery.patches), np.array(gallery.patch_ends), np.array(relevant)
    )


def curve(bench: Bench, count: int, dims: Sequence[int], seeds: int) -> dict[str, Any]:
    """Learn on ``count`` of the images; search all of them."""
    total = len(bench.ends)
    draws = [
        np.random.default_rng(seed).choice(total, count, replace=False) for seed in range(seeds)
    ]
    rows = []
    for chosen in draws if count < total else [np.arange(total)]:
        part = bench.take(np.sort(chosen))
        found = part.spectrum()
        auto = found.chosen_dim()
        row = {"shrinkage": found.shrinkage, "auto_dim": auto, "auto": tried(bench, found, auto)}
        plain = part.spectrum(shrinkage=0.0)
        for dim in dims:
            row |= {f"{dim}": tried(bench, found, dim), f"{dim}_plain": tried(bench, plain, dim)}
        rows.append(row)
    return {"images": count, **mean_of(rows)}


def small(bench: Bench, count: int, dims: Sequence[int], seeds: int) -> dict[str, Any]:
    """Learn on a gallery of ``count`` images, and search that."""
    rows = []
    for seed in range(3 * seeds):
        part = bench.take(np.sort(np.random.default_rng(seed).permutation(len(bench.ends))[:count]))
        found = part.spectrum()
        auto = found.chosen_dim()
        row = {"without": part.mAP(None), "auto_dim": auto, "auto": tried(part, found, auto)}
        rows.append(row | {f"{dim}": tried(part, found, dim) for dim in dims})
    return {"images": count, **mean_of(rows)}


def held_out(bench: Bench, dims: Sequence[int]) -> dict[str, Any]:
    """Learn without the images of half of the objects, then of the other half; search for those.

    Returns:
        What each gains over no whitening, paired over queries.
    """
    whole, total = bench.spectrum(), len(bench.queries)
    asked = [dim for dim in dims if dim <= whole.rank]
    rows: dict[str, npt.NDArray[np.float64]] = {
        f"all_{dim}": bench.precisions(whole.whitening(dim)) for dim in asked
    } | {f"unseen_{dim}": np.full(total, np.nan) for dim in asked}
    for half in (np.arange(total) % 2 == 0, np.arange(total) % 2 == 1):
        unseen = ~bench.relevant[half].any(axis=0)
        found = bench.take(np.flatnonzero(unseen)).spectrum()
        for dim in asked:
            rows[f"unseen_{dim}"][half] = bench.precisions(found.whitening(dim))[half]
    without = bench.precisions(None)
    return {name: asdict(gain(without, row)) for name, row in rows.items()}


def learned_elsewhere(bench: Bench, other: Gallery, dims: Sequence[int]) -> dict[str, Any]:
    """Learn on the patches of another gallery; return gains as :func:`held_out`."""
    found = learn_spectrum(np.array(other.patches), np.array(other.patch_ends))
    without = bench.precisions(None)
    rows = {f"other_{dim}": bench.precisions(found.whitening(dim)) for dim in dims}
    return {name: asdict(gain(without, row)) for name, row in rows.items()}


def tried(bench: Bench, found: Spectrum, dim: int) -> float:
    """Return the mAP with so many dimensions; NaN where the vectors span fewer."""
    return bench.mAP(found.whitening(dim)) if dim <= found.rank else float("nan")


def mean_of(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each column; NaN where one is."""
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def show(found: dict[str, Any]) -> None:
    """Print the tables as Markdown."""
    print(f"mAP without whitening {found['without']:.2f}\n")
    for name in ("curve", "small_galleries"):
        columns = list(found[name][0])
        print(f"{name}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
        for row in found[name]:
            print(f"| {' | '.join(figures(row.values()))} |")
        print()
    for name, one in {**found["held_out"], **found.get("other", {})}.items():
        print(f"{name}: {one['mean']:+.2f} [{one['low']:+.2f}, {one['high']:+.2f}]")


def figures(values: Iterable[float]) -> list[str]:
    """Return numbers as a table has them."""
    return ["–" if value != value else f"{value:.4g}" for value in values]


if __name__ == "__main__":
    typer.run(main)
