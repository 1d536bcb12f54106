"""Files at addresses, such as ``s3://bucket/photos/1.jpg``, read as those of folders are.

pyarrow reads S3, Google Cloud Storage, Azure and HDFS itself (extra ``remote``); addresses of other
kinds are left to fsspec, where it and its package for them are installed. Credentials, region and
endpoint are those of the environment, as all programs read them (``AWS_ACCESS_KEY_ID``,
``AWS_ENDPOINT_URL``, ``GOOGLE_APPLICATION_CREDENTIALS`` …).
"""

from __future__ import annotations

import fnmatch
import io
import os
import posixpath
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeAlias

from patchrerank.remote_files import check_bucket, check_plain, errors_of, file_system, name_inside

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(?=.)")
BUFFER = 8 << 20
"""Bytes that are asked for at once where a file is read from front to back."""


class State(NamedTuple):
    """What is known of a file without reading it; named as ``os.stat`` names it.

    Attributes:
        st_size: bytes.
        st_mtime_ns: time of the last change, in nanoseconds; 0: not told.
    """

    st_size: int
    st_mtime_ns: int


class Address:
    """A file or folder at an address; what ``pathlib.Path`` is for those of this machine.

    Names are taken as they are, without ``%20`` and the like. The network is asked only where a
    file is listed, looked at or read.

    Args:
        text: ``scheme://place/name/…``.
        state: what a listing said of it.

    Raises:
        GalleryError: it holds credentials or options, which galleries and messages would keep.
    """

    def __init__(self, text: str, state: State | None = None) -> None:
        scheme, _, rest = text.partition("://")
        check_plain(scheme.lower(), rest)
        self._scheme, self._inside = scheme.lower(), rest.rstrip("/")
        self._state = state

    def __str__(self) -> str:
        return f"{self._scheme}://{self._inside}"

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __truediv__(self, name: str) -> Address:
        return Address(f"{self}/{name}")

    @property
    def name(self) -> str:
        """Its last part."""
        return posixpath.basename(self._inside)

    @property
    def suffix(self) -> str:
        """The end of its name from the last dot on."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> Address:
        """The folder that it lies in."""
        return Address(f"{self._scheme}://{posixpath.dirname(self._inside)}")

    @property
    def parts(self) -> tuple[str, ...]:
        """The names that it is made of, the bucket's first."""
        return tuple(self._inside.split("/"))

    def relative_to(self, root: Address) -> PurePosixPath:
        """Return its name below a folder that it lies in."""
        return PurePosixPath(*self.parts[len(root.parts) :])

    def is_relative_to(self, root: Address) -> bool:
        """Tell whether it lies in a folder."""
        return f"{self}/".startswith(f"{root}/")

    def resolve(self) -> Address:
        """Return it: it does not depend on where this process is."""
        return self

    absolute = resolve

    def stat(self) -> State:
        """Return its size and time, as it was listed, or is now.

        Raises:
            FileNotFoundError: there is no such file.
            GalleryError: nobody can say.
        """
        if self._state is not None:
            return self._state
        found = self._look()
        if found.type.name != "File":
            raise FileNotFoundError(2, "no such file", str(self))
        return _state(found)

    def is_file(self) -> bool:
        """Ask whether there is such a file."""
        return self._state is not None or self._look().type.name == "File"

    exists = is_file

    def is_dir(self) -> bool:
        """Ask whether there are files below it."""
        return bool(self._look().type.name == "Directory")

    def rglob(self, pattern: str = "*") -> Iterator[Address]:
        """Ask for all files below it, whose names fit a pattern.

        Raises:
            FileNotFoundError: there are none.
            GalleryError: they cannot be listed, or not to the end.
        """
        from pyarrow.fs import FileSelector

        files, inside = file_system(self._scheme, self.parts[0]), self._path
        with self._errors("listed"):
            listed = files.get_file_info(FileSelector(inside, recursive=True))
        for found in listed:
            if found.type.name == "File" and fnmatch.fnmatchcase(found.base_name, pattern):
                below = found.path.strip("/")[len(inside.strip("/")) :].removeprefix("/")
                yield Address(f"{self}/{below}", _state(found))

    def opened(self) -> Any:
        """Open it as pyarrow's file, which is read anywhere.

        Raises:
            FileNotFoundError: there is no such file.
            GalleryError: it cannot be read.
        """
        files = file_system(self._scheme, self.parts[0])
        try:
            with self._errors("read"):
                return files.open_input_file(self._path)
        except FileNotFoundError:
            check_bucket(self._scheme, self.parts[0])
            raise

    def open(self, mode: str = "rb", buffering: int = -1) -> Any:
        """Open it for reading, from front to back unless ``buffering`` is 0; see :meth:`opened`."""
        found = _Told(self)
        if buffering == 0:
            return found
        return io.BufferedReader(found, BUFFER)

    def read_bytes(self) -> bytes:
        """Read all of it; see :meth:`opened`."""
        file = self.opened()
        with self._errors("read"):
            return bytes(file.read())

    @property
    def _path(self) -> str:
        place, *below = self.parts
        return "/".join([name_inside(self._scheme, place), *below])

    def _look(self) -> Any:
        files = file_system(self._scheme, self.parts[0])
        with self._errors("looked at"):
            found = files.get_file_info(self._path)
        if found.type.name == "NotFound":
            check_bucket(self._scheme, self.parts[0])
        return found

    def _errors(self, what: str) -> AbstractContextManager[None]:
        return errors_of(str(self), what)


class _Told(io.RawIOBase):
    """A file at an address whose errors say which."""

    def __init__(self, address: Address) -> None:
        self._address, self._file = address, address.opened()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, place: int, whence: int = 0) -> int:
        self._file.seek(place, whence)
        return self.tell()

    def tell(self) -> int:
        return int(self._file.tell())

    def readinto(self, into: Any) -> int:
        with self._address._errors("read"):
            content = self._file.read(len(into))
        into[: len(content)] = content
        return len(content)


Place: TypeAlias = Path | Address


def is_address(text: object) -> bool:
    """Tell a text that is an address from a path."""
    return isinstance(text, Address) or (isinstance(text, str) and SCHEME.match(text) is not None)


def place_of(where: str | os.PathLike[str] | Address) -> Place:
    """Return what a text stands for: a path of this machine, or an address."""
    if isinstance(where, Address):
        return where
    return Address(where) if isinstance(where, str) and is_address(where) else Path(where)


def below(file: Place, root: Place) -> str:
    """Return a file's name below a folder that it lies in, with forward slashes."""
    inside: Any = root
    return file.relative_to(inside).as_posix()


def _state(found: Any) -> State:
    return State(int(found.size), int(found.mtime_ns or 0))
