"""Region strategies, stores and rerankers under whitening and query views: gains, bytes, time.

Each row is compared with one of them, and other regions with ``grid:3`` in the same words, query by
query: mean difference of average precision, 95 % interval, p-value of a permutation test. Times
are processor time of one thread.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from patchrerank.analysis import EvaluationSettings, LocalSettings, Run, evaluate_methods
from patchrerank.analysis.methods import Method, parse_method
from patchrerank.datasets import Dataset, load_dataset
from patchrerank.encoders import Encoder, load_dense_encoder, load_encoder, load_one_pass
from patchrerank.gallery import BuildOptions
from patchrerank.gallery.preparing import PreparedImage, Preparer
from patchrerank.images import read_image
from patchrerank.pipeline import load_reranker
from patchrerank.regions import Regions, parse_regions
from patchrerank.rerankers.execution import one_torch_thread
from patchrerank.tuning.statistics import Gain, gain
from patchrerank.types import Queries, Shortlist

BASE = "patchify whiten=640 store=int8 views=8:20:1"
SPACE = BASE.removeprefix("patchify ")
PLAIN = "patchify whiten=640 store=int8"
VIEWS = ("0:20", "2:20:1", "4:20:1", "24:20:1", "2:20", "4:20", "8:20")
ROWS = {
    "reranker": (
        BASE,
        f"patchify:all:0.1:4 {SPACE}",
        f"patchify:all:0.3:4 {SPACE}",
        f"patchify+refine-patches {SPACE}",
        f"patchify+refine {SPACE}",
        f"patchify,chamfer:100:0.7:1 {SPACE}",
        f"patchify,dense_correlation:100:0.7:1 {SPACE}",
        f"chamfer {SPACE}",
        f"global {SPACE}",
    ),
    "views": (
        BASE,
        "patchify",
        PLAIN,
        *(f"{PLAIN} views={views}" for views in VIEWS),
    ),
    "store": (
        BASE,
        "patchify whiten=512 store=int8 views=8:20:1",
        "patchify whiten=1024 store=int8 views=8:20:1",
        "patchify whiten=1024 store=int8 views=24:20:1",
    ),
    "quantiser": (BASE, "patchify whiten=640 store=pq views=8:20:1"),
}
"""By what they differ in. All are compared with the first."""
QUERIES, CANDIDATES, IMAGES = 6, 100, 4
"""That times are medians, or means, of."""


@dataclass(frozen=True)
class Row:
    """One row: percent, bytes an image, milliseconds of a processor; gain over the base."""

    regions: str
    method: str
    metrics: dict[str, float]
    small: float
    localises: bool
    bytes_per_image: float
    encode_ms: float
    rerank_ms: float
    index_ms: float
    gain: Gain


def main(
    dataset: Annotated[Path, typer.Argument(help="Folder with index.json.")],
    cache: Annotated[Path, typer.Option(help="Galleries are kept there.")],
    parts: Annotated[
        list[str] | None, typer.Option(help="Of the table; default: all, or what follows alone.")
    ] = None,
    stages: Annotated[
        list[str] | None,
        typer.Option(help="Rows more, such as patchify,ames@ames.pt:100:0.9:0.06."),
    ] = None,
    regions: Annotated[
        list[str] | None,
        typer.Option(help="Beside grid:3, such as sliding:3:0.5 or grid:3@224,288x2:p2."),
    ] = None,
    views: Annotated[str, typer.Option(help="Of these stages and regions.")] = "8:20",
    image_size: Annotated[int, typer.Option()] = 224,
    out: Annotated[Path | None, typer.Option(help="Write JSON here.")] = None,
) -> None:
    """Print the table."""
    data, encoder = load_dataset(dataset), load_encoder("efficientnet_lite0", image_size=image_size)
    print("network: " + ", ".join(f"{n} pictures {_network_ms(encoder, n):.1f} ms" for n in (1, 9)))
    whole = [] if stages or regions else list(ROWS)
    plan = [("grid:3", ROWS[part]) for part in parts or whole]
    viewed = f"{PLAIN} views={views}"
    behind = [f"{text} {viewed.removeprefix('patchify ')}" for text in stages or ()]
    plan += [("grid:3", (viewed, *behind))] if behind else []
    both = viewed, PLAIN
    plan += [(where, both) for where in (("grid:3", *regions) if regions else ())]
    rows: list[Row] = []
    bases: dict[str, Run] = {}
    for where, texts in plan:
        for text, run, costs in _measured(data, encoder, where, texts, cache):
            bases.setdefault(text, run)
            base = bases[text] if where != "grid:3" else next(iter(bases.values()))
            rows.append(_row(where, text, run, costs, base, data))
            print(_line(rows[-1]), flush=True)
    if out is not None:
        found = json.dumps([asdict(row) for row in rows], indent=1)
        out.write_text(found + "\n", encoding="utf-8")


def _measured(
    data: Dataset, encoder: Encoder, where: str, texts: Sequence[str], cache: Path
) -> Iterator[tuple[str, Run, list[float]]]:
    spec, _, one_pass = where.partition("@")
    maker = load_one_pass(encoder, one_pass) if one_pass else encoder
    cut = parse_regions(spec)
    settings = EvaluationSettings(
        cut, local=LocalSettings(query_part="foreground"), build=BuildOptions(progress=False)
    )
    methods = [parse_method(text) for text in texts]
    runs = evaluate_methods(data, maker, methods, settings, cache)
    index = _index_ms(data, maker, cut)
    dense = _dense_ms(data, encoder) if any(method.needs_local for method in methods) else 0.0
    for text, run, method in zip(texts, runs, methods, strict=True):
        costs = _query_ms(data, encoder, run, method)
        yield text, run, [*costs, index + (dense if method.needs_local else 0.0)]


def _query_ms(data: Dataset, encoder: Encoder, run: Run, method: Method) -> list[float]:
    """Return median processor milliseconds of encoding a query, and of 100 candidates."""
    stages = "patchify" if method.is_global else method.stages
    ranker = load_reranker(
        run.gallery,
        stages,
        encoder=encoder,
        query_views=method.views,
        query_part="foreground",
        images={image.id: image.file for image in data.images},
    )
    rows = np.arange(CANDIDATES)[None]
    listed = Shortlist(rows, np.linspace(0.9, 0.1, CANDIDATES, dtype=np.float32)[None])
    encoding, ranking = [], []
    with one_torch_thread():
        for query in [data.queries[0], *data.queries[:QUERIES]]:
            asked: list[Queries] = []
            encode = partial(ranker.encode, [query.file], [query.box])
            encoding.append(_spent(lambda: asked.append(encode())))  # noqa: B023
            ranking.append(_spent(partial(ranker.rerank, asked[0], listed)))
    spent, rerank = (float(np.median(times[1:])) for times in (encoding, ranking))
    return [spent, 0.0 if method.is_global else rerank]


def _network_ms(encoder: Encoder, count: int) -> float:
    """Return median processor milliseconds of so many pictures, ready for the network."""
    crops = np.zeros((count, *encoder.preprocessing.image_size, 3), dtype=np.uint8)
    with one_torch_thread():
        times = [_spent(partial(encoder.encode, crops)) for _ in range(QUERIES + 1)]
    return float(np.median(times[1:]))


def _index_ms(data: Dataset, maker: Encoder, regions: Regions) -> float:
    prepare = Preparer(maker, regions, BuildOptions())

    def index() -> None:
        for image in data.images[:IMAGES]:
            made = prepare(image.id, image.file)
            if isinstance(made, PreparedImage):
                maker.encode_regions([made.cuts])

    with one_torch_thread():
        return _spent(index) / IMAGES


def _dense_ms(data: Dataset, encoder: Encoder) -> float:
    dense = load_dense_encoder(encoder, image_size=448)

    def index() -> None:
        for image in data.images[:IMAGES]:
            dense.encode([dense.prepare(read_image(image.file))])

    with one_torch_thread():
        index()
        return _spent(index) / IMAGES


def _spent(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return 1000 * (time.process_time() - begun)


def _row(where: str, text: str, run: Run, costs: list[float], base: Run, data: Dataset) -> Row:
    made = run.measured
    objects = [query.instance for query in data.queries]
    against = gain(base.measured.per_query, made.per_query, np.array(objects))
    size = made.bytes_per_image["read"]
    shown = made.metrics, made.areas["<10%"]["mAP"], made.localises
    return Row(where, text, *shown, size, costs[0], costs[1], costs[2], against)


def _line(row: Row) -> str:
    named = row.method.replace(SPACE, "…") if row.method != BASE else row.method
    name = named if row.regions == "grid:3" else f"{row.regions}: {named}"
    located = [row.metrics[name] if row.localises else float("nan") for name in LOCATED]
    boxes = " | ".join("no box" if value != value else f"{value:.1f}" for value in located)
    low, mean, high = (100 * v for v in (row.gain.low, row.gain.mean, row.gain.high))
    return (
        f"| `{name}` | {row.metrics['mAP']:.1f} | {row.small:.1f} | {boxes} | "
        f"{row.bytes_per_image:,.0f} | {row.encode_ms:.0f} | {row.rerank_ms:.1f} | "
        f"{row.index_ms:.0f} | {mean:+.1f} [{low:+.1f}, {high:+.1f}], {row.gain.p_value:.2g} |"
    )


LOCATED = ("LocScore", "mLocScore")


if __name__ == "__main__":
    typer.run(main)
