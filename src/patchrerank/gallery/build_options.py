"""How a gallery is built, whatever is in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from patchrerank.errors import SettingError
from patchrerank.gallery.backgrounds import COUNT, MOST
from patchrerank.gallery.stores import check_store
from patchrerank.gallery.whiten_choice import NONE, Whiten, check_whiten
from patchrerank.images import MAX_PIXELS

OnError = Literal["raise", "skip"]


@dataclass(frozen=True)
class BuildOptions:
    """How a gallery is built (not what is in it).

    Attributes:
        store: how patch vectors are stored: ``float32``, ``float16`` or ``int8`` (``pq`` needs
            a trained quantiser: see :func:`patchrerank.gallery.compress`). None: what a gallery
            that is appended to has; of a new one int8 if it is whitened, else float32.
        on_error: ``raise`` stops at the first image that cannot be read, that regions are
            missing for, or that has a vector without a direction (all zeros, NaN or infinite),
            keeping all finished work; ``skip`` records it with its reason and goes on.
        whiten: dimensions to keep by PCA-whitening, ``auto``, or a whitened gallery whose whitening
            is taken (see :mod:`patchrerank.gallery.whitening`). It is learned on a sample of the
            images, which are encoded first. ``none``: none. None: that of a gallery that is
            appended to, if it has one; of a new one ``auto``, unless there are fewer than 128
            images, vectors have fewer than 128 dimensions, or pictures are too much alike to learn
            from, which is logged.
        append: allow adding images to a gallery that is already complete.
        workers: threads that decode and cut images while the network runs.
        max_pixels: limit on an image's declared size; None = no limit.
        progress: show a progress bar.
        root: the folder that the images already in the gallery are in now, where they have moved
            since; it is recorded, and images of that folder can be added.
        id_key: what ids are, of tar shards: ``key`` (a sample's name), ``shard/key``, or a field
            of its JSON such as ``uid`` or ``url`` (text or whole numbers); None: the key, with
            the shard where shards begin with the same one. Of Parquet files: the column (text,
            whole numbers or UUIDs), or ``file/row``; None: ``key``, ``id``, ….
        image_column: the pictures' bytes, of Parquet files: a binary column; None: the only one,
            or one of a usual name. Of tar shards: the field of a sample, such as ``jpg``; None:
            any that is a picture.
        backgrounds: how many crops of its pictures a gallery keeps to compose query views on,
            where it keeps none yet and the pictures can be read again; 0: none.
    """

    store: str | None = None
    on_error: OnError = "raise"
    whiten: Whiten | None = None
    append: bool = False
    workers: int = 2
    max_pixels: int | None = MAX_PIXELS
    progress: bool = True
    root: str | Path | None = None
    id_key: str | None = None
    image_column: str | None = None
    backgrounds: int = COUNT

    def __post_init__(self) -> None:
        if self.store is not None:
            check_store(self.store)
        if self.whiten not in (None, NONE):
            check_whiten(self.whiten)
        if self.on_error not in ("raise", "skip"):
            raise SettingError(f"on_error is {self.on_error!r}; use 'raise' or 'skip'")
        if self.workers < 1:
            raise SettingError(f"workers must be at least 1, got {self.workers}")
        if not 0 <= self.backgrounds <= MOST:
            raise SettingError(f"backgrounds must lie in 0 … {MOST}, got {self.backgrounds}")
