"""``patchrerank import``: a gallery out of vectors that were made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import printing
from patchrerank.errors import SettingError

if TYPE_CHECKING:
    from patchrerank.gallery.vectors import Vectors

EXAMPLE = (
    "patchrerank import gallery/ --ids ids.txt --globals globals.npy --patches patches.npy "
    "--counts counts.npy --encoder 'our CLIP, June' --normalise"
)


def command(
    gallery: Annotated[Path, typer.Argument(help="Gallery folder to write.")],
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="All of it in one place, as export writes it: a folder of .npy files, .h5, "
            ".parquet or .arrow.",
        ),
    ] = None,
    ids: Annotated[
        Path | None,
        typer.Option(help="One id an image: .txt (one a line), .json (a list) or .npy."),
    ] = None,
    global_vectors: Annotated[
        Path | None, typer.Option("--globals", help=".npy (N, d): a vector an image.")
    ] = None,
    patches: Annotated[
        Path | None, typer.Option(help=".npy (N, P, d), or (T, d) with --counts.")
    ] = None,
    counts: Annotated[
        str | None,
        typer.Option(help="Patches an image: a number, or .npy (N,) of counts or ends."),
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(help=".npy (T, 4), or as --patches: x0, y0, x1, y1 in [0, 1] of the image."),
    ] = None,
    regions: Annotated[
        str | None,
        typer.Option(help="What gives the boxes, where there are none: grid:L, sliding:L:stride."),
    ] = None,
    max_regions: opt.MaxRegions = opt.MOST_REGIONS,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="What made the vectors: an encoder of ours (see index), or any text; then "
            "queries come as vectors."
        ),
    ] = None,
    id_type: Annotated[
        Literal["text", "int", "uuid"] | None,
        typer.Option("--id-type", help="What ids are that a file has as text."),
    ] = None,
    normalise: Annotated[
        bool, typer.Option("--normalise", help="Divide each vector by its norm.")
    ] = False,
    store: Annotated[
        Literal["float32", "float16", "int8"],
        typer.Option(help="How patch vectors are stored."),
    ] = "float16",
    root: Annotated[
        Path | None, typer.Option(help="Folder that the pictures lie in, under their ids.")
    ] = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Make a gallery of vectors that you have already.

    Files are read block by block. The gallery appears whole or not at all.
    """
    from patchrerank.gallery import import_gallery
    from patchrerank.regions import parse_regions

    found = _found(source, ids, global_vectors, patches)
    by = encoder or found.encoder
    if by is None:
        raise SettingError("say what made the vectors with --encoder: a spec, or any text")
    held = boxes or found.boxes
    strategy: Any = regions or found.regions
    if regions is not None and held is None:
        strategy = parse_regions(regions, most=max_regions)
    made = import_gallery(
        gallery,
        found.ids,
        found.global_vectors,
        found.patches,
        found.counts if counts is None else _number(counts),
        boxes=held,
        regions=strategy,
        encoder=by,
        normalise=normalise,
        store=store,
        id_type=id_type,
        root=root,
        progress=not quiet,
    )
    if json:
        keys = ("images", "patches", "dim", "store", "regions", "id_type")
        record = {key: getattr(made.manifest, key) for key in keys}
        told = {"gallery": gallery, **record, "encoder": made.manifest.encoder.get("spec")}
        printing.print_json(told)
    else:
        printing.print_line(repr(made))


def _found(
    source: Path | None, ids: Path | None, whole: Path | None, patches: Path | None
) -> Vectors:
    """Return the arrays that the options name; single ones replace those of ``--from``."""
    from dataclasses import replace

    from patchrerank.gallery.vector_files import read_vectors
    from patchrerank.gallery.vectors import Vectors

    given = {"ids": ids, "global_vectors": whole, "patches": patches}
    named: dict[str, Any] = {name: file for name, file in given.items() if file is not None}
    if source is not None:
        return replace(read_vectors(source), **named)
    if len(named) < len(given):
        raise SettingError(
            "an import needs --ids, --globals and --patches, or --from with all of them"
        )
    return Vectors(ids, whole, patches)


def _number(counts: str) -> int | str:
    """Return a number, or the file of which this is the path."""
    if not (counts.isascii() and counts.isdigit()):
        return counts
    if len(counts) > opt.LONGEST_NUMBER:
        raise SettingError(f"--counts is {counts[:40]!r}; no image has so many patches")
    return int(counts)
