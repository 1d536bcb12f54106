"""``patchrerank sync``: make a gallery follow its folder of pictures."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import printing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from patchrerank.gallery import Gallery, Synced

EXAMPLE = "patchrerank sync photos/ gallery/ --dry-run"
SHOWN = 20
"""Ids of a kind that are printed."""


def command(
    pictures: Annotated[
        str, typer.Argument(help="The folder or address that the gallery was made of.")
    ],
    gallery: Annotated[Path, typer.Argument(help="Gallery folder.")],
    checksum: Annotated[
        bool,
        typer.Option("--checksum", help="Compare contents of files, not their sizes and times."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")
    ] = False,
    on_error: Annotated[
        Literal["raise", "skip", "drop"],
        typer.Option(
            help="raise: stop at a picture that cannot be read; skip: record it and go on, and one "
            "that could be read before keeps what it has; drop: likewise, but take that out."
        ),
    ] = "raise",
    unrecorded: Annotated[
        Literal["encode", "keep"],
        typer.Option(
            help="Pictures of galleries of before files were recorded: encode them again, or keep "
            "what they have and record their files from now on."
        ),
    ] = "encode",
    max_removed: Annotated[
        str | None,
        typer.Option(
            metavar="N|SHARE",
            help="How many images may be taken out, such as 500 or 20%; of more, nothing is "
            "changed. Default: half of them, and no whole subfolder of 10 or more, which may be a "
            "disc that is not mounted.",
        ),
    ] = None,
    regions: Annotated[
        str | None,
        typer.Option(help="Where the gallery's regions are read from a file: boxes:FILE.json, …"),
    ] = None,
    max_regions: opt.MaxRegions = opt.MOST_REGIONS,
    device: opt.Device = "auto",
    workers: Annotated[int, typer.Option(help="Threads that read, decode and cut.")] = 2,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Encode what is new or changed in a folder, take out what is gone; run again to resume."""
    from patchrerank.gallery import Gallery, SyncOptions, sync

    options = SyncOptions(
        checksum=checksum,
        on_error=on_error,
        unrecorded=unrecorded,
        max_removed=max_removed,
        dry_run=dry_run,
        max_regions=max_regions,
        workers=workers,
        progress=not quiet,
    )
    found = sync(pictures, gallery, options, regions=regions, device=device)
    after = Gallery(gallery)
    without = [] if dry_run else _without_local(after)
    if json:
        record = {"gallery": gallery, "dry_run": dry_run, "images": after.live_count}
        printing.print_json({**record, **asdict(found), "hints": without})
        return
    _print(found, dry_run=dry_run)
    for line in (repr(after), *without):
        printing.print_line(line)


def _print(found: Synced, *, dry_run: bool) -> None:
    for word, ids in (("add", found.added), ("encode again", found.changed)):
        _list(word, ids)
    _list("remove", found.removed)
    for name, reason in found.skipped:
        kept = "; it keeps the vectors that it had" if name in found.kept else ""
        printing.print_line(f"skipped {name}: {reason}{kept}")
    before = f" ({found.unrecorded} without a record of a file)" if found.unrecorded else ""
    printing.print_line(
        f"{'would be: ' if dry_run else ''}{len(found.added)} added, {len(found.changed)} encoded "
        f"again{before}, {len(found.removed)} removed, {found.unchanged} unchanged"
    )
    if found.refused is not None:
        printing.print_line(f"would be refused: {found.refused}")


def _list(word: str, ids: Sequence[str]) -> None:
    for name in ids[:SHOWN]:
        printing.print_line(f"{word} {name}")
    if len(ids) > SHOWN:
        printing.print_line(f"{word} {len(ids) - SHOWN} more")


def _without_local(gallery: Gallery) -> list[str]:
    """Return what is to be said of local descriptors that new pictures have not."""
    from patchrerank.errors import GalleryError

    try:
        _ = gallery.local if gallery.has_local else None
        return []
    except GalleryError as error:
        return [f"local descriptors cannot be used: {error}"]
