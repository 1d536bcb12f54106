"""``patchrerank remove``: take images out of a gallery."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import printing
from patchrerank.errors import GalleryError, SettingError

if TYPE_CHECKING:
    from patchrerank.gallery import Gallery

EXAMPLE = "patchrerank remove gallery/ sofas/017.jpg sofas/018.jpg"
CONTEXT = {"ignore_unknown_options": True}
"""Ids may be numbers below zero."""


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
    _check_words(images or (), before)
    listed = [*(images or ()), *(_lines(ids) if ids is not None else ())]
    after = remove(gallery, before.ids.kind.read(listed))
    gone = before.live_count - after.live_count
    if json:
        record = {"removed": gone, "images": after.live_count}
        printing.print_json({"gallery": gallery, **record})
    else:
        printing.print_line(f"removed {gone}; {after!r}")


def _check_words(words: Iterable[str], gallery: Gallery) -> None:
    """Refuse what was meant as an option: it begins with a dash, and is neither number nor id."""
    for word in words:
        if word.startswith("-") and not re.fullmatch(r"-\d+", word) and word not in gallery.ids:
            raise SettingError(
                f"{word}: remove has no such option, and {gallery.folder} no such id; see "
                "patchrerank remove --help"
            )


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise GalleryError(f"{path}: no text file of ids that can be read ({error})") from error
    return [line for line in lines if line]
