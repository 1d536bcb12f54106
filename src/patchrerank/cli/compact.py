"""``patchrerank compact``: give back the bytes of images that were removed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import printing

EXAMPLE = "patchrerank compact gallery/"


def command(
    gallery: Annotated[Path, typer.Argument(help="Gallery folder.")],
    json: opt.Json = False,
) -> None:
    """Write a gallery anew without the images that were removed, local descriptors with it."""
    from patchrerank.gallery import Gallery, compact

    before = _bytes(gallery)
    gone = len(opened := Gallery(gallery)) - opened.live_count
    after = compact(gallery)
    freed = before - _bytes(gallery)
    if json:
        record = {"rows": gone, "bytes": freed, "images": after.live_count}
        printing.print_json({"gallery": gallery, **record})
    else:
        printing.print_line(f"{gone} removed rows and {freed:,} bytes given back; {after!r}")


def _bytes(folder: Path) -> int:
    """Return the bytes of all arrays of a gallery, and of its local descriptors."""
    return sum(path.stat().st_size for path in folder.glob("**/*.bin"))
