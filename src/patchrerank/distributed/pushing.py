"""Pushing a gallery into a vector store with workers of a Ray cluster: rows of a shard a task."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from patchrerank.distributed.cluster import connected
from patchrerank.distributed.options import RayOptions
from patchrerank.distributed.pool import Pool
from patchrerank.errors import GalleryError, PatchRerankError, SettingError, short_reason
from patchrerank.gallery import Gallery
from patchrerank.integrations.stores.store import Pushed, VectorStore
from patchrerank.types import Rows

MOST_IMAGES = 1_024
"""Of a task, where no number is given: what a worker that is lost may have to do again."""
WAIT = 1.0
"""Seconds before what a store refused is tried again; each time twice as long."""
GOES_ON = "what is pushed stays, and the same call goes on"

Result = TypeVar("Result")


def push_with_ray(
    gallery: Gallery,
    open_store: Callable[[], VectorStore],
    ray: RayOptions | None = None,
    *,
    local: bool = False,
    prune: bool = False,
    progress: bool = True,
) -> Pushed:
    """Push a gallery into a store as its ``push`` does, with workers of a Ray cluster.

    A task is some rows of one shard. A worker has one in hand and writes batch after batch, each
    once the one before is there, so that no more than ``workers`` write at a time. Images are
    replaced by their keys: a task that is done again leaves none twice. What is there already,
    unchanged, is compared and passed over, as in any push. This process makes the collection, reads
    what is there, and deletes.

    Args:
        gallery: whose folder lies under the same path on all nodes.
        open_store: opens the store, once here and once in each worker, on whichever node that is.
        ray: see :class:`RayOptions`; ``block`` is the images of a task (1,024), ``attempts`` how
            often a task may end its worker, or be refused by the store.
        local: see :meth:`patchrerank.integrations.stores.store.VectorStore.push`.
        prune: likewise.
        progress: likewise.

    Raises:
        MissingExtraError: Ray is not installed.
        SettingError: the store takes one writer only; no cluster at the address.
        GalleryError: as ``push`` does; some rows end their workers, or are refused by the store,
            again and again: names them and their shard. What is pushed until then stays.
    """
    ray = ray or RayOptions()
    store = open_store()
    if store.one_writer:
        raise SettingError(
            f"{store.name}: takes one writer at a time ({store.one_writer}); push from one "
            "process: store.push(gallery)"
        )
    known, local = store.prepare(gallery, local=local)
    made = gallery.manifest.numbering
    recipe = PushRecipe(gallery.place.resolve(), made, open_store, local, ray.attempts)
    tasks, written = list(cut_rows(gallery, known, ray.block or MOST_IMAGES)), 0
    with (
        connected(ray) as module,
        Pool[PushTask](module, PushWorker, recipe, ray) as pool,
        tqdm(total=gallery.live_count, unit="img", disable=not progress) as bar,
    ):
        for task, count in pool.run(tasks):
            written += count
            bar.update(len(task.rows))
    deleted = store.prune(gallery, known) if prune else 0
    return Pushed(written, gallery.live_count - written, deleted)


@dataclass(frozen=True)
class PushRecipe:
    """What each worker is made with.

    Attributes:
        folder: of the gallery.
        numbering: of its rows.
        open_store: opens the store.
        local: whether local descriptors are pushed.
        attempts: how often a task is tried that the store refuses.
    """

    folder: Path
    numbering: int
    open_store: Callable[[], VectorStore]
    local: bool
    attempts: int


@dataclass(frozen=True, eq=False)
class PushTask:
    """Some images of one shard.

    Attributes:
        folder: the shard's.
        first: the first image's row in it.
        last: the last one's.
        rows: int64 ``(n,)``, their rows in the gallery.
        known: digests by key of those that are in the store.
    """

    folder: Path
    first: int
    last: int
    rows: Rows
    known: Mapping[str, int]

    def __str__(self) -> str:
        return f"pushing its rows {self.first:,} to {self.last:,}"

    @property
    def remedy(self) -> str:
        """What to do where it ends its workers."""
        return f"give workers more memory, or make block smaller; {GOES_ON}"


class PushWorker:
    """Holds a gallery and a store; the methods run in a process of their own."""

    _recipe: PushRecipe
    _gallery: Gallery
    _store: VectorStore | None = None

    def load(self, recipe: PushRecipe) -> int:
        """Open gallery and store.

        Raises:
            GalleryError: either cannot be opened; the gallery is another by now.
        """
        self._recipe, self._gallery = recipe, Gallery(recipe.folder)
        if self._gallery.manifest.numbering != recipe.numbering:
            raise GalleryError(f"{recipe.folder}: was compacted meanwhile; push it again")
        self._tried(f"{recipe.folder}: a worker cannot open the store", self._opened)
        return 1

    def run(self, task: PushTask) -> int:
        """Push a task's images; return how many were written.

        Raises:
            GalleryError: the store refuses them again and again.
        """

        def push() -> int:
            how = task.rows, task.known
            return self._opened().push_rows(self._gallery, *how, local=self._recipe.local)

        return self._tried(f"{task.folder}: {task} failed", push)

    def _opened(self) -> VectorStore:
        if self._store is None:
            self._store = self._recipe.open_store()
        return self._store

    def _tried(self, what: str, work: Callable[[], Result]) -> Result:
        """Do work that a store may refuse for a while; it is opened anew each time."""
        attempts = self._recipe.attempts
        for number in range(1, attempts + 1):
            try:
                return work()
            except PatchRerankError:
                raise
            except Exception as error:  # whatever the store's client raises
                self._store, last = None, f"{type(error).__name__}: {short_reason(error)}"
            if number < attempts:
                time.sleep(WAIT * 2 ** (number - 1))
        raise GalleryError(f"{what} {attempts} times ({last}); look after the store: {GOES_ON}")


def cut_rows(gallery: Gallery, known: Mapping[str, int], size: int) -> Iterator[PushTask]:
    """Yield a gallery's living images in tasks of at most so many, each of one shard.

    Args:
        gallery: of one folder, or of shards.
        known: digests by key of all that is in the store.
        size: of a task.
    """
    live, shards = gallery.live, gallery.shards
    starts = [0, len(gallery)] if shards is None else shards.starts["images"].tolist()
    for number, (begin, end) in enumerate(pairwise(starts)):
        folder = gallery.place.resolve() if shards is None else shards.path(number)
        own = live[np.searchsorted(live, begin) : np.searchsorted(live, end)]
        for at in range(0, len(own), size):
            rows = own[at : at + size]
            keys = map(str, gallery.ids.at(rows)) if known else ()
            held = {key: known[key] for key in keys if key in known}
            yield PushTask(folder, int(rows[0] - begin), int(rows[-1] - begin), rows, held)
