"""A gallery whose regions another gallery holds among its own: vectors are copied, not made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from tqdm import tqdm

from patchrerank.boxes import Floats
from patchrerank.errors import GalleryError, RegionError
from patchrerank.gallery.build_options import BuildOptions
from patchrerank.gallery.builder import chunk_size
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.identity import identity_of
from patchrerank.gallery.image_rows import ImageRows
from patchrerank.gallery.recording_files import joined_files
from patchrerank.gallery.stamps import STAMPS, UNKNOWN, as_stamp
from patchrerank.gallery.writer import GalleryWriter, open_writer
from patchrerank.regions import Regions, parse_regions
from patchrerank.types import Rows

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder

BLOCK = 256
"""Images that are copied and committed together."""
REDUCTIONS = (8, 4, 2, 1)
"""By how much a JPEG decoder can shrink a picture."""

Size = tuple[int, int]


def derive_gallery(
    source: Gallery,
    folder: str | Path,
    encoder: Encoder,
    regions: Regions,
    *,
    progress: bool = True,
) -> Gallery:
    """Write the gallery that encoding ``regions`` would write, out of a gallery that holds them.

    Such as grid:1 out of grid:3, or grid:2 out of sliding:3:0.25. Regions are matched by their
    whole pixels. The bits are those of encoding wherever a crop's vector does not depend on the
    other crops of its batch. A run that is killed leaves a half-written gallery, which the same
    call, or an index command with the same settings, finishes.

    Args:
        source: holds the vectors, as float32.
        folder: of the new gallery; absent, empty, or half-written.
        encoder: the one that made ``source``.
        regions: strategy that follows from an image's size alone.
        progress: show a progress bar.

    Raises:
        GalleryError: :func:`misfit` says why not, an image lacks one of the regions, or
            ``folder`` holds something else.
    """
    reason = misfit(source, encoder, regions)
    if reason is not None:
        raise GalleryError(f"{source.folder}: {reason}; encode the images instead")
    made, options = source.manifest, BuildOptions(store="float32")
    size = chunk_size(encoder, regions)
    lies = made.pictures and replace(made.pictures, files=())
    with open_writer(Path(folder), encoder, regions, options, size, lies, made.id_type) as writer:
        writer.manifest = replace(writer.manifest, encoder=dict(made.encoder))
        writer.set_root(made.root)
        _copy(source, writer, regions, progress=progress)
        writer.finish()
    source.copy_backgrounds(Path(folder))
    joined_files([source], Path(folder))
    return Gallery(folder)


def misfit(source: Gallery, encoder: Encoder, regions: Regions) -> str | None:
    """Return why a gallery cannot stand for encoding ``regions`` anew; None if it can."""
    made = source.manifest
    if made.store != "float32" or made.whitened:
        return f"holds {made.store} vectors{', whitened' * made.whitened}, not plain float32"
    if made.skipped:
        return f"{len(made.skipped)} images were skipped in it"
    if made.identity != identity_of(encoder):
        return f"was made by another encoder than {encoder.spec!r}"
    if regions.finest is None:
        return f"regions {regions.spec} are found by looking at the pictures"
    plain = made.regions.partition(" ")[0]
    if encoder.recorded_regions(plain) != made.regions:
        return f"its regions ({made.regions}) were encoded another way"
    if not np.asarray(source.sizes)[source.live].all():
        return "was imported, and the sizes of its pictures are not known"
    finest = _finest_of(plain)
    if finest is None:
        return f"its regions ({made.regions}) do not follow from the images' sizes"
    if not _same_pixels(source, encoder.least_size(finest), encoder.least_size(regions.finest)):
        return f"for {regions.spec} its largest images may be decoded at a smaller size"
    return None


def _finest_of(spec: str) -> float | None:
    """Return the finest region of a recorded spec; None where it names boxes, not a rule."""
    try:
        return parse_regions(spec, most=None).finest
    except RegionError:
        return None


def _same_pixels(source: Gallery, first: Size, second: Size) -> bool:
    """Return whether images needed at two least sizes are decoded alike (see ``read_image``)."""
    sizes = np.asarray(source.sizes, dtype=np.int64).reshape(-1, 2)[source.live]
    sizes = np.unique(sizes, axis=0)
    return all(_reduction(size, first) == _reduction(size, second) for size in sizes.tolist())


def _reduction(size: list[int], least: Size) -> int:
    room = min(side // needed for side, needed in zip(size, least, strict=True))
    return next((factor for factor in REDUCTIONS if factor <= room), 1)


def _copy(source: Gallery, writer: GalleryWriter, regions: Regions, *, progress: bool) -> None:
    finder = _Finder(source, regions)
    rows = [row for row in source.live.tolist() if source.ids[row] not in writer.done]
    with tqdm(total=len(rows), unit="img", desc="copy", disable=not progress) as bar:
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            writer.commit(list(_images(source, block, finder)))
            bar.update(len(block))


def _images(source: Gallery, rows: list[int], finder: _Finder) -> Iterator[ImageRows]:
    held = STAMPS in source.manifest.arrays
    for row in rows:
        wanted, places = finder(row)
        width, height = (int(side) for side in source.sizes[row])
        patches = np.asarray(source.patches[places], dtype=np.float32)
        whole = np.asarray(source.global_vectors[row])
        stamp = as_stamp(cast(Rows, source.array(STAMPS)[row])) if held else UNKNOWN
        place = source.pictures.place(row)
        yield ImageRows(source.ids[row], (width, height), wanted, whole, patches, stamp, place)


class _Finder:
    """Finds an image's wanted regions among those that a gallery holds."""

    def __init__(self, source: Gallery, regions: Regions) -> None:
        self._source = source
        self._regions = regions
        self._known: dict[tuple[int, int, bytes], tuple[Floats, Rows]] = {}

    def __call__(self, row: int) -> tuple[Floats, Rows]:
        """Return the wanted boxes, float32 ``(P, 4)``, and their places among all patches."""
        start = int(self._source.patch_ends[row - 1]) if row else 0
        held = np.asarray(self._source.boxes[start : int(self._source.patch_ends[row])])
        width, height = (int(side) for side in self._source.sizes[row])
        key = (width, height, held.tobytes())
        if key not in self._known:
            self._known[key] = self._match(row, held, (width, height))
        wanted, places = self._known[key]
        return wanted, start + places

    def _match(self, row: int, held: Floats, size: Size) -> tuple[Floats, Rows]:
        image_id = self._source.ids[row]
        wanted = self._regions.boxes(image_id, *size)
        place = {box: number for number, box in enumerate(_on_pixels(held, size))}
        pixels = _on_pixels(wanted, size)
        missing = next((box for box in pixels if box not in place), None)
        if missing is not None:
            raise GalleryError(
                f"{self._source.folder}: image {image_id!r} has no region at the pixels {missing}, "
                f"which {self._regions.spec} needs; encode the images instead"
            )
        return wanted, np.array([place[box] for box in pixels], dtype=np.int64)


def _on_pixels(boxes: Floats, size: Size) -> list[tuple[int, ...]]:
    scale = np.array([*size, *size], dtype=np.float64)
    whole = np.rint(boxes.astype(np.float64) * scale).astype(np.int64)
    return [tuple(box) for box in whole.tolist()]
