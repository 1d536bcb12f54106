"""What a folder of pictures and a gallery differ in."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from patchrerank.addresses import Place
from patchrerank.gallery.manifest import Manifest
from patchrerank.gallery.removed_rows import Flags
from patchrerank.gallery.settings import ids_of
from patchrerank.gallery.stamps import UNKNOWN, Stamp, as_stamp, digest_of, file_state, stamps_in

Item = tuple[str, Place]
Unrecorded = Literal["encode", "keep"]
State = Literal["added", "changed", "same", "touched", "unrecorded"]


@dataclass(frozen=True)
class SyncPlan:
    """The pictures of a folder beside the rows of a gallery.

    Attributes:
        added: in the folder alone.
        changed: in both, with another file than was encoded.
        unrecorded: in both, and nobody knows which file was encoded.
        unchanged: how many are in both as they were.
        gone: rows whose pictures are in the folder no more.
        removed: their ids.
        stamps: row → stamp, of unchanged pictures whose files have another time now, or of
            unrecorded ones that are taken as they are.
    """

    added: list[Item] = field(default_factory=list)
    changed: list[Item] = field(default_factory=list)
    unrecorded: list[Item] = field(default_factory=list)
    unchanged: int = 0
    gone: list[int] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    stamps: dict[int, Stamp] = field(default_factory=dict)

    @property
    def nothing(self) -> bool:
        """Whether a gallery is as the folder is."""
        return not (self.added or self.changed or self.unrecorded or self.gone or self.stamps)


def plan_sync(
    folder: Path,
    manifest: Manifest,
    gone: Flags,
    items: Sequence[Item],
    *,
    checksum: bool = False,
    unrecorded: Unrecorded = "encode",
    workers: int = 2,
) -> SyncPlan:
    """Compare a folder's pictures with a gallery's rows.

    Args:
        folder: of the gallery.
        manifest: which rows it has.
        gone: bool ``(N,)``, which of them do not count.
        items: id and file of each picture.
        checksum: compare contents; otherwise sizes and times of files.
        unrecorded: pictures of which no file is recorded are encoded again, or kept and recorded
            as they are now.
        workers: threads that read files.
    """
    ids = ids_of(folder, manifest, gone.astype(np.uint8))
    rows, stamps = ids.rows_of([name for name, _ in items]), stamps_in(folder, manifest)
    known = [as_stamp(stamps[row]) if row >= 0 else None for row in rows]
    looked = _Look(checksum, unrecorded)
    plan, left = SyncPlan(), ~gone
    left[rows[rows >= 0]] = False
    with ThreadPoolExecutor(workers) as pool:
        found = pool.map(looked, known, (path for _, path in items), chunksize=64)
        unchanged = 0
        for item, row, (state, stamp) in zip(items, rows.tolist(), found, strict=True):
            unchanged += state in ("same", "touched")
            if state in ("added", "changed", "unrecorded"):
                getattr(plan, state).append(item)
            elif stamp is not None:
                plan.stamps[row] = stamp
    lost = np.flatnonzero(left)
    return SyncPlan(
        plan.added, plan.changed, plan.unrecorded, unchanged, lost.tolist(), ids.at(lost),
        plan.stamps,
    )  # fmt: skip


@dataclass(frozen=True)
class _Look:
    """Looks at one file; called by threads."""

    checksum: bool
    unrecorded: Unrecorded

    def __call__(self, known: Stamp | None, path: Place) -> tuple[State, Stamp | None]:
        """Return what became of it, and its stamp if another one is to be recorded."""
        if known is None:
            return "added", None
        try:
            return self._compared(known, path)
        except OSError:  # gone, or not to be read: encoding it will say so
            return "changed", None

    def _compared(self, known: Stamp, path: Place) -> tuple[State, Stamp | None]:
        now = file_state(path)
        if known == UNKNOWN:
            keep = self.unrecorded == "keep"
            return ("touched", (*now, *digest_of(path))) if keep else ("unrecorded", None)
        if not self.checksum:
            return ("same" if now == known[:2] else "changed"), None
        if now[0] != known[0] or digest_of(path) != known[2:]:
            return "changed", None
        return ("same", None) if now == known[:2] else ("touched", (*now, *known[2:]))
