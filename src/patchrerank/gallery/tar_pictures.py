"""Pictures in tar shards, as WebDataset and img2dataset write them.

Members that follow each other under one key (a name up to the first dot behind its last slash)
are one sample: ``000000012.jpg``, ``000000012.json``, ``000000012.txt``.

Source: ``webdataset.tariterators.base_plus_ext`` and ``group_by_keys`` (webdataset 1.0.2); the
``WebDatasetSampleWriter`` of img2dataset 1.47.0.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, BinaryIO

from patchrerank.addresses import Address
from patchrerank.addresses import Place as FilePlace
from patchrerank.errors import GalleryError, ImageError, shown
from patchrerank.gallery.manifest import PictureRecord
from patchrerank.gallery.places import Packed, Place
from patchrerank.gallery.tar_members import AGAIN, Member, is_whole, members, read_content
from patchrerank.images import IMAGE_SUFFIXES, PictureBytes

KEY, SHARD_KEY = "key", "shard/key"
KEY_AND_FIELD = re.compile(r"(?:\./)*((?:.*/|)[^./][^.]*)\.([^/]+)", re.DOTALL)
OF_THE_ARCHIVE = re.compile(r"(?:\./)*(__[^/]*__($|/)|(.*/)?\._[^/]*$)", re.DOTALL)
"""Names that are no part of a sample: WebDataset's own, and what macOS puts beside each file."""
MOST_BYTES = 1 << 30
MOST_JSON = 1 << 24
MOST_MEMBERS = 100_000
"""Of one sample."""

Field = tuple[str, Member]


class TarPictures:
    """Reads the pictures of tar shards.

    Args:
        record: says what ids are made of, and which field of a sample is its picture.
        left_out: counts what is no picture, in words.
    """

    changes = True
    """What was found in a shard may still be found once the shard has grown."""

    def __init__(self, record: PictureRecord, left_out: Counter[str] | None = None) -> None:
        self._record = record
        self._left_out = Counter[str]() if left_out is None else left_out

    @staticmethod
    def plan(
        files: Sequence[tuple[str, FilePlace]], ids: str | None, column: str | None, *, strict: bool
    ) -> tuple[PictureRecord, str, int | None]:
        """Return how shards are read, the type of their ids, and how many pictures there are.

        Args:
            files: name and path of each.
            ids: what ids are made of; None: the key, or shard and key where shards begin with
                the same one.
            column: the field that is the picture; None: any that is one.
            strict: refuse shards that are cut short.

        Raises:
            GalleryError: a shard is cut short.
        """
        for _, path in files if strict else ():
            if not is_whole(path):
                raise _cut(path)
        record = PictureRecord("tar", ids or KEY, column or "")
        reader = TarPictures(record)
        if ids is None:
            firsts = [first for name, path in files for first in reader.first(name, path)]
            again = len(set(firsts)) < len(firsts)
            return PictureRecord("tar", SHARD_KEY if again else KEY, column or ""), "text", None
        found = (first for name, path in files for first in reader.first(name, path))
        return record, "int" if isinstance(next(found, ""), int) else "text", None

    def first(self, name: str, path: FilePlace) -> list[Any]:
        """Return the id of a shard's first picture, or nothing."""
        found = (key for key, picture in self.walk(name, path) if not picture.fault)
        return [key for key, _ in zip(found, range(1), strict=False)]

    def walk(self, name: str, path: FilePlace, start: int = 0) -> Iterator[tuple[Any, Packed]]:
        """Yield the pictures of a shard with their ids, from an offset on; only headers are read.

        A shard that is damaged ends with a picture that cannot be had.
        """
        held, key, sample = path.stat().st_size, "", list[Field]()
        begin, fault = start, ""
        with path.open("rb") as file:
            found = _Samples(name, path, file, held, self._record, self._left_out)
            try:
                for member in members(file, path, start):
                    split = self._split(member)
                    if split is None:
                        continue
                    if split[0] != key:
                        yield from found.pictures(key, sample, begin, member.begin)
                        key, sample, begin = split[0], [], member.begin
                    sample.append((split[1], member))
                    if len(sample) > MOST_MEMBERS:
                        raise GalleryError(
                            f"{path}: more than {MOST_MEMBERS:,} members of the key {key!r} follow "
                            "each other; name pictures without a dot before that of the suffix"
                        )
            except GalleryError as error:
                fault = str(error)
            yield from found.pictures(key, sample, begin, begin if fault else held)
        if fault:
            yield name, Packed(Place(name, held, begin, 0, begin), None, fault)

    def read(self, path: FilePlace, place: Place) -> PictureBytes:
        """Return the bytes of a picture.

        Raises:
            ImageError: it is not there any more.
            OSError: the file cannot be read.
        """
        try:
            content, name = read_content(path, place.at, place.size)
        except GalleryError as error:
            raise ImageError(str(error)) from error
        return PictureBytes(content, f"{path}: {name}")

    def _split(self, member: Member) -> tuple[str, str] | None:
        """Return key and field of a member; None: it belongs to no sample."""
        if member.kind:
            self._left_out[member.kind] += member.kind != "folders"
            return None
        parts = KEY_AND_FIELD.fullmatch(member.name)
        if parts is None or OF_THE_ARCHIVE.match(member.name):
            return None
        return parts[1], parts[2].lower()


