"""``patchrerank bench``: the kernels against their peers, on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import printing

if TYPE_CHECKING:
    from patchrerank.bench import Row

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
    """Time every job beside its peers: one core, interleaved rounds, medians.

    The whole run is pinned to one core where the system can (Linux). Results are compared first.
    Ratios above 1 are slower than ours; the bound is the machine's own read bandwidth (or matrix
    product, the better of numpy's and torch's), measured in the same rounds. Processor time counts
    all threads: a contestant whose exceeds its wall time is marked.
    """
    from patchrerank.bench.one_core import one_core

    with one_core() as core:  # before libraries start, which count cores then
        from patchrerank.bench import Sizes, run_bench
        from patchrerank.bench.machine import processor_name

        sizes = Sizes(candidates, patches, dim, parts, queries, descriptors, store_mib, rounds)
        rows = []
        for row in run_bench(job, sizes):
            rows.append(row)
            if not json and row.note:
                printing.print_line(f"{row.job}: {row.contestant}: {row.note}")
        where = {"processor": processor_name(), "core": core}
    if json:
        records = [asdict(row) for row in rows]
        printing.print_json({**where, "sizes": asdict(sizes), "rows": records})
        return
    pinned = "one thread (this system pins no process)" if core is None else f"core {core} alone"
    _print(f"{where['processor']}, {pinned}, medians of {rounds} interleaved rounds", rows)


def _print(title: str, rows: Sequence[Row]) -> None:
    timed = [row for row in rows if not row.note]
    printing.print_table(
        title,
        ("job", "contestant", "ms", "processor ms", "× ours", "× bound"),
        [
            (
                row.job,
                row.contestant,
                printing.number(row.median_ms, 3),
                printing.number(row.processor_ms, 3) + " !" * row.several_cores,
                printing.number(row.ratio, 2),
                printing.number(row.bound_ratio, 2),
            )
            for row in timed
        ],
    )
    if any(row.several_cores for row in timed):
        printing.print_line("! more processor time than wall time: on several cores")
