"""Compressing a gallery of shards on a Ray cluster: learned once, rewritten shard by shard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from patchrerank.distributed.cluster import connected, room
from patchrerank.distributed.options import RayOptions
from patchrerank.errors import GalleryError, short_reason
from patchrerank.gallery import Compression, CompressOptions, Gallery, compress
from patchrerank.gallery.compress import Rewrite, Rewriting


def compress_with_ray(
    gallery: Gallery, out: str | Path, options: CompressOptions, ray: RayOptions | None = None
) -> Compression:
    """Compress a gallery as :func:`patchrerank.gallery.compress` does, shards side by side.

    Whitening and quantiser are learned here, on a sample of all; tasks of a cluster rewrite a shard
    each, at most as many at a time as there is room for. A task whose worker is lost is done again.

    Args:
        gallery: whose folder, and ``out``, lie under the same path on all nodes.
        out: what is written.
        options: see :class:`patchrerank.gallery.CompressOptions`.
        ray: see :class:`RayOptions`; ``block`` plays no part.

    Raises:
        PatchRerankError: as ``compress`` does; a shard ends its worker again and again.
    """
    ray = ray or RayOptions()
    target = Path(out).resolve()
    if gallery.shards is None:
        return compress(gallery, target, options)
    with connected(ray) as module:

        def side_by_side(work: Rewrite, jobs: Sequence[Rewriting]) -> None:
            with tqdm(total=len(jobs), unit="shard", disable=not options.progress) as bar:
                _run(module, ray, work, jobs, bar)

        return compress(gallery, target, options, side_by_side)


def _run(module: Any, ray: RayOptions, work: Rewrite, jobs: Sequence[Rewriting], bar: Any) -> None:
    resources = {"num_cpus": ray.cpus_per_worker, "max_retries": ray.attempts - 1}
    remote = module.remote(**resources)(work)
    fits = room(module, replace(ray, gpus_per_worker=0.0))
    most, waiting = ray.workers or max(1, fits), list(jobs)[::-1]
    shared: dict[int, Any] = {}
    running: dict[Any, Rewriting] = {}
    while waiting or running:
        while waiting and len(running) < most:
            job = waiting.pop()
            trained = shared.setdefault(id(job.trained), module.put(job.trained))
            running[remote.remote(*job[:-1], trained)] = job
        done, _ = module.wait(list(running), num_returns=1)
        for ref in done:
            job = running.pop(ref)
            try:
                module.get(ref)
            except module.exceptions.RayTaskError as error:
                raise error.cause from None
            except module.exceptions.RayError as error:
                raise GalleryError(
                    f"{job.folder}: rewriting it ended its worker {ray.attempts} times "
                    f"({short_reason(error)})"
                ) from error
            bar.update(1)
