"""``patchrerank export``: a gallery's vectors for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import printing

EXAMPLE = "patchrerank export gallery/ vectors/ --format npy"


def command(
    gallery: Annotated[Path, typer.Argument(help="Gallery folder.")],
    out: Annotated[Path, typer.Argument(help="What to write; must not be there.")],
    format: Annotated[
        Literal["npy", "hdf5", "parquet"],
        typer.Option(
            help="npy: a folder of ids, globals, patches, counts, boxes, sizes and local; hdf5, "
            "parquet: one file of them."
        ),
    ] = "npy",
    local: Annotated[
        bool, typer.Option("--local/--no-local", help="Whether local descriptors are written, too.")
    ] = True,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Write a gallery's ids, vectors, boxes and local descriptors; import takes them back."""
    from patchrerank.gallery import Gallery, export_gallery
    from patchrerank.gallery.region_vectors import live_patches

    opened = Gallery(gallery)
    export_gallery(opened, out, format, local=local, progress=not quiet)
    if json:
        record = {"images": opened.live_count, "patches": len(live_patches(opened))}
        record["dim"] = opened.dim
        printing.print_json({"gallery": gallery, "out": out, "format": format, **record})
    else:
        printing.print_line(f"{out}: {opened.live_count} images of {opened!r}")
