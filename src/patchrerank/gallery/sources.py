"""Where the images of a gallery come from."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from patchrerank.addresses import Address, Place, below, is_address, place_of
from patchrerank.errors import GalleryError, SettingError, described
from patchrerank.gallery.block import Block
from patchrerank.gallery.manifest import PictureRecord
from patchrerank.gallery.packed_files import packed_files
from patchrerank.gallery.packed_source import open_packed
from patchrerank.gallery.places import Packed
from patchrerank.images import FoundImages, ImageSource, find_images

if TYPE_CHECKING:
    from patchrerank.gallery.build_options import BuildOptions

Pair = tuple[str, ImageSource | Packed]
Images = str | os.PathLike[str] | Address | Iterable[str | os.PathLike[str] | Pair] | Block
Item = tuple[Any, ImageSource | Packed]
Items = Iterator[Item]


logger = logging.getLogger(__name__)


class Source(Protocol):
    """Where images come from; each kind is one class."""

    @property
    def root(self) -> str | None:
        """The folder that ids, or the files that pictures lie in, are relative to."""
        ...

    @property
    def pictures(self) -> PictureRecord | None:
        """How pictures that lie in other files are read; None: each is a file of its own."""
        ...

    @property
    def id_type(self) -> str:
        """What ids are: a name in ``id_types.ID_TYPES``."""
        ...

    def count(self, before: PictureRecord | None) -> int | None:
        """Return how many images are to come; None: not known."""
        ...

    def items(self, before: PictureRecord | None) -> Items:
        """Yield ``(id, image)``, from where reading ended before."""
        ...


@dataclass(frozen=True)
class PlainSource:
    """Pictures that are files, or objects.

    Attributes:
        pairs: a stream of ``(id, image)``.
        length: its length, where known.
        root: the folder that ids are relative to, or None.
        left_out: in words, which files of the folder are no images; empty if all are.
    """

    pairs: Iterator[Pair]
    length: int | None
    root: str | None
    left_out: str = ""
    pictures: None = None
    id_type: str = "text"

    def count(self, before: PictureRecord | None) -> int | None:
        """Return how many images there are."""
        return self.length

    def items(self, before: PictureRecord | None) -> Items:
        """Yield all of them."""
        if self.left_out:
            logger.warning("%s: %s", self.root, self.left_out)
        yield from self.pairs


def open_source(
    images: Images, options: BuildOptions, before: PictureRecord | None = None
) -> Source:
    """Turn whatever holds images into one stream.

    Ids: of a folder, the path relative to it with forward slashes; of a list of files, the path
    as given; of pairs, the string given; of tar shards and Parquet files see ``options.id_key``.

    Args:
        images: a folder of pictures, a list of files, an iterator of ``(id, image)``; or tar
            shards or Parquet files: one, a folder, a pattern, or a list of them.
            All but objects may lie at addresses (:mod:`patchrerank.addresses`).
        options: how shards and columns are read, and what is done about damaged ones.
        before: how the pictures of the gallery were read so far.

    Raises:
        GalleryError: no images, or entries that are neither path nor pair; shards or columns
            that cannot be read.
        ImageError: the folder does not exist.
        SettingError: ``options`` name a column, and nothing has columns.
    """
    if isinstance(images, Block):
        return images
    if not isinstance(images, Iterable | os.PathLike | Address):
        raise GalleryError(
            f"the images are {described(images)}; pass a folder of pictures, a list of files, or "
            "(id, image) pairs"
        )
    named = isinstance(images, str | os.PathLike | Address)
    folder = named and place_of(cast(Any, images)).is_dir()
    packed = None if folder else packed_files(images)
    if packed is None and isinstance(images, str | os.PathLike | Address):
        found = find_images(images)
        packed = None if found.files else packed_files(images)
        if packed is None:
            return _of_folder(place_of(images), found, options)
    if packed is not None:
        how = options.id_key, options.image_column
        return open_packed(*packed, *how, strict=options.on_error == "raise", before=before)
    assert not isinstance(images, str | os.PathLike | Address)
    _check_plain(options)
    count = len(images) if isinstance(images, Sized) else None
    return PlainSource(_pairs(images), count, None)


def _of_folder(root: Place, found: FoundImages, options: BuildOptions) -> PlainSource:
    left_out = str(found) if found.left_out else ""
    if not found.files:
        why = f"; {left_out}" if left_out else ""
        raise GalleryError(f"{root}: no images found in this folder{why}")
    _check_plain(options)
    pairs = ((below(path, root), path) for path in found.files)
    return PlainSource(pairs, len(found.files), str(root.resolve()), left_out)


def _check_plain(options: BuildOptions) -> None:
    if options.id_key is not None or options.image_column is not None:
        raise SettingError(
            "id_key and image_column (--id-key, --image-column) are for tar shards and Parquet "
            "files; other pictures have their paths for ids"
        )


def check_id(image_id: Any) -> Any:
    """Return an id that can be stored; whole numbers and UUIDs always can.

    Raises:
        GalleryError: it is empty, or no valid Unicode (a file name in another encoding).
    """
    if not isinstance(image_id, str):
        return image_id
    if not image_id:
        raise GalleryError("an id is empty; pass (id, image) pairs with ids that name the image")
    try:
        image_id.encode("utf-8")
    except UnicodeEncodeError as error:
        raise GalleryError(
            f"id {image_id!r} is not valid Unicode; rename the file, or pass (id, image) pairs"
        ) from error
    return image_id


def items_to_come(source: Source, before: PictureRecord | None, options: BuildOptions) -> Items:
    """Yield a source's images; with ``skip`` those with an id that can be stored.

    For each of the others there is a warning.
    """
    if options.on_error == "raise":
        yield from source.items(before)
        return
    for image_id, image in source.items(before):
        try:
            yield check_id(image_id), image
        except GalleryError as error:
            logger.warning("skipped: %s", error)


def _pairs(
    entries: Iterable[str | os.PathLike[str] | Pair],
) -> Iterator[Pair]:
    for number, entry in enumerate(entries):
        if is_address(entry):
            yield str(entry), place_of(cast("str | Address", entry))
        elif isinstance(entry, str | os.PathLike):
            yield os.fspath(entry), entry
        elif isinstance(entry, Sequence) and len(entry) == 2 and isinstance(entry[0], str):
            yield entry[0], entry[1]
        else:
            raise GalleryError(
                f"image {number} is {entry!r}; expected a path or a pair (id: str, image)"
            )
