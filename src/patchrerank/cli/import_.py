"""``patchrerank import``: a gallery out of vectors that were made elsewhere."""

from __future__ import annotations

from dataclasses import replace
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


PIECES = "One by one"
"""Section of options that name files of arrays, in place of ``--from``."""


def command(
    gallery: Annotated[Path, typer.Argument(help="Gallery folder to write.")],
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="All of it in one place, as export writes it: a folder of .npy files, .h5, "
            ".parquet or .arrow; or a LanceDB table: DATABASE/TABLE.lance.",
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            help="What columns of --from are called: ids=sku,globals=vector,patches=crops."
        ),
    ] = None,
    lance_version: Annotated[
        int | None, typer.Option("--lance-version", help="Version of a LanceDB table.", min=1)
    ] = None,
    ids: Annotated[
        Path | None,
        typer.Option(
            help="One id an image: .txt (one a line), .json (a list; of an index also {label: id}) "
            "or .npy. Without: the labels of an index.",
            rich_help_panel=PIECES,
        ),
    ] = None,
    global_vectors: Annotated[
        Path | None,
        typer.Option(
            "--globals",
            help="A vector an image: .npy (N, d), or a faiss index file.",
            rich_help_panel=PIECES,
        ),
    ] = None,
    patches: Annotated[
        Path | None,
        typer.Option(help=".npy (N, P, d), or (T, d) with --counts.", rich_help_panel=PIECES),
    ] = None,
    counts: Annotated[
        str | None,
        typer.Option(
            help="Patches an image: a number, or .npy (N,) of counts or ends.",
            rich_help_panel=PIECES,
        ),
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(
            help=".npy (T, 4), or as --patches: x0, y0, x1, y1 in [0, 1] of the image.",
            rich_help_panel=PIECES,
        ),
    ] = None,
    regions: Annotated[
        str | None,
        typer.Option(
            help="What gives the boxes, where there are none: grid:L, sliding:L:stride.",
            rich_help_panel=PIECES,
        ),
    ] = None,
    max_regions: opt.MaxRegions = opt.MOST_REGIONS,
    sizes: Annotated[
        Path | None,
        typer.Option(
            help=".npy (N, 2): width and height of the pictures in pixels.", rich_help_panel=PIECES
        ),
    ] = None,
    local: Annotated[
        Path | None,
        typer.Option(
            help="Local descriptors: a folder of vectors.npy, places.npy (x, y, scale, weight) and "
            "counts.npy, or .h5 as AMES has it.",
            rich_help_panel=opt.LOCAL,
        ),
    ] = None,
    local_store: Annotated[
        Literal["float16", "int8", "binary", "float32"],
        typer.Option(
            "--local-store", help="How local descriptors are stored.", rich_help_panel=opt.LOCAL
        ),
    ] = "float16",
    local_encoder: Annotated[
        str | None,
        typer.Option(
            "--local-encoder",
            help="What made local descriptors: any text.",
            rich_help_panel=opt.LOCAL,
        ),
    ] = None,
    local_pixels: Annotated[
        bool,
        typer.Option(
            "--local-pixels",
            help="Their places are in pixels (needs sizes).",
            rich_help_panel=opt.LOCAL,
        ),
    ] = False,
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
    lossy: Annotated[
        bool,
        typer.Option("--lossy", help="Take vectors that an index holds only as codes, or turned."),
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

    given: dict[str, Any] = {"ids": ids, "global_vectors": global_vectors, "patches": patches}
    given |= {"counts": _number(counts), "boxes": boxes, "sizes": sizes, "local": local}
    found = _found(source, given, columns, lance_version)
    by = encoder or found.encoder
    if by is None:
        raise SettingError("say what made the vectors with --encoder: a spec, or any text")
    strategy: Any = regions or found.regions
    if regions is not None and found.boxes is None:
        strategy = parse_regions(regions, most=max_regions)
    if found.patches is None and found.local is None and root is None:
        raise SettingError(
            "there is nothing to rerank by: say --patches, --local, or the --root of the pictures"
        )
    made = import_gallery(
        gallery,
        found.ids,
        found.global_vectors,
        found.patches,
        found.counts,
        boxes=found.boxes,
        regions=strategy,
        sizes=found.sizes,
        local=found.local,
        local_store=local_store,
        local_encoder=local_encoder,
        local_pixels=local_pixels,
        encoder=by,
        normalise=normalise,
        lossy=lossy,
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
    source: Path | None, given: dict[str, Any], columns: str | None, version: int | None
) -> Vectors:
    """Return the arrays that the options name; single ones replace those of ``--from``."""
    from patchrerank.gallery import read_vectors
    from patchrerank.gallery.vectors import Vectors

    named = {name: value for name, value in given.items() if value is not None}
    if source is not None:
        return replace(read_vectors(source, _columns(columns), version=version), **named)
    for option, value in (("--columns", columns), ("--lance-version", version)):
        if value is not None:
            raise SettingError(f"{option} is for what --from names")
    if "global_vectors" not in named:
        raise SettingError(
            "an import needs --ids, --globals and --patches, or --from with all of them"
        )
    return replace(Vectors(None, None), **named)


def _columns(text: str | None) -> dict[str, str]:
    """Read ``key=name,key=name``."""
    pairs = [part.partition("=") for part in text.split(",")] if text else []
    if not all(key.strip() and name.strip() for key, _, name in pairs):
        raise SettingError(f"--columns is {text!r}; use such as ids=sku,globals=vector")
    return {key.strip(): name.strip() for key, _, name in pairs}


def _number(counts: str | None) -> int | str | None:
    """Return a number, or the file of which this is the path."""
    if counts is None or not (counts.isascii() and counts.isdigit()):
        return counts
    if len(counts) > opt.LONGEST_NUMBER:
        raise SettingError(f"--counts is {counts[:40]!r}; no image has so many patches")
    return int(counts)
