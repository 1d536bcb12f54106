"""``patchrerank bench``: the kernels against their peers, on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import printing
from patchrerank.cli.tuned_option import was_given

if TYPE_CHECKING:
    from patchrerank.bench import Row

EXAMPLE = "patchrerank bench --job int8 --job batch --candidates 400"


def command(
    context: typer.Context,
    job: Annotated[
        list[str] | None,
        typer.Option(
            help="float32, float16, int8, pq, batch, chamfer, chamfer-128, engines; with --device "
            "float16, int8, maxsim, ames, elvis, index; may be repeated. [all]"
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
    device: Annotated[
        str | None,
        typer.Option(
            help="Measure this device in place of the kernels: cuda, mps; or cpu, torch on it.",
            show_default=False,
        ),
    ] = None,
    encoder: Annotated[
        str, typer.Option(help="Network of the job index on a device, random weights.")
    ] = "timm:vit_base_patch16_224",
    precision: Annotated[str, typer.Option(help="Of that network.")] = "bf16",
    images: Annotated[int, typer.Option(help="Pictures of the job index.")] = 64,
    json: opt.Json = False,
) -> None:
    """Time every job beside its peers: one core, interleaved rounds, medians.

    The whole run is pinned to one core where the system can (Linux). Results are compared first.
    Ratios above 1 are slower than ours; the bound is the machine's own read bandwidth (or matrix
    product, the better of numpy's and torch's), measured in the same rounds. Processor time counts
    all threads: a contestant whose exceeds its wall time is marked.

    With --device, scoring and encoding there are measured beside the CPU and the device's own
    bounds: its memory's bandwidth, matrix products, the network alone on ready tensors.
    """
    sizes = (candidates, patches, dim, parts, queries, descriptors, store_mib, rounds, images)
    if device is not None:
        _bench_device(context, device, job, sizes, (encoder, precision), as_json=json)
        return
    from patchrerank.bench.one_core import one_core

    with one_core() as core:  # before libraries start, which count cores then
        from patchrerank.bench import Sizes, run_bench
        from patchrerank.bench.machine import processor_name

        rows = []
        for row in run_bench(job, made := Sizes(*sizes)):
            rows.append(row)
            if not json and row.note:
                printing.print_line(f"{row.job}: {row.contestant}: {row.note}")
        where = {"processor": processor_name(), "core": core}
    if json:
        records = [asdict(row) for row in rows]
        printing.print_json({**where, "sizes": asdict(made), "rows": records})
        return
    pinned = "one thread (this system pins no process)" if core is None else f"core {core} alone"
    _print(f"{where['processor']}, {pinned}, medians of {rounds} interleaved rounds", rows)


def _bench_device(
    context: typer.Context,
    device: str,
    jobs: list[str] | None,
    sizes: tuple[int, ...],
    network: tuple[str, str],
    *,
    as_json: bool,
) -> None:
    from patchrerank.bench.device_jobs import DEVICE_SIZES, OnDevice, run_device_bench
    from patchrerank.bench.device_machine import device_name
    from patchrerank.bench.sizes import Sizes

    where = OnDevice("torch:cpu" if device == "cpu" else device, *network)
    card = device_name(where.name)
    usual = {} if device == "cpu" else DEVICE_SIZES
    larger = {name: size for name, size in usual.items() if not was_given(context, name)}
    made = replace(Sizes(*sizes), **larger)
    rows = list(run_device_bench(jobs, made, where))
    if as_json:
        records = [asdict(row) for row in rows]
        printing.print_json({"device": card, "sizes": asdict(made), "rows": records})
        return
    _print(f"{card}, medians of {made.rounds} interleaved rounds", rows)


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
