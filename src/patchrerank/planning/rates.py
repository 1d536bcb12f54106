"""How fast this machine encodes, quantises and rescores: measured on samples, not guessed."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from patchrerank.bench.data import make_store, memory_of, unit
from patchrerank.bench.sizes import Sizes
from patchrerank.errors import SettingError
from patchrerank.gallery.rows_ahead import RowsAhead
from patchrerank.gallery.stores import split_store
from patchrerank.kernels import RescoredStore, SingleStore, Store, patch_max
from patchrerank.planning.workload import Workload

NAN = float("nan")
STORE_MIB = 512
WARM_REQUESTS = 15
COLD_REQUESTS = 5
QUANTISED = 1 << 14
PHOTO = (480, 640, 3)


@dataclass(frozen=True)
class Rates:
    """What was measured; NaN: it was not.

    Attributes:
        images: encoded a second by one worker: decoded, cut, encoded and written.
        vectors: product-quantised a second by one worker.
        warm_ms: a request's patch scores, rows in memory (not in the processor's caches).
        cold_ms: the same, rows on the disk and not in memory.
    """

    images: float = NAN
    vectors: float = NAN
    warm_ms: float = NAN
    cold_ms: float = NAN


def measure_requests(workload: Workload, folder: Path) -> tuple[float, float]:
    """Return the median milliseconds of one query's patch scores: rows in memory; on the disk.

    One thread, random candidates of a random store of 512 MiB; of codes with finer rows beside
    them, the larger of the two is of that size. The cold figure is NaN where the system cannot be
    asked to forget a file.

    Args:
        workload: its ``images`` do not matter: a candidate's rows lie together.
        folder: the disk that is measured; a file of 512 MiB is written there and deleted.
    """
    generator = np.random.default_rng(0)
    store = _random_store(workload, generator)
    images = len(store) // workload.patches
    ends = np.arange(1, images + 1, dtype=np.int64) * workload.patches
    query = unit(generator.standard_normal((1, workload.dim), dtype=np.float32))

    def ask(of: Store, ahead: RowsAhead | None = None) -> float:
        rows = generator.choice(images, min(workload.candidates, images), replace=False)[None]
        begun = time.perf_counter()
        if ahead is not None:  # as a gallery asks for rows that lie on a disk
            ahead.ask(rows)
        patch_max(query, of, ends, rows)
        return 1000 * (time.perf_counter() - begun)

    ask(store)
    warm = float(np.median([ask(store) for _ in range(WARM_REQUESTS)]))
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        mapped = _on_disk(store, Path(scratch))
        asked = mapped.codes if isinstance(mapped, RescoredStore) else mapped
        ahead = RowsAhead(ends, [memory_of(asked)])  # finer rows are of few candidates
        times = [ask(mapped, ahead) for _ in range(COLD_REQUESTS) if _forget(Path(scratch))]
    return warm, float(np.median(times)) if times else NAN


def _random_store(workload: Workload, generator: np.random.Generator) -> Store:
    parts = workload.m if workload.quantised else 1
    sizes = Sizes(workload.candidates, workload.patches, workload.dim, parts, store_mib=STORE_MIB)
    codes, finer = split_store(workload.store)
    store = make_store(codes, sizes, generator)
    if not finer:
        return store
    exact = make_store(finer, sizes, generator)
    both: Any = [_cut(one, min(len(store), len(exact))) for one in (store, exact)]
    return RescoredStore(both[0], both[1], workload.rescored)


def _cut(store: SingleStore, rows: int) -> SingleStore:
    """Return the store of the first rows."""
    scales = {"scales": store.scales[:rows]} if hasattr(store, "scales") else {}
    return _with_rows(store, memory_of(store)[:rows], **scales)


def _with_rows(store: SingleStore, rows: Any, **others: Any) -> SingleStore:
    return replace(store, **{"data" if hasattr(store, "data") else "codes": rows, **others})


def _on_disk(store: Store, folder: Path) -> Store:
    """Return the store with its rows mapped from files; scales and centroids stay in memory."""
    if isinstance(store, RescoredStore):
        both: Any = [_on_disk(one, folder) for one in (store.codes, store.exact)]
        return RescoredStore(both[0], both[1], store.rescore)
    held, path = memory_of(store), folder / f"{type(store).__name__}.bin"
    held.tofile(path)
    return _with_rows(store, np.memmap(path, held.dtype, "r", shape=held.shape))


def _forget(folder: Path) -> bool:
    """Ask the system to drop its files' pages from memory; False: it cannot be asked."""
    if not hasattr(os, "posix_fadvise"):
        return False
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return True


def quantising_rate(dim: int, m: int) -> float:
    """Return the vectors a second that one process product-quantises."""
    from patchrerank.gallery.stores import pq_encode

    generator = np.random.default_rng(0)
    vectors = unit(generator.standard_normal((QUANTISED, dim), dtype=np.float32))
    centroids = generator.standard_normal((m, 256, dim // m), dtype=np.float32)
    pq_encode(vectors[:64], centroids)
    begun = time.perf_counter()
    pq_encode(vectors, centroids)
    return QUANTISED / (time.perf_counter() - begun)


def encoding_rate(
    encoder: str,
    regions: str,
    *,
    count: int = 16,
    photos: Sequence[Path] = (),
    image_size: int | None = None,
    device: str = "auto",
    store: str = "float32",
) -> tuple[float, int]:
    """Return the images a second of a real build by one process, and the encoder's dimensions.

    A gallery of ``count`` pictures is built in a temporary folder, after one of two that warms up.
    The network's weights are random: its speed does not depend on them, and nothing is fetched.

    Args:
        encoder: a spec.
        regions: a spec, ``grid:3``.
        count: pictures that are encoded.
        photos: pictures to encode, again from the start where they end; none: noise of 640 × 480.
        image_size: side of the network's input in pixels; None: its own.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``.
        store: of the patches.

    Raises:
        SettingError: ``count`` below 1.
        EncoderError, RegionError, ImageError: as of a build.
    """
    from patchrerank.encoders import load_encoder
    from patchrerank.gallery import BuildOptions, build_gallery

    if count < 1:
        raise SettingError(f"at least one picture is needed to measure encoding, got {count}")
    loaded = load_encoder(encoder, image_size=image_size, device=device, pretrained=False)
    options = BuildOptions(
        store="float32" if split_store(store)[0] == "pq" else store,
        whiten="none",
        progress=False,
        backgrounds=0,
    )
    with tempfile.TemporaryDirectory() as scratch:
        pictures = list(photos) or _noise(Path(scratch), min(count, 8))
        seconds = 0.0
        for name, number in (("warm", min(2, count)), ("timed", count)):
            named = [(f"{n}", pictures[n % len(pictures)]) for n in range(number)]
            begun = time.perf_counter()
            build_gallery(Path(scratch) / name, named, loaded, regions, options)
            seconds = time.perf_counter() - begun
    return count / seconds, loaded.dim


def _noise(folder: Path, count: int) -> list[Path]:
    """Write photographs of smoothed noise as JPEG."""
    from PIL import Image

    generator = np.random.default_rng(0)
    paths = []
    for number in range(count):
        small = generator.integers(0, 256, (60, 80, 3), dtype=np.uint8)
        path = folder / f"{number}.jpg"
        Image.fromarray(small).resize((PHOTO[1], PHOTO[0]), Image.Resampling.BICUBIC).save(path)
        paths.append(path)
    return paths
