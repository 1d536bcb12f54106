"""The pictures of a composite data set: which there are, and how each is made and saved.

Each picture draws from its own generator, seeded with the data set's seed, its kind and its
number, so it comes out the same whichever others were made before it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from patchrerank.datasets.composite.config import CompositeConfig
from patchrerank.datasets.composite.journal import Record
from patchrerank.datasets.composite.pieces import PHOTO_SIDE, cut_pieces, read_cutout, read_photo
from patchrerank.datasets.composite.scene import (
    Scene,
    distractor_scene,
    positive_scene,
    query_scene,
)
from patchrerank.datasets.writing import write_atomically
from patchrerank.errors import DatasetError

Kind = Literal["query", "positive", "distractor"]
KIND_SEEDS = {"query": 0, "positive": 1, "distractor": 2, "objects": 3, "clutter": 4}
CACHE_BYTES = 200_000_000
"""Memory for decoded photographs, and once more for decoded pieces."""


@dataclass(frozen=True)
class Job:
    """One picture to make.

    Attributes:
        kind: what it shows.
        numbers: what its randomness is seeded with besides the seed and the kind.
        id: its id.
        file: its path inside the data set.
        instance: number of its object; None in a distractor.
    """

    kind: Kind
    numbers: tuple[int, ...]
    id: str
    file: str
    instance: int | None


class Studio:
    """Makes the pictures of one data set.

    Args:
        config: the settings.
        out: folder of the data set.
        instances: name and file of each object's cut-out.
        pool: files of the pieces that serve as clutter; may be empty.
        backgrounds: files of the photographs.
    """

    def __init__(
        self,
        config: CompositeConfig,
        out: Path,
        instances: Sequence[tuple[str, Path]],
        pool: Sequence[Path],
        backgrounds: Sequence[Path],
    ) -> None:
        self._config = config
        self._out = out
        self._instances = instances
        self._pool = pool
        self._backgrounds = backgrounds
        photo, piece = 2 * config.long_side, max(config.long_side, config.query_side)
        self._photo = lru_cache(max(2, CACHE_BYTES // (3 * photo**2)))(
            lambda path: read_photo(path, photo)
        )
        self._piece = lru_cache(max(4, CACHE_BYTES // (4 * piece**2)))(
            lambda path: _fit(read_cutout(path), piece)
        )
        for folder in ("queries", "db"):
            (out / folder).mkdir(exist_ok=True)

    def jobs(self) -> list[Job]:
        """Return all pictures: queries, then positives, then distractors."""
        count = range(len(self._instances))
        queries = [Job("query", (n,), f"q{n:04d}", f"queries/q{n:04d}.png", n) for n in count]
        positives = [
            Job("positive", (n, j), f"p{n:04d}_{j}", f"db/p{n:04d}_{j}.jpg", n)
            for n in count
            for j in range(self._config.positives)
        ]
        distractors = [
            Job("distractor", (n,), f"d{n:04d}", f"db/d{n:04d}.jpg", None)
            for n in range(self._config.distractors)
        ]
        return [*queries, *positives, *distractors]

    def render(self, job: Job) -> Record:
        """Make one picture, save it and return its record."""
        scene = self.scene(job)
        content = _encode(scene, job.file, self._config.jpeg_quality)
        write_atomically(self._out / job.file, content, sync=False)
        found = scene.box is not None
        return {
            "file": job.file,
            "sizes": {job.file: len(content)},
            "size": [scene.mask.shape[1], scene.mask.shape[0]],
            "box": list(scene.box) if scene.box is not None else None,
            "area": scene.area if found else None,
            "visible": scene.visible if found else None,
        }

    def scene(self, job: Job) -> Scene:
        """Return a picture before it is saved, with the mask of its object.

        Raises:
            DatasetError: the object cannot be pasted within the settings.
        """
        config = self._config
        rng = np.random.default_rng([config.seed, KIND_SEEDS[job.kind], *job.numbers])
        if job.kind == "query":
            return query_scene(self._object(job), config, rng)
        photo = self._photo(self._backgrounds[int(rng.integers(len(self._backgrounds)))])
        if job.kind == "distractor":
            return distractor_scene(photo, self._clutter(1, rng), config, rng)
        piece = self._object(job)
        scene = positive_scene(photo, piece, self._clutter(0, rng), config, rng)
        if scene is None:
            raise DatasetError(
                f"{self._source(job)}: {piece.width} × {piece.height} pixels; it cannot be pasted "
                f"with area {config.area} and occlusion {config.occlusion}; remove the cut-out "
                "(is it very thin?) or widen the settings"
            )
        return scene

    def _object(self, job: Job) -> Image.Image:
        return self._piece(self._source(job))

    def _source(self, job: Job) -> Path:
        return self._instances[job.numbers[0]][1]

    def _clutter(self, least: int, rng: np.random.Generator) -> list[Image.Image]:
        """Return between ``least`` and ``max_clutter`` different pieces of the pool."""
        most = min(self._config.max_clutter, len(self._pool))
        count = int(rng.integers(min(least, most), most + 1))
        chosen = rng.permutation(len(self._pool))[:count].tolist()
        return [self._piece(self._pool[number]) for number in chosen]


def cut_photo(config: CompositeConfig, out: Path, kind: str, number: int, photo: Path) -> Record:
    """Cut pieces out of one photograph, save them as PNG and return their record."""
    rng = np.random.default_rng([config.seed, KIND_SEEDS[kind], number])
    image = read_photo(photo, PHOTO_SIDE)
    sizes: dict[str, int] = {}
    for position, piece in enumerate(cut_pieces(image, config.pieces_per_photo, rng)):
        buffer = io.BytesIO()
        piece.save(buffer, "PNG")
        file = f"{kind}/{number:04d}_{position}.png"
        write_atomically(out / file, buffer.getvalue(), sync=False)
        sizes[file] = len(buffer.getvalue())
    return {"file": f"{kind}/{number:04d}", "sizes": sizes}


def _fit(piece: Image.Image, side: int) -> Image.Image:
    if max(piece.size) > side:
        piece.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=None)
    return piece


def _encode(scene: Scene, file: str, quality: int) -> bytes:
    image = Image.fromarray(scene.picture)
    buffer = io.BytesIO()
    if file.endswith(".png"):
        image.save(buffer, "PNG")
    else:
        image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
