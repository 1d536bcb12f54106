"""``patchrerank info``: what a gallery holds, and whether it is sound."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import printing
from patchrerank.errors import GalleryError, PatchRerankError

if TYPE_CHECKING:
    from patchrerank.gallery import Gallery

EXAMPLE = "patchrerank info gallery/ --verify"


def command(
    gallery: Annotated[Path, typer.Argument(help="Gallery folder.")],
    check: Annotated[
        bool, typer.Option("--verify", help="Read everything and check it; exit 1 if damaged.")
    ] = False,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Describe a gallery; with --verify, check every byte.

    Without --verify only the manifest, sizes of files, and counts are checked. Local descriptors
    that are fewer than the images are no damage: it says so, and how to go on.
    """
    from patchrerank.gallery import behind, verify

    opened = _opened(gallery, check=check)
    if isinstance(opened, str):
        problems, lacking = [opened], []
        shown: dict[str, object] = {"gallery": gallery}
    else:
        problems = verify(opened, progress=not quiet) if check else []
        lacking = behind(opened) if check and not problems else []
        shown = _described(opened)
    if json:
        found = {"problems": problems, "behind": lacking}
        printing.print_json({**shown, "verified": check, **found})
    else:
        if not isinstance(opened, str):
            _print(opened)
        for problem in problems:
            printing.print_line(f"DAMAGED {problem}")
        for line in lacking:
            printing.print_line(f"behind: {line}")
        if check and not problems:
            but = ", but not complete" if lacking else ""
            printing.print_line(f"verified: all is well{but}")
    raise typer.Exit(1 if problems else 0)


def _opened(folder: Path, *, check: bool) -> Gallery | str:
    """Open a gallery; with ``check``, return why one that is there cannot be opened."""
    from patchrerank.gallery import Gallery
    from patchrerank.gallery.manifest import MANIFEST

    try:
        return Gallery(folder)
    except GalleryError as error:
        if check and (folder / MANIFEST).is_file():
            return str(error)
        raise


def _described(opened: Gallery) -> dict[str, object]:
    made = opened.manifest
    sizes, reason = _sizes(opened)
    return {
        "gallery": opened.folder,
        "images": opened.live_count,
        "removed": len(opened) - opened.live_count,
        "patches": made.patches,
        "dim": made.dim,
        "store": made.store,
        "regions": made.regions,
        "encoder": made.encoder,
        "identity": made.identity,
        "whitened": made.whitened,
        "whitening": None if made.whitening is None else asdict(made.whitening),
        "pictures": _pictures(opened),
        "bytes": sizes,
        "skipped": made.skipped,
        **({"local": reason} if reason else {}),
    }


def _print(opened: Gallery) -> None:
    from patchrerank.gallery.whitening import explained

    made = opened.manifest
    printing.print_line(repr(opened))
    printing.print_line(f"encoder: {made.encoder.get('spec')} ({made.identity[:12]}…)")
    if made.whitening is not None:
        printing.print_line(explained(made.whitening))
    lie_in = _pictures(opened)
    if isinstance(lie_in, dict):
        told = f"{lie_in['files']} {lie_in['kind']} files, ids of {lie_in['ids']!r}"
        printing.print_line(f"pictures: in {told}, below {lie_in['root']}")
    sizes, reason = _sizes(opened)
    rows = [(name, f"{size:,}") for name, size in sizes.items()]
    printing.print_table("", ("array", "bytes"), [*rows, ("all", f"{sum(sizes.values()):,}")])
    if reason:
        printing.print_line(f"local descriptors cannot be used: {reason}")
    for name, said in made.skipped:
        printing.print_line(f"skipped {name}: {said}")


def _pictures(opened: Gallery) -> dict[str, object] | None:
    """Return what pictures lie in; None: each is a file of its own."""
    made = opened.manifest.pictures
    if made is None:
        return None
    how = {"kind": made.kind, "ids": made.ids, "column": made.column}
    return {"root": opened.manifest.root, "files": len(made.files), **how}


def _sizes(opened: Gallery) -> tuple[dict[str, int], str]:
    """Return the bytes of each array, and why those of local descriptors are not among them."""
    from patchrerank.gallery.backgrounds import BACKGROUNDS

    sizes = opened.nbytes()
    if opened.has_backgrounds:
        sizes["backgrounds"] = (opened.place / BACKGROUNDS).stat().st_size
    if opened.has_local:
        try:
            sizes.update({f"local/{name}": n for name, n in opened.local.nbytes().items()})
        except PatchRerankError as error:
            return sizes, str(error)
    return sizes, ""
