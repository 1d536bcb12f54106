"""``patchrerank backgrounds``: give a gallery what query views are composed on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import printing

EXAMPLE = "patchrerank backgrounds gallery/ --root photos/"


def command(
    gallery: Annotated[Path, typer.Argument(help="Gallery folder.")],
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Folder of other pictures of the same kind, in their place."),
    ] = None,
    root: opt.Root = None,
    count: Annotated[int, typer.Option(help="Crops that are kept.")] = 64,
    seed: Annotated[int, typer.Option(help="Of what is cut out.")] = 0,
    json: opt.Json = False,
) -> None:
    """Keep crops of a gallery's pictures with it, for --query-views; old ones are replaced."""
    from patchrerank.gallery import Gallery, write_backgrounds
    from patchrerank.images import list_images

    opened = Gallery(gallery, root=root)
    others = None if source is None else list_images(source)
    made = write_backgrounds(opened, others, count=count, seed=seed)
    kept, size = len(made.backgrounds), made.backgrounds.nbytes
    if json:
        printing.print_json({"gallery": gallery, "backgrounds": kept, "bytes": size})
        return
    printing.print_line(f"{kept} backgrounds ({size:,} bytes) are kept with {gallery}")
