"""A source's images cut into blocks, by their position alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from patchrerank.addresses import Address, Place, place_of
from patchrerank.errors import SettingError
from patchrerank.gallery.block import Block, Span
from patchrerank.gallery.packed_source import PackedSource
from patchrerank.gallery.sources import Images, PlainSource, Source
from patchrerank.gallery.whitening_sample import SAMPLE_IMAGES, draw_sample
from patchrerank.images import ImageSource

Counted = tuple[Span, int]


def cut(source: Source, size: int) -> list[Block]:
    """Cut a source into blocks of so many images; of Parquet files, rows.

    Of tar shards all headers are read for it, of Parquet files how many rows they have. A sample
    of a tar stays whole.
    """
    if isinstance(source, PackedSource):
        return [_of_spans(source, part) for part in _grouped(_spans(source, size), size)]
    pairs = [(str(name), _absolute(image)) for name, image in source.items(None)]
    return [_of_pairs(source.root, pairs[at : at + size]) for at in range(0, len(pairs), size)]


def check_can_be_cut(source: Source) -> None:
    """Refuse a stream, which cannot be read at several places.

    Raises:
        SettingError: it is one.
    """
    if isinstance(source, PlainSource) and source.length is None:
        raise SettingError(
            "a stream of images cannot be cut into blocks; pass a folder, a list of files or "
            "pairs, tar shards or Parquet files, or build without Ray"
        )


def sample_blocks(images: Images, source: Source, size: int) -> list[Block]:
    """Return the images that a whitening is learned on, as a build in one process chooses them.

    Of tar shards and Parquet files, whose first pictures it is, they are one block.
    """
    if isinstance(source, PackedSource):
        whole = [Span(name, _held(source, name), 0, None) for name in source.files]
        made = _of_spans(source, [(span, 0) for span in whole])
        return [replace(made, id_type="text", sample=SAMPLE_IMAGES)]
    drawn, _ = draw_sample(images, source)
    pairs = [(str(name), _absolute(image)) for name, image in drawn]
    return [_of_pairs(None, pairs[at : at + size]) for at in range(0, len(pairs), size)]


def _of_pairs(root: str | None, pairs: list[tuple[str, ImageSource]]) -> Block:
    return Block(root, pairs=tuple(pairs), length=len(pairs))


def _of_spans(source: PackedSource, counted: list[Counted]) -> Block:
    return Block(
        source.root,
        spans=tuple(span for span, _ in counted),
        read_by=source.pictures,
        id_type=source.id_type,
        length=sum(count for _, count in counted),
    )


def _spans(source: PackedSource, size: int) -> Iterator[Counted]:
    """Yield parts of files that fill blocks exactly, each with how many images it has."""
    if source.pictures.kind == "tar":
        yield from _tar_spans(source, size)
    else:
        yield from _row_spans(source, size)


def _tar_spans(source: PackedSource, size: int) -> Iterator[Counted]:
    name, start, count, room = "", 0, 0, size
    for _, picture in source.items(None):
        place = picture.place
        if name and place.file != name:
            if count:
                yield Span(name, _held(source, name), start, None), count
            start, room, count = 0, (room - count if room > count else size), 0
        name, count = place.file, count + 1
        if count >= room and place.after > place.at:  # behind the last picture of a sample
            yield Span(name, place.held, start, place.after), count
            start, count, room = place.after, 0, size
    if count:
        yield Span(name, _held(source, name), start, None), count


def _row_spans(source: PackedSource, size: int) -> Iterator[Counted]:
    room = size
    for name in source.files:
        rows, at = _rows(place_of(source.root) / name), 0
        while at < max(rows, 1):
            count = min(room, max(rows, 1) - at)
            yield Span(name, _held(source, name), at, at + count if rows else None), count
            at, room = at + count, room - count or size


def _grouped(spans: Iterator[Counted], size: int) -> Iterator[list[Counted]]:
    begun: list[Counted] = []
    for span in spans:
        begun.append(span)
        if sum(count for _, count in begun) >= size:
            yield begun
            begun = []
    if begun:
        yield begun


def _rows(path: Place) -> int:
    """Return how many rows a file has; 0: it cannot be opened, which reading it will say."""
    import pyarrow
    import pyarrow.parquet

    try:
        where = path.opened() if isinstance(path, Address) else path
        return int(pyarrow.parquet.read_metadata(where).num_rows)
    except (OSError, pyarrow.ArrowException):
        return 0


def _held(source: PackedSource, name: str) -> int:
    return (place_of(source.root) / name).stat().st_size


def _absolute(image: Any) -> Any:
    return Path(image).absolute() if isinstance(image, str | os.PathLike) else image
