"""``patchrerank remove``: take images out of a gallery."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import printing
from patchrerank.errors import GalleryError

EXAMPLE = "patchrerank remove gallery/ sofas/017.jpg sofas/018.jpg"


def command(
    gallery: Annotated[Path, typer.Argument(help="Gallery folder.")],
    images: Annotated[
        list[str] | None, typer.Argument(help="Ids of the images.", metavar="ID")
    ] = None,
    ids: Annotated[
        Path | None, typer.Option("--ids", help="A text file of ids, one a line.")
    ] = None,
    json: opt.Json = False,
) -> None:
    """Remove images from a gallery, all of them at once; compact gives their bytes back."""
    from patchrerank.gallery import Gallery, remove

    before = Gallery(gallery)
    listed = [*(images or ()), *(_lines(ids) if ids is not None else ())]
    after = remove(gallery, before.ids.kind.read(listed))
    gone = before.live_count - after.live_count
    if json:
        record = {"removed": gone, "images": after.live_count}
        printing.print_json({"gallery": gallery, **record})
    else:
        printing.print_line(f"removed {gone}; {after!r}")


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise GalleryError(f"{path}: no text file of ids that can be read ({error})") from error
    return [line for line in lines if line]
