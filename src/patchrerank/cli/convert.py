"""``patchrerank convert``: write a benchmark in another layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import printing

EXAMPLE = "patchrerank convert roxford5k:setup=hard dataset/ --pictures symlink"


def command(
    source: Annotated[
        Path,
        typer.Argument(
            help="Folder of the benchmark; options may follow: roxford5k:setup=hard.",
        ),
    ],
    target: Annotated[Path, typer.Argument(help="Folder to write, new or empty.")],
    layout: Annotated[
        str,
        typer.Option(
            help="Of SOURCE: folder (index.json), ilias, instre or revisited; auto sees it."
        ),
    ] = "auto",
    to: Annotated[Literal["folder", "ilias"], typer.Option(help="Layout of TARGET.")] = "folder",
    pictures: Annotated[
        Literal["symlink", "hardlink", "copy"], typer.Option(help="How they come along.")
    ] = "symlink",
    clutter: Annotated[
        int | None,
        typer.Option(help="To ilias: written where a positive's clutter is unknown."),
    ] = None,
    json: opt.Json = False,
) -> None:
    """Read ILIAS, INSTRE, revisited Oxford/Paris or our own format, and write it anew."""
    from patchrerank.datasets import convert_dataset, load_dataset
    from patchrerank.datasets.convert import ConvertOptions

    how = ConvertOptions(pictures, clutter)
    data = convert_dataset(load_dataset(source, layout), target, to, how)
    record = {
        "dataset": target,
        "layout": to,
        "name": data.name,
        "queries": len(data.queries),
        "images": len(data.images),
        "AP": data.convention,
        "query_crop": data.query_crop,
    }
    if json:
        printing.print_json(record)
    else:
        printing.print_line(", ".join(f"{key}: {value}" for key, value in record.items()))
