"""Building a composite data set, picture by picture; killed builds go on where they stopped."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from patchrerank.boxes import from_pixels
from patchrerank.datasets.composite.config import CompositeConfig
from patchrerank.datasets.composite.inputs import Inputs, collect
from patchrerank.datasets.composite.journal import Journal, Record, is_finished
from patchrerank.datasets.composite.pictures import Job, Studio, cut_photo
from patchrerank.datasets.composite.pieces import PHOTO_SIDE, read_cutout
from patchrerank.datasets.dataset import Dataset, DatasetImage, DatasetQuery
from patchrerank.datasets.layouts import load_dataset
from patchrerank.datasets.writing import write_index
from patchrerank.errors import DatasetError
from patchrerank.files import writing
from patchrerank.types import Floats

logger = logging.getLogger(__name__)

ROLE_SEED, ORDER_SEED, CLUTTER_PHOTO_SEED = 6, 7, 8
CLUTTER_PHOTOS = 32
"""At most so many backgrounds are cut up for clutter where there are no spare cut-outs."""

Named = tuple[str, Path]
Work = Callable[[], Record]


def build_composite(
    config: CompositeConfig,
    objects: Path | None,
    backgrounds: Path,
    out: Path,
    cut_from: Path | None = None,
    progress: bool = False,
) -> Dataset:
    """Build a composite data set in ``out`` and return it.

    Same inputs and settings, same pictures and the same ``index.json``, byte for byte (with the
    same versions of Pillow and numpy). A build that was killed is continued by the same call; a
    finished one is only loaded.

    Args:
        config: the settings.
        objects: folder of RGBA cut-outs, one object a file, searched with its subfolders; or None.
        backgrounds: folder of photographs to paste into, searched with its subfolders. They must
            not show the objects: nothing would mark them as positives.
        out: folder to write to; made if it does not exist.
        cut_from: where there are no cut-outs, a folder of photographs to cut pieces out of; the
            pieces are kept in ``out/objects``.
        progress: show progress bars.

    Raises:
        DatasetError: unsuitable inputs, or ``out`` holds something else.
        ImageError: a picture cannot be read.
    """
    inputs = collect(objects, backgrounds, out, cut_from, config.seed)
    settings = {**config.record(), "inputs": inputs.record}
    if is_finished(out, settings):
        logger.info("%s is finished already", out)
        return load_dataset(out)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    journal = Journal(out, settings)
    instances, pool = _cast(config, inputs, journal, progress)
    studio = Studio(config, out, instances, pool, inputs.backgrounds)
    jobs = studio.jobs()
    _run({job.file: partial(studio.render, job) for job in jobs}, journal, "pictures", progress)
    _write(config, out, instances, jobs, journal, settings)
    journal.close()
    return load_dataset(out)


def _cast(
    config: CompositeConfig, inputs: Inputs, journal: Journal, progress: bool
) -> tuple[list[Named], list[Path]]:
    """Return the objects with their names, and the pieces that serve as clutter."""
    named = list(zip(inputs.names, inputs.cutouts, strict=True))
    if inputs.to_cut:
        named = _cut(config, inputs.to_cut, "objects", journal, progress)
        if not named:
            raise DatasetError(
                "no photograph to cut from has enough texture for a piece; choose pictures with "
                "more detail"
            )
    for _, path in tqdm(named, desc="cut-outs", disable=not progress):
        read_cutout(path)
    instances, spare = _assign(config, named, by_photo=bool(inputs.to_cut))
    pool = [path for _, path in spare]
    if config.max_clutter and not pool:
        pool = _clutter(config, inputs.backgrounds, journal, progress)
    return instances, pool


def _assign(
    config: CompositeConfig, named: Sequence[Named], by_photo: bool
) -> tuple[list[Named], list[Named]]:
    """Return which pieces are objects and which are clutter.

    ``by_photo`` keeps pieces of one photograph together (their names differ behind the last
    ``_``): clutter must not show the rest of an object.
    """
    groups: dict[str, list[Named]] = {}
    for item in named:
        groups.setdefault(item[0].rsplit("_", 1)[0] if by_photo else item[0], []).append(item)
    order = np.random.default_rng([config.seed, ROLE_SEED]).permutation(len(groups)).tolist()
    shuffled = [list(groups.values())[number] for number in order]
    kept = shuffled[: len(shuffled) - int(config.clutter_share * len(shuffled))]
    chosen = set([item for group in kept for item in group][: config.max_instances])
    spare = [item for group in shuffled if chosen.isdisjoint(group) for item in group]
    return [item for item in named if item in chosen], sorted(spare)


def _clutter(
    config: CompositeConfig, backgrounds: Sequence[Path], journal: Journal, progress: bool
) -> list[Path]:
    rng = np.random.default_rng([config.seed, CLUTTER_PHOTO_SEED])
    photos = [backgrounds[number] for number in rng.permutation(len(backgrounds))[:CLUTTER_PHOTOS]]
    pool = [path for _, path in _cut(config, photos, "clutter", journal, progress)]
    if not pool:
        logger.warning("the backgrounds are too flat to cut clutter from; there will be none")
    return pool


def _cut(
    config: CompositeConfig, photos: Sequence[Path], kind: str, journal: Journal, progress: bool
) -> list[Named]:
    """Cut pieces out of photographs into the folder ``kind`` of the data set."""
    (journal.out / kind).mkdir(exist_ok=True)
    work: dict[str, Work] = {
        f"{kind}/{number:04d}": partial(cut_photo, config, journal.out, kind, number, photo)
        for number, photo in enumerate(photos)
    }
    records = _run(work, journal, f"cutting {kind} (at most {PHOTO_SIDE} px)", progress)
    files = [file for record in records for file in record["sizes"]]
    return [(file, journal.out / file) for file in files]


def _run(work: dict[str, Work], journal: Journal, title: str, progress: bool) -> list[Record]:
    """Do what the journal does not hold yet, in threads, and return all records in order."""
    waiting = [file for file in work if journal.finished(file) is None]
    pool = ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1))
    try:
        done: Iterable[Record] = pool.map(lambda file: work[file](), waiting)
        for record in tqdm(done, desc=title, total=len(waiting), disable=not progress):
            journal.add(record)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return [journal.records[file] for file in work]


def _write(
    config: CompositeConfig,
    out: Path,
    instances: Sequence[Named],
    jobs: Sequence[Job],
    journal: Journal,
    settings: Record,
) -> None:
    """Write the index; its pictures stand in an order that tells nothing about them."""
    queries: list[DatasetQuery] = []
    images: list[DatasetImage] = []
    for job in jobs:
        record = journal.records[job.file]
        boxes = _boxes(record)
        if job.kind == "query" and job.instance is not None:
            source = instances[job.instance][0]
            query = DatasetQuery(job.id, out / job.file, job.instance, boxes[0], source)
            queries.append(query)
            continue
        area, visible = record["area"], record["visible"]
        images.append(DatasetImage(job.id, out / job.file, job.instance, boxes, area, visible))
    order = np.random.default_rng([config.seed, ORDER_SEED]).permutation(len(images))
    write_index(out, queries, [images[number] for number in order], settings)


def _boxes(record: Record) -> Floats:
    if record["box"] is None:
        return np.zeros((0, 4), dtype=np.float32)
    width, height = record["size"]
    return from_pixels([record["box"]], width, height)
