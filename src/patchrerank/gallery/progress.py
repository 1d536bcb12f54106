"""Which images a gallery that is written holds, and how far files of pictures were read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never

from tqdm import tqdm

from patchrerank.errors import GalleryError
from patchrerank.gallery.arrays import is_intact, open_array
from patchrerank.gallery.id_types import ID_TYPES, IdType
from patchrerank.gallery.manifest import BUILDING, MANIFEST, SYNCED, Manifest, PictureRecord
from patchrerank.gallery.manifest_reading import read_manifest
from patchrerank.gallery.packed_source import from_the_start
from patchrerank.gallery.places import PLACES, Packed, Place
from patchrerank.gallery.settings import ids_of
from patchrerank.gallery.sources import Items, check_id
from patchrerank.images import ImageSource
from patchrerank.types import Rows

if TYPE_CHECKING:
    from patchrerank.gallery.image_rows import ImageRows


class Progress:
    """What was committed so far, of a gallery that is begun, or was complete.

    Attributes:
        done: the row of each image that is not to come again; -1: it was skipped.
        numbers: of the files that pictures lie in, by name.
        places: int64 ``(N, 3)``, where pictures lie that were there before; None: nowhere.
    """

    def __init__(self, folder: Path, manifest: Manifest, live: Rows) -> None:
        names = ids_of(folder, manifest).at(live)
        self.done: dict[Any, int] = dict(zip(names, live.tolist(), strict=True))
        record = manifest.arrays.get(PLACES)
        self.places = None if record is None else open_array(folder, PLACES, record)
        self._pictures = manifest.pictures
        files = () if manifest.pictures is None else manifest.pictures.files
        self._read = {name: (held, read) for name, held, read in files}
        self.numbers = {name: number for number, name in enumerate(self._read)}
        begun = (folder / BUILDING).exists() and manifest.images > 0
        self._tries_again = {name for name, _ in manifest.skipped if not begun}
        if begun:
            kind = ID_TYPES[manifest.id_type]
            self.done.update((_id_of(kind, name), -1) for name, _ in manifest.skipped)

    def holds(self, image_id: Any, place: Place) -> bool:
        """Return whether an image that is done came from a place, or was skipped."""
        row = self.done[image_id]
        if row < 0 or self.places is None or row >= len(self.places):
            return True
        number, at, _ = (int(value) for value in self.places[row])
        return self.numbers.get(place.file) == number and at == place.at

    def before(self) -> PictureRecord | None:
        """Return where reading goes on; from the start if skipped images are tried again."""
        made = self.pictures()
        return from_the_start(made) if made is not None and self._tries_again else made

    def note(self, rows: Sequence[ImageRows], first: int, read: Sequence[Place]) -> None:
        """Take up images that are committed from a row on, and how far files were read."""
        self.done.update((item.image_id, row) for row, item in enumerate(rows, first))
        own = [item.place for item in rows if item.place is not None]
        for place in (*own, *read):
            self._read[place.file] = place.held, place.after
            self.numbers.setdefault(place.file, len(self.numbers))

    def tried_again(self, read: Sequence[Place]) -> set[str]:
        """Return which skipped images, named by their file, come again now that it is read."""
        files = {place.file for place in read}
        within = tuple(f"{name}/" for name in files)
        found = {name for name in self._tries_again if name in files or name.startswith(within)}
        self._tries_again -= found
        return found

    def pictures(self) -> PictureRecord | None:
        """Return how pictures were read, for the manifest."""
        files = tuple((name, held, read) for name, (held, read) in self._read.items())
        return None if self._pictures is None else replace(self._pictures, files=files)


def unfinished(items: Items, progress: Progress, bar: tqdm[Never]) -> Items:
    """Yield images that are not in the gallery yet, refusing an id that comes twice.

    Raises:
        GalleryError: names the id, and the file where it came again.
    """
    seen = set[Any]()
    for image_id, image in items:
        twice = check_id(image_id) in seen
        known = not twice and image_id in progress.done
        if known and isinstance(image, Packed):
            twice = not progress.holds(image_id, image.place)
        if twice:
            raise GalleryError(f"id {image_id!r} comes twice{_where(image)}; ids must be unique")
        seen.add(image_id)
        if known:
            bar.update(1)
        else:
            yield image_id, image


def _where(image: ImageSource | Packed) -> str:
    if not isinstance(image, Packed):
        return ""
    return (
        f", the second time in {image.place.file} (--id-key says what ids are made of, "
        "--image-column which field of a sample is its picture)"
    )


def newest_state(folder: Path) -> Manifest:
    """Return the newest state of a build that is whole on the disk (a power cut may lose some).

    Raises:
        GalleryError: none is.
    """
    for name in (BUILDING, SYNCED):
        try:
            manifest = read_manifest(folder / name)
        except GalleryError:
            continue
        if is_intact(folder, manifest.arrays):
            return manifest
    raise GalleryError(
        f"{folder}: the half-written gallery is damaged; delete the folder and index again"
    )


def complete_state(folder: Path) -> Manifest | None:
    """Return what readers see; None: nothing yet."""
    path = folder / MANIFEST
    return read_manifest(path) if path.exists() else None


def _id_of(kind: IdType, name: str) -> Any:
    """Return the id of an image that was skipped; some are named by what they lie in."""
    try:
        return kind.parse(name)
    except ValueError:
        return name
