"""How a gallery follows its folder of pictures, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from patchrerank.errors import SettingError, shown
from patchrerank.gallery.build_options import BuildOptions
from patchrerank.gallery.sync_guard import most_removed
from patchrerank.gallery.sync_plan import Unrecorded
from patchrerank.images import MAX_PIXELS
from patchrerank.regions.base import MOST_REGIONS

Broken = Literal["raise", "skip", "drop"]


@dataclass(frozen=True)
class SyncOptions:
    """How a gallery follows its folder.

    Attributes:
        checksum: a picture changed if its content did; otherwise if its file has another size or
            time. A file whose time alone is another is then recorded as it is now.
        on_error: of a picture that cannot be read: ``raise`` stops, and readers see nothing of
            what was done, but it is kept for the next run; ``skip`` records it and goes on, and
            one that could be read before keeps the vectors that it had; ``drop`` records it, too,
            but removes those.
        unrecorded: pictures that were encoded before files were recorded (or not from files):
            ``encode`` them again, or ``keep`` what they have and record their files from now on.
        max_removed: how many images may be taken out, a number or a share such as ``"20%"``; of
            more, nothing is changed. None: half of them, and none of a whole subfolder of 10 or
            more in which no picture is left, as of a disc that is not mounted; fewer than 10 may
            always go.
        dry_run: change nothing.
        max_regions: limit on an image's regions; None = no limit.
        workers: threads that read, decode and cut.
        max_pixels: limit on an image's declared size; None = no limit.
        progress: show a progress bar.
    """

    checksum: bool = False
    on_error: Broken = "raise"
    unrecorded: Unrecorded = "encode"
    max_removed: int | str | None = None
    dry_run: bool = False
    max_regions: int | None = MOST_REGIONS
    workers: int = 2
    max_pixels: int | None = MAX_PIXELS
    progress: bool = True

    def __post_init__(self) -> None:
        for name, choices in (("on_error", Broken), ("unrecorded", Unrecorded)):
            if getattr(self, name) not in get_args(choices):
                listed = ", ".join(map(repr, get_args(choices)))
                raise SettingError(f"{name} is {shown(getattr(self, name))}; use one of {listed}")
        if self.max_removed is not None:
            most_removed(self.max_removed, 1)
        self.building()

    def building(self) -> BuildOptions:
        """Return the options of encoding."""
        return BuildOptions(
            on_error="raise" if self.on_error == "raise" else "skip",
            append=True,
            workers=self.workers,
            max_pixels=self.max_pixels,
            progress=self.progress,
        )


@dataclass(frozen=True)
class Synced:
    """What became of a gallery, or would.

    Attributes:
        added: ids of pictures that are new.
        changed: of those that were encoded again.
        removed: of those that are gone.
        unchanged: how many are as they were.
        unrecorded: how many of ``changed`` were encoded again as no file of theirs was recorded.
        skipped: id and reason of each picture that cannot be read.
        kept: ids of those among them that keep the vectors that they had.
        refused: why all of that is not done; only of a dry run, others raise it.
    """

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unchanged: int = 0
    unrecorded: int = 0
    skipped: tuple[tuple[str, str], ...] = ()
    kept: tuple[str, ...] = ()
    refused: str | None = None
