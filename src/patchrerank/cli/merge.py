"""``patchrerank merge``: galleries that become one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import printing

EXAMPLE = "patchrerank merge all/ part-1/ part-2/ part-3/"


def command(
    out: Annotated[Path, typer.Argument(help="Gallery folder to write.")],
    galleries: Annotated[
        list[Path] | None,
        typer.Argument(help="Gallery folders, made alike, in the order of their images."),
    ] = None,
    append: Annotated[
        bool,
        typer.Option(
            "--append",
            help="Add to OUT, a gallery of shards; all shards are taken as they are now.",
        ),
    ] = False,
    copy: Annotated[
        bool,
        typer.Option("--copy", help="Copy all into one folder, which needs the others no longer."),
    ] = False,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Join galleries into one: of shards, which stay where they are, or, with --copy, one folder.

    Without --copy nothing is copied, and OUT names its shards by their relative paths.
    """
    from patchrerank.gallery import merge

    made = merge(out, galleries or [], append=append, copy=copy, progress=not quiet)
    if json:
        keys = ("images", "patches", "dim", "store", "regions")
        record = {key: getattr(made.manifest, key) for key in keys}
        shards = [] if made.shards is None else made.shards.table.folders
        printing.print_json({"gallery": out, **record, "shards": shards})
    else:
        printing.print_line(repr(made))