class _Samples:
    """Finds the pictures of one shard's samples, and their ids."""

    def __init__(
        self,
        name: str,
        path: FilePlace,
        file: BinaryIO,
        held: int,
        record: PictureRecord,
        left_out: Counter[str],
    ) -> None:
        self._name, self._path, self._file, self._held = name, path, file, held
        self._record, self._left_out = record, left_out

    def pictures(
        self, key: str, sample: list[Field], begin: int, after: int
    ) -> Iterator[tuple[Any, Packed]]:
        """Yield the pictures of a sample; reading goes on behind it once all were taken."""
        found = [(field, member) for field, member in sample if self._is_picture(field)]
        if sample and not found:
            self._left_out["samples without a picture"] += 1
        for number, (field, member) in enumerate(found, 1):
            behind = after if number == len(found) else begin
            place = Place(self._name, self._held, member.data, member.size, behind)
            own = key if len(found) == 1 else f"{key}.{field}".rpartition(".")[0]
            try:
                yield self._id(own, sample), Packed(place, self._load(member, place))
            except ImageError as error:
                yield f"{self._name}/{own}", Packed(place, None, str(error))

    def _is_picture(self, field: str) -> bool:
        if self._record.column:
            return field == self._record.column.lower()
        return f".{field.rpartition('.')[2]}" in IMAGE_SUFFIXES

    def _load(self, member: Member, place: Place) -> Any:
        if member.size > MOST_BYTES:
            raise ImageError(
                f"{self._path}: {member.name}: has {member.size:,} bytes, over the limit of "
                f"{MOST_BYTES:,} for one picture"
            )
        read = TarPictures(self._record).read
        if isinstance(self._path, Address):  # what comes by is taken at once: it is paid for
            self._file.seek(member.data)
            return partial(
                PictureBytes, self._file.read(member.size), f"{self._path}: {member.name}"
            )
        return partial(read, self._path, place)

    def _id(self, key: str, sample: list[Field]) -> Any:
        if self._record.ids == KEY:
            return key
        if self._record.ids == SHARD_KEY:
            return f"{self._name.removesuffix('.tar')}/{key}"
        member = next((member for field, member in sample if field == "json"), None)
        if member is None:
            raise ImageError(f"{self._path}: {key}: has no .json to take its id from")
        return self._from_json(member)

    def _from_json(self, member: Member) -> Any:
        where, wanted = f"{self._path}: {member.name}", self._record.ids
        if member.size > MOST_JSON:
            raise ImageError(f"{where}: has {member.size:,} bytes, over the limit of {MOST_JSON:,}")
        self._file.seek(member.data)
        try:
            content = json.loads(self._file.read(member.size))
        except (ValueError, RecursionError) as error:
            raise ImageError(f"{where}: is no JSON ({error})") from error
        value = content.get(wanted) if isinstance(content, dict) else None
        whole = type(value) is int and -(1 << 63) <= value < 1 << 63
        if not whole and not (isinstance(value, str) and value):
            held = f"; it has {', '.join(content)[:200]}" if isinstance(content, dict) else ""
            told = shown(value) if value is not None else "missing"
            raise ImageError(
                f"{where}: {wanted!r} is {told}, an id is text or a whole number of 64 bits{held}"
            )
        return value


def _cut(path: FilePlace) -> GalleryError:
    """Return the error of a shard that is cut short, with where, as reading it finds it."""
    try:
        with path.open("rb") as file:
            for _ in members(file, path):
                pass
    except GalleryError as error:
        return error
    return GalleryError(f"{path}: is cut short: its end is not marked; {AGAIN}")
