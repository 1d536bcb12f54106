"""``patchrerank info``: what a gallery holds, and whether it is sound."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchrerank.cli import options as opt


def command(
    gallery: Annotated[Path, typer.Argument(help="Gallery folder.")],
    check: Annotated[
        bool, typer.Option("--verify", help="Read everything and check it; exit 1 if damaged.")
    ] = False,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Describe a gallery; with --verify, check every byte."""
    from patchrerank.gallery import Gallery, verify, verify_local

    opened = Gallery(gallery)
    made = opened.manifest
    problems = verify(opened, progress=not quiet) if check else []
    sizes = opened.nbytes()
    if opened.has_local:
        sizes.update({f"local/{name}": size for name, size in opened.local.nbytes().items()})
        problems += verify_local(opened.local) if check else []
    if json:
        opt.print_json(
            {
                "gallery": gallery,
                "images": made.images,
                "patches": made.patches,
                "dim": made.dim,
                "store": made.store,
                "regions": made.regions,
                "encoder": made.encoder,
                "identity": made.identity,
                "whitened": made.whitened,
                "bytes": sizes,
                "skipped": made.skipped,
                "verified": check,
                "problems": problems,
            }
        )
    else:
        opt.print_line(repr(opened))
        opt.print_line(f"encoder: {made.encoder.get('spec')} ({made.identity[:12]}…)")
        rows = [(name, f"{size:,}") for name, size in sizes.items()]
        opt.print_table("", ("array", "bytes"), [*rows, ("all", f"{sum(sizes.values()):,}")])
        for name, reason in made.skipped:
            opt.print_line(f"skipped {name}: {reason}")
        for problem in problems:
            opt.print_line(f"DAMAGED {problem}")
        if check and not problems:
            opt.print_line("verified: all is well")
    raise typer.Exit(1 if problems else 0)
