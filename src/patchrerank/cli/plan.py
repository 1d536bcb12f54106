"""``patchrerank plan``: how big, how fast, how dear a catalogue would be."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import printing
from patchrerank.errors import SettingError

if TYPE_CHECKING:
    from patchrerank.planning import Machine, Plan, Rates, Workload

GB = 1e9
EXAMPLE = "patchrerank plan --images 100M --dim 768 --level 3 --store int8"


def command(
    images: Annotated[str, typer.Option(help="How many: 100M, 2.5k, 1_000_000.")],
    dim: Annotated[int | None, typer.Option(help="Dimensions of a vector. [the encoder's]")] = None,
    level: Annotated[int, typer.Option(help="Grid level: 1, 5, 14, 30 patches an image.")] = 3,
    store: Annotated[str, typer.Option(help=opt.STORES)] = "int8",
    m: Annotated[int, typer.Option("--m", help="Bytes a row of pq.")] = 64,
    candidates: Annotated[int, typer.Option(help="Of a request.")] = 400,
    rescore: opt.Rescore = None,
    encoder: Annotated[
        str | None, typer.Option(help="Encode a sample with it (random weights) to see how fast.")
    ] = None,
    image_size: opt.ImageSize = None,
    device: opt.Device = "auto",
    photos: Annotated[
        Path | None, typer.Option(help="A folder of pictures for the sample. [noise, 640 × 480]")
    ] = None,
    sample: Annotated[int, typer.Option(help="Pictures that are encoded.")] = 16,
    rate: Annotated[
        float | None, typer.Option(help="Images a second of one worker, measured elsewhere.")
    ] = None,
    workers: Annotated[
        list[int] | None, typer.Option(help="Give hours for so many; may be repeated. [1, 8, 64]")
    ] = None,
    price: Annotated[float | None, typer.Option(help="Of one worker's hour.")] = None,
    disk: Annotated[
        Path, typer.Option(help="A folder on the disk that would hold it; 512 MiB are tried there.")
    ] = Path(),
    json: opt.Json = False,
) -> None:
    """Bytes, hours and milliseconds of a catalogue, from what is measured here and now."""
    from patchrerank.gallery.storage import patches_at
    from patchrerank.planning import Workload, bytes_by_level, make_plan, parse_count
    from patchrerank.planning.machine import this_machine

    if encoder is None and dim is None:
        raise SettingError("give --dim, or --encoder")
    if encoder is not None and rate is not None:
        raise SettingError("--encoder measures what --rate says; give one of them")
    if rate is not None and not 0 < rate < float("inf"):
        raise SettingError(f"--rate must be above 0, got {rate}")
    if not disk.is_dir():
        raise SettingError(f"--disk {disk}: no such folder")
    count = parse_count(images)
    speed, width = rate or float("nan"), dim
    if encoder is not None:
        speed, own = _encoding(encoder, level, sample, photos, image_size, device, store)
        width = dim or own
    work = Workload(count, width or 0, patches_at(level), store, m, candidates, rescore)
    machine = this_machine(disk)
    plan = make_plan(
        work, machine, _rates(work, speed, disk), workers=workers or (1, 8, 64), price=price
    )
    levels = bytes_by_level(work, level)
    if json:
        shown = {**asdict(plan), "total_bytes": plan.total_bytes, "total_hours": plan.total_hours}
        printing.print_json({**shown, "patch_bytes_by_level": levels})
        return
    _print(plan, levels)


def _encoding(
    encoder: str, level: int, sample: int, photos: Path | None, image_size: int | None,
    device: str, store: str,
) -> tuple[float, int]:  # fmt: skip
    from patchrerank.images import list_images
    from patchrerank.planning import encoding_rate

    pictures = [] if photos is None else list(list_images(photos))[:sample]
    return encoding_rate(
        encoder, f"grid:{level}", count=sample, photos=pictures, image_size=image_size,
        device=device, store=store,
    )  # fmt: skip


def _rates(work: Workload, speed: float, disk: Path) -> Rates:
    from patchrerank.planning import Rates, measure_requests, quantising_rate

    warm, cold = measure_requests(work, disk)
    vectors = quantising_rate(work.dim, work.m) if work.quantised else float("nan")
    return Rates(speed, vectors, warm, cold)


def _print(plan: Plan, levels: dict[int, dict[str, int]]) -> None:
    work, number = plan.workload, printing.number
    printing.print_table(
        f"patch vectors of {work.images:,} images, {work.dim}-d, GB (10^9 bytes)",
        ("grid", *levels[0]),
        [
            (f"L{level}", *(number(size / GB) for size in sizes.values()))
            for level, sizes in levels.items()
        ],
    )
    total = plan.total_bytes
    printing.print_table(
        f"the gallery in {work.store}, {work.patches} patches an image",
        ("array", "GB", "bytes an image"),
        [
            (name, number(size / GB, 2), number(size / work.images))
            for name, size in [*plan.arrays.items(), ("all", total)]
        ],
    )
    _print_hours(plan)
    printing.print_table(
        f"a request: patch scores of {work.candidates} candidates, one thread, measured",
        ("rows are", "ms"),
        [
            ("in memory", number(plan.rates.warm_ms, 2)),
            ("on the disk", number(plan.rates.cold_ms, 1)),
            ("bound: reading the bytes from memory", number(plan.read_ms, 2)),
        ],
    )
    _print_ends(plan.machine, plan.ends)
    for told in plan.assumptions:
        printing.print_line(f"assumed: {told}")


def _print_hours(plan: Plan) -> None:
    counts = list(plan.hours)
    rows = [
        (step.name, *(printing.number(step.hours / count) for count in counts))
        for step in plan.steps
    ]
    rows.append(("all", *(printing.number(plan.hours[count]) for count in counts)))
    if plan.price:
        rows.append(("price", *(printing.number(plan.price[count], 2) for count in counts)))
    rate = printing.number(plan.rates.images, 2)
    printing.print_table(
        f"hours by workers, at {rate} images a second each",
        ("step", *map(str, counts)),
        rows,
    )


def _print_ends(machine: Machine, ends: dict[str, float]) -> None:
    printing.print_table(
        f"where one machine ends ({machine.cores} cores, {machine.memory / GB:.0f} GB of memory, "
        f"{machine.disk / GB:.0f} GB of disk free)",
        ("", "million images"),
        [(name, printing.number(count / 1e6, 2)) for name, count in ends.items()],
    )
