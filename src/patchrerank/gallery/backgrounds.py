"""Backgrounds kept with a gallery: crops of its pictures, so that no picture is needed later."""

from __future__ import annotations

import io
import shutil
import zipfile
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchrerank.errors import GalleryError, ImageError
from patchrerank.files import written_beside
from patchrerank.images import ImageSource, read_image
from patchrerank.numpy_files import read_npz

BACKGROUNDS = "backgrounds.npz"
PARTIAL = f"{BACKGROUNDS}.partial"
COUNT, MOST = 64, 1024
LEAST_TRIED = 256
SIDES = (1 / 3, 1.0)
"""Side of a crop as a share of its picture's shorter side, like regions of ``grid:3``."""
PLAIN = 12.0
"""Crops whose colours deviate by less (8-bit steps, mean over channels) are taken last."""
QUALITY = 90
WRITE = "write them with `patchrerank backgrounds"

Bytes = npt.NDArray[np.uint8]
PictureOf = Callable[[int], ImageSource]


@dataclass(frozen=True, eq=False)
class Backgrounds:
    """Crops of pictures, to compose objects on.

    Attributes:
        jpegs: of each the bytes of a JPEG file, all of one size.
        ids: of the gallery's pictures they were cut from; empty texts: from other pictures.
    """

    jpegs: tuple[bytes, ...]
    ids: tuple[str, ...]
    _at_sizes: dict[tuple[int, int], Bytes] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.jpegs)

    @property
    def nbytes(self) -> int:
        """Bytes of all JPEG files."""
        return sum(map(len, self.jpegs))

    @cached_property
    def crops(self) -> Bytes:
        """uint8 ``(n, H, W, 3)``.

        Raises:
            ImageError: one cannot be decoded.
        """
        return np.stack([np.asarray(read_image(jpeg)) for jpeg in self.jpegs])

    def sized(self, size: tuple[int, int]) -> Bytes:
        """Return the crops at a size, (height, width): uint8 ``(n, height, width, 3)``; kept."""
        if size not in self._at_sizes:
            self._at_sizes[size] = np.stack([_resized(crop, size) for crop in self.crops])
        return self._at_sizes[size]

    @cached_property
    def _mean(self) -> Bytes:
        mean = self.crops.mean(axis=0, dtype=np.float64)
        return np.asarray(mean.round(), dtype=np.uint8)

    def mean(self, size: tuple[int, int]) -> Bytes:
        """Return the mean of all at a size, (height, width): uint8 ``(height, width, 3)``."""
        return _resized(self._mean, size)

    def without(self, ids: Collection[str]) -> Backgrounds:
        """Return those that were not cut from the pictures with these ids."""
        kept = [number for number, name in enumerate(self.ids) if not name or name not in ids]
        return Backgrounds(tuple(self.jpegs[n] for n in kept), tuple(self.ids[n] for n in kept))

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all; the same crops give the same bytes."""
        columns: dict[str, npt.NDArray[Any]] = {
            "jpegs": np.frombuffer(b"".join(self.jpegs), dtype=np.uint8),
            "ends": np.cumsum([len(jpeg) for jpeg in self.jpegs], dtype=np.int64),
            "ids": np.array(self.ids, dtype=np.str_),
        }
        beside = written_beside(path, scratch_name=PARTIAL)
        with beside as scratch, zipfile.ZipFile(scratch, "w") as archive:
            for name, array in columns.items():
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as entry:
                    np.lib.format.write_array(entry, array, allow_pickle=False)

    @classmethod
    def load(cls, path: Path) -> Backgrounds:
        """Read what :meth:`save` wrote.

        Raises:
            GalleryError: missing, damaged, or something else.
        """
        arrays = read_npz(path, GalleryError)
        try:
            joined, ends, ids = arrays["jpegs"].tobytes(), arrays["ends"].tolist(), arrays["ids"]
            jpegs = tuple(joined[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True))
            sound = len(jpegs) == len(ids) > 0 and all(jpegs) and ends[-1] == len(joined)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise GalleryError(f"{path}: holds no backgrounds ({error}); {_again(path)}") from error
        if not sound:
            raise GalleryError(f"{path}: holds no backgrounds, or cut ones; {_again(path)}")
        return cls(jpegs, tuple(map(str, ids.tolist())))

    def problems(self, known: Callable[[str], bool]) -> Iterator[str]:
        """Say what is wrong with them; ``known`` tells whether a gallery holds an id."""
        try:
            _ = self.crops
        except (ImageError, ValueError) as error:
            yield f"a crop cannot be decoded, or is of another size ({error})"
        for number, image_id in enumerate(self.ids):
            if image_id and not known(image_id):
                yield f"crop {number} is of {image_id!r}, which the gallery does not hold"


class KeepsBackgrounds:
    """A folder that may keep backgrounds; ``folder`` is what messages call it."""

    folder: Path

    @property
    @abstractmethod
    def place(self) -> Path:
        """The folder."""

    @property
    def has_backgrounds(self) -> bool:
        """Whether it keeps backgrounds for query views."""
        return (self.place / BACKGROUNDS).is_file()

    @cached_property
    def backgrounds(self) -> Backgrounds:
        """Crops of its pictures, on which query views are composed.

        Raises:
            GalleryError: there are none, or they are damaged; says how they are written.
        """
        if not self.has_backgrounds:
            raise GalleryError(
                f"{self.folder}: keeps no backgrounds, which query views are composed on; {WRITE} "
                f"{self.folder}` (--root FOLDER where its pictures have moved, --from FOLDER for "
                "other pictures of the same kind)"
            )
        return Backgrounds.load(self.place / BACKGROUNDS)

    def copy_backgrounds(self, target: Path) -> None:
        """Give another folder the same ones, if any."""
        if self.has_backgrounds:
            shutil.copyfile(self.place / BACKGROUNDS, target / BACKGROUNDS)


def forget_backgrounds(folder: Path, gone: Callable[[], Collection[str]]) -> None:
    """Keep none of pictures that a gallery, whose lock is held, is about to hold no more.

    It comes before the manifest that removes them, so that a killed run keeps none of them; their
    ids are asked for if there are backgrounds.
    """
    (folder / PARTIAL).unlink(missing_ok=True)  # of a killed run
    if not (path := folder / BACKGROUNDS).is_file():
        return
    held = Backgrounds.load(path)
    kept = held.without(gone())
    if not len(kept):
        path.unlink()
    elif len(kept) < len(held):
        kept.save(path)


def cut_backgrounds(
    picture_of: PictureOf,
    ids: list[str],
    total: int,
    size: tuple[int, int],
    *,
    count: int = COUNT,
    seed: int = 0,
) -> Backgrounds | None:
    """Cut backgrounds out of pictures, chosen at random; None where none can be read.

    Each is a square part of a picture, resized; those that show something come first.

    Args:
        picture_of: gives a picture by its number.
        ids: how they are named in the record; empty: not at all.
        total: of pictures.
        size: (height, width) of a crop in pixels.
        count: of crops.
        seed: of the choice of pictures and parts.
    """
    rng = np.random.default_rng(seed)
    each = -(-count // max(total, 1))
    textured: list[tuple[Bytes, int]] = []
    plain: list[tuple[Bytes, int]] = []
    for row in rng.permutation(total).tolist()[: max(4 * count, LEAST_TRIED)]:
        for crop in _crops(partial(picture_of, row), size, each, rng):
            deviation = float(crop.std(axis=(0, 1)).mean())
            (textured if deviation >= PLAIN else plain).append((crop, row))
        if len(textured) >= count:
            break
    chosen = [*textured, *plain][:count]
    if not chosen:
        return None
    names = tuple(ids[row] if ids else "" for _, row in chosen)
    return Backgrounds(tuple(_jpeg(crop) for crop, _ in chosen), names)


def _crops(
    opened: Callable[[], ImageSource], size: tuple[int, int], each: int, rng: np.random.Generator
) -> Iterator[Bytes]:
    least = (round(2 * size[1] / SIDES[0]), round(2 * size[0] / SIDES[0]))
    drawn = rng.uniform(size=(each, 3))
    try:
        picture = read_image(opened(), min_size=least)
    except (ImageError, GalleryError, OSError, ValueError):  # an id need not be a path
        return
    for share, x, y in drawn:
        side = (SIDES[0] + (SIDES[1] - SIDES[0]) * share) * min(picture.size)
        left, top = x * (picture.width - side), y * (picture.height - side)
        box = (left, top, left + side, top + side)
        yield np.asarray(picture.resize(size[::-1], Image.Resampling.BICUBIC, box=box))


def _resized(crop: Bytes, size: tuple[int, int]) -> Bytes:
    return np.asarray(Image.fromarray(crop).resize(size[::-1], Image.Resampling.BICUBIC))


def _jpeg(crop: Bytes) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(crop).save(stream, "JPEG", quality=QUALITY, subsampling=0)
    return stream.getvalue()


def _again(path: Path) -> str:
    return f"{WRITE} {path.parent}`"
