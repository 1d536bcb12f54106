"""Building a gallery on a Ray cluster: a shard a block of images, and a gallery of all shards."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from patchrerank.distributed.cluster import connected
from patchrerank.distributed.cutting import check_can_be_cut, cut, sample_blocks
from patchrerank.distributed.options import LocalWork, RayOptions
from patchrerank.distributed.plan import Plan, agree, held_plan
from patchrerank.distributed.pool import Pool
from patchrerank.distributed.worker import Recipe, Task, Worker
from patchrerank.errors import GalleryError, SettingError
from patchrerank.gallery import BuildOptions, CompressOptions, Gallery, compress, merge
from patchrerank.gallery.block import Block
from patchrerank.gallery.builder import strategy
from patchrerank.gallery.compress import SHARDS
from patchrerank.gallery.finished import is_complete
from patchrerank.gallery.manifest import MANIFEST
from patchrerank.gallery.sources import Images, Source, open_source
from patchrerank.gallery.whiten_choice import (
    AUTO,
    NONE,
    WHITENED_STORE,
    check_no_sample,
    log_plain,
    why_plain,
)
from patchrerank.gallery.whitening import asked_for, check_begun, whitening_by_default
from patchrerank.gallery.whitening_sample import SEED, begin_sample, drop_sample
from patchrerank.gallery.write_backgrounds import keep_backgrounds

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder
    from patchrerank.regions import Regions

MOST_IMAGES = 4_096
"""Of a block, where no number is given."""
BLOCKS_A_WORKER = 8
"""So that all workers end at about the same time."""
SAMPLE, WHITENING = "sample", "whitening"

logger = logging.getLogger(__name__)


def build_gallery_with_ray(
    folder: str | Path,
    images: Images,
    encoder: Encoder | str | Callable[[], Encoder],
    regions: Regions | str | None = None,
    options: BuildOptions | None = None,
    ray: RayOptions | None = None,
    local: LocalWork | None = None,
) -> Gallery:
    """Encode images into a gallery of shards on a Ray cluster, or finish one that was interrupted.

    Images are cut into blocks by their position. Each block becomes one shard, a folder in
    ``folder/shards``, built by :func:`patchrerank.gallery.build_gallery` in a worker: whole or not
    at all, and taken up where it was left if the worker is lost. Bits are those of a build in one
    process with the same back end and number of threads.

    Args:
        folder: the gallery's; like the pictures under the same path on all nodes.
        images: as for ``build_gallery``; no stream.
        encoder: likewise, or a function that loads it, which each worker calls once.
        regions: likewise.
        options: likewise; ``append`` and ``root`` are for one folder. ``workers`` is not heeded: a
            worker of Ray's decodes with as many threads as it has CPUs.
        ray: see :class:`RayOptions`.
        local: local descriptors to make, too; also for a gallery that is complete.

    Returns:
        The gallery. One that is complete is returned as it is.

    Raises:
        MissingExtraError: Ray is not installed.
        SettingError: an option for one folder; a stream; no cluster at the address.
        PatchRerankError: as ``build_gallery`` does; what is finished until then stays.
        GalleryError: begun with other pictures or block sizes; a block ends its worker again and
            again; a worker's shard is not seen here.
    """
    options, ray = options or BuildOptions(), ray or RayOptions()
    _check_options(options)
    target = Path(folder).resolve()
    plan = held_plan(target, ray)
    made = strategy(regions, options.on_error)
    source = open_source(images, options)
    check_can_be_cut(source)
    with (
        connected(ray) as module,
        Pool[Task](module, Worker, Recipe(encoder, made, local, ray.threads), ray) as pool,
    ):
        size = plan.block if plan else _block_size(pool, ray, source)
        blocks = cut(source, size)
        agree(target, plan, Plan.of(blocks, size), bool(blocks))
        build = _Build(pool, target / SHARDS, options, ray.threads)
        known, whiten = build.learned(images, source, size)
        store = options.store or build.store(whiten)
        options = replace(options, backgrounds=0, whiten=whiten, store=store)
        own = [replace(block, known=known) for block in blocks]
        parts = build.shards(target / SHARDS, own, options, local=local is not None)
    gallery = _joined(target, parts, local is not None)
    drop_sample(target / SHARDS, SAMPLE)
    shutil.rmtree(target / SHARDS / WHITENING, ignore_errors=True)
    kept = build.options.backgrounds
    return keep_backgrounds(gallery, kept, images) if gallery.live_count else gallery


@dataclass(frozen=True)
class _Build:
    pool: Pool[Task]
    place: Path
    options: BuildOptions
    threads: int

    def learned(self, images: Images, source: Source, size: int) -> tuple[Path | None, str | Path]:
        """Return a plain gallery of images that a whitening was learned on, and one with it."""
        whiten, first, target = self.options.whiten, _first_whole(self.place), self.place.parent
        sample, whitening = self.place / SAMPLE / "one", self.place / WHITENING
        known = sample if is_complete(sample) else None
        if first is not None:
            if whiten is not None:
                check_begun(target, first.manifest, whiten)
            return known, first.folder if first.manifest.whitened else NONE
        why = why_plain(None, source.count(None)) if whiten is None else None
        if why is not None:
            log_plain(target, why)
        if whiten == NONE or why is not None:
            check_no_sample(target, begun=known is None and (self.place / SAMPLE).is_dir())
            return None, NONE
        if whiten is not None and not isinstance(whiten, int) and whiten != AUTO:
            return None, Path(whiten).resolve()
        if begin_sample(self.place, source, SAMPLE):
            known = None
            shutil.rmtree(whitening, ignore_errors=True)
        if known is None:
            drawn = sample_blocks(images, source, size)
            plain = replace(self.options, store="float32", whiten=NONE, backgrounds=0)
            parts = self.shards(self.place / SAMPLE, drawn, plain, local=False)
            merge(sample, parts, copy=True, progress=False)
        if not (is_complete(whitening) and asked_for(Gallery(whitening).manifest, whiten)):
            shutil.rmtree(whitening, ignore_errors=True)  # of another number of dimensions
            if whiten is None and not whitening_by_default(Gallery(sample), target, SEED):
                return sample, NONE
            how = CompressOptions("float32", whiten=whiten or AUTO, seed=SEED, progress=False)
            compress(Gallery(sample), whitening, how)
        return sample, whitening

    def store(self, whiten: str | Path) -> str:
        """Return how patches are stored where nobody says: as in the shards that are there."""
        first, new = _first_whole(self.place), "float32" if whiten == NONE else WHITENED_STORE
        return new if first is None else first.manifest.store

    def shards(
        self, place: Path, blocks: Sequence[Block], options: BuildOptions, *, local: bool
    ) -> list[Path]:
        """Make one shard of each block; return their folders."""
        plain = replace(
            options, id_key=None, image_column=None, workers=self.threads, progress=False
        )
        tasks = [
            Task(place / f"{number:06d}", block, plain, local)
            for number, block in enumerate(blocks)
        ]
        total = sum(block.length for block in blocks)
        with tqdm(total=total, unit="img", disable=not self.options.progress) as bar:
            for task, outcome in self.pool.run(tasks):
                _check_seen(task.folder)
                for name, reason in outcome.skipped:
                    logger.warning("skipped %s: %s", name, reason)
                bar.update(task.block.length)
        return [task.folder for task in tasks]


def _check_options(options: BuildOptions) -> None:
    if options.append or options.root is not None:
        raise SettingError(
            "append and root (--append, --root) are for a gallery of one folder; index new "
            "pictures into a folder of their own, and join both with patchrerank merge --append"
        )


def _block_size(pool: Pool[Task], ray: RayOptions, source: Source) -> int:
    chunk = pool.wait()
    count = source.count(None)
    wanted = ray.block
    if wanted is None:
        shared = MOST_IMAGES if count is None else -(-count // (BLOCKS_A_WORKER * pool.size))
        wanted = min(MOST_IMAGES, shared)
    return max(1, -(-wanted // chunk)) * chunk


def _first_whole(place: Path) -> Gallery | None:
    """Return the first shard that is complete."""
    folders = sorted(path.parent for path in place.glob(f"[0-9]*/{MANIFEST}"))
    return next((Gallery(folder) for folder in folders if is_complete(folder)), None)


def _check_seen(folder: Path) -> None:
    if not is_complete(folder):
        raise GalleryError(
            f"{folder}: a worker has written this shard, and it is not seen here; let the gallery "
            "lie on storage that all nodes share under the same path"
        )


def _joined(target: Path, parts: Sequence[Path], local: bool) -> Gallery:
    """Join shards, or add to a gallery of them what they have got since."""
    complete = (target / MANIFEST).exists()
    if complete and (not local or Gallery(target).has_local):
        return Gallery(target)
    shards = [Gallery(part) for part in parts]
    if not any(map(len, shards)):
        skipped = [entry for shard in shards for entry in shard.manifest.skipped]
        why = f"; the first, {skipped[0][0]!r}: {skipped[0][1]}" if skipped else ""
        raise GalleryError(f"{target}: none of the images could be indexed{why}")
    return merge(target, shards, append=complete, progress=False)
