"""``patchrerank bench``: the kernels against their peers, on this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import printing

EXAMPLE = "patchrerank bench --job int8 --job batch --candidates 400"


def command(
    job: Annotated[
        list[str] | None,
        typer.Option(
            help="float32, float16, int8, pq, batch, chamfer, chamfer-128, engines; may be "
            "repeated. [all]"
        ),
    ] = None,
    candidates: Annotated[int, typer.Option(help="Length of a shortlist.")] = 400,
    patches: Annotated[int, typer.Option(help="Patches an image.")] = 30,
    dim: Annotated[int, typer.Option(help="Dimensions of a vector.")] = 768,
    parts: Annotated[int, typer.Option(help="Bytes a row of the product quantiser.")] = 64,
    queries: Annotated[int, typer.Option(help="Queries of a batch.")] = 32,
    descriptors: Annotated[int, typer.Option(help="Descriptors of a query and a candidate.")] = 100,
    store_mib: Annotated[int, typer.Option(help="Size of each store.")] = 600,
    rounds: Annotated[int, typer.Option(help="How often each contestant runs.")] = 15,
    json: opt.Json = False,
) -> None:
    """Time every job beside its peers: one thread, interleaved rounds, medians.

    Results are compared first. Ratios above 1 are slower than ours; the bound is the machine's
    own read bandwidth (or GEMM speed), measured in the same rounds.
    """
    from patchrerank.bench import Sizes, run_bench

    sizes = Sizes(candidates, patches, dim, parts, queries, descriptors, store_mib, rounds)
    rows = []
    for row in run_bench(job, sizes):
        rows.append(row)
        if not json and row.note:
            printing.print_line(f"{row.job}: {row.contestant}: {row.note}")
    if json:
        printing.print_json({"sizes": asdict(sizes), "rows": [asdict(row) for row in rows]})
        return
    printing.print_table(
        f"one thread, medians of {rounds} interleaved rounds",
        ("job", "contestant", "ms", "× ours", "× bound"),
        [
            (
                row.job,
                row.contestant,
                printing.number(row.median_ms, 3),
                printing.number(row.ratio, 2),
                printing.number(row.bound_ratio, 2),
            )
            for row in rows
            if not row.note
        ],
    )
