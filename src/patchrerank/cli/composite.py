"""``patchrerank composite``: make a benchmark from photographs and cut-outs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import printing
from patchrerank.errors import SettingError

EXAMPLE = "patchrerank composite cutouts/ photos/ dataset/ --positives 5"


def command(
    folders: Annotated[
        list[Path],
        typer.Argument(
            help="OBJECTS BACKGROUNDS OUT: RGBA cut-outs, photographs, and the folder to write; "
            "with --cut-from only BACKGROUNDS OUT.",
            metavar="[OBJECTS] BACKGROUNDS OUT",
        ),
    ],
    cut_from: Annotated[
        Path | None,
        typer.Option(help="Cut random-shaped pieces out of these photographs as objects."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed and input, same data set.")] = 0,
    positives: Annotated[int, typer.Option(help="Pictures that show each object.")] = 5,
    distractors: Annotated[int, typer.Option(help="Pictures that show none.")] = 600,
    max_instances: Annotated[int | None, typer.Option(help="Objects at most.")] = None,
    pieces_per_photo: Annotated[int, typer.Option(help="With --cut-from.")] = 4,
    long_side: Annotated[int, typer.Option(help="Pixels of a picture's longer side.")] = 512,
    area: Annotated[str, typer.Option(help="Share of the picture: smallest,largest.")] = "0.03,0.6",
    occlusion: Annotated[float, typer.Option(help="Largest share of an object hidden.")] = 0.35,
    max_clutter: Annotated[int, typer.Option(help="Other pieces beside an object.")] = 3,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Paste objects into photographs, with exact boxes: a benchmark without labelling."""
    from patchrerank.datasets.composite import CompositeConfig, build_composite

    expected = 2 if cut_from is not None else 3
    if len(folders) != expected:
        raise SettingError(
            f"{len(folders)} folders given, expected {expected}: OBJECTS BACKGROUNDS OUT, or "
            "BACKGROUNDS OUT with --cut-from DIR"
        )
    objects = None if cut_from is not None else folders[0]
    config = CompositeConfig(
        seed=seed,
        positives=positives,
        distractors=distractors,
        long_side=long_side,
        area=_range(area),
        occlusion=occlusion,
        max_clutter=max_clutter,
        max_instances=max_instances,
        pieces_per_photo=pieces_per_photo,
    )
    data = build_composite(config, objects, folders[-2], folders[-1], cut_from, not quiet)
    record = {
        "dataset": folders[-1],
        "objects": len(data.objects),
        "queries": len(data.queries),
        "images": len(data.images),
    }
    if json:
        printing.print_json(record)
    else:
        printing.print_line(", ".join(f"{key}: {value}" for key, value in record.items()))


def _range(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise SettingError(f"--area is {text!r}; use smallest,largest such as 0.03,0.6") from None
    return low, high
