"""Files written where a user points: whole or not at all, never in place of somebody else's.

A file that is there may be replaced if it is empty, or if this library wrote it: each kind of
file says by what it is known (:class:`Ours`). New content is written beside it and moved into
place, so that whoever has the old one open keeps it. Links are followed; devices and pipes such
as ``/dev/stdout`` are written to.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from patchrerank.errors import SettingError, cannot_write

HEAD = 1 << 16
"""Bytes of a file in which its mark stands."""

SVG_MARK = "<!-- patchrerank -->"
"""Stands in every SVG that we write."""


@dataclass(frozen=True)
class Ours:
    """How files of one kind are known that this library wrote.

    Attributes:
        what: the kind, with its article, for messages: ``a page of a report``.
        made: tells from the path of a file that is not empty.
    """

    what: str
    made: Callable[[Path], bool]


def json_with(what: str, *keys: str) -> Ours:
    """Return how JSON objects are known that hold all of these keys."""

    def made(path: Path) -> bool:
        try:
            content = json.loads(path.read_bytes())
        except (ValueError, RecursionError):
            return False
        return isinstance(content, dict) and content.keys() >= set(keys)

    return Ours(what, made)


def marked(what: str, mark: bytes) -> Ours:
    """Return how files are known that hold ``mark`` within their first 64 KiB."""

    def made(path: Path) -> bool:
        with path.open("rb") as file:
            return mark in file.read(HEAD)

    return Ours(what, made)


def check_target(path: str | Path, ours: Ours, *, make_folder: bool = False) -> None:
    """Tell whether a file may be written, before the work that it is to hold.

    Args:
        path: the file.
        ours: what may be replaced.
        make_folder: missing folders will be made.

    Raises:
        SettingError: there is something else already, there is no such folder, or it is not to be
            written to; the message names it. Nothing has been touched.
    """
    target = _resolved(path)
    try:
        if target.is_dir():
            raise SettingError(f"{path}: cannot be written: it is a folder; name a file")
        if target.is_file():
            _check_file(path, target, ours)
        check_folder(path, target.parent, make_folder=make_folder)
    except OSError as error:
        raise cannot_write(path, error) from error


def write_whole(
    path: str | Path,
    content: bytes,
    ours: Ours | None = None,
    *,
    make_folder: bool = False,
    durable: bool = True,
    scratch_name: str | None = None,
) -> None:
    """Write a file through one beside it; nothing is left behind on failure.

    Args:
        path: the file.
        content: all of it.
        ours: what may be replaced; None: anything, where the caller has made sure.
        make_folder: make missing folders.
        durable: wait until the disk has it, which a power cut needs and a killed process not.
        scratch_name: see :func:`written_beside`.

    Raises:
        SettingError: see :func:`check_target`; or the disk is full, or refuses.
    """
    beside = written_beside(path, ours, make_folder=make_folder, scratch_name=scratch_name)
    with beside as scratch, scratch.open("wb") as file:
        file.write(content)
        file.flush()
        if durable and scratch.is_file():
            os.fsync(file.fileno())


@contextmanager
def written_beside(
    path: str | Path,
    ours: Ours | None = None,
    *,
    make_folder: bool = False,
    scratch_name: str | None = None,
) -> Iterator[Path]:
    """Give a path to write to, and move it into place if all went well.

    The other arguments and the errors are those of :func:`write_whole`.

    Args:
        scratch_name: of the file beside it, in folders that are ours, where a killed run's is
            to be written over by the next; None: one that nobody else has.
    """
    if ours is not None:
        check_target(path, ours, make_folder=make_folder)
    target = _resolved(path)
    with writing(path):
        if make_folder:
            target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_file():  # a device, or a pipe; folders are refused
            yield target
            return
        scratch = target.parent / (scratch_name or f".{secrets.token_hex(8)}.part")
        try:
            yield scratch
            scratch.replace(target)
        finally:
            with suppress(OSError):
                scratch.unlink(missing_ok=True)


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn the operating system's refusal to write into a sentence.

    Raises:
        SettingError: names the path, the reason, and what to do.
    """
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error


def _resolved(path: str | Path) -> Path:
    given = Path(path)
    try:
        special = given.exists() and not given.is_file()  # /dev/stdout leads to a pipe's number
        return given if special else given.resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in the name, links in a circle
        raise SettingError(f"{str(path)!r}: cannot be written: it is no path ({error})") from error


def _check_file(path: str | Path, target: Path, ours: Ours) -> None:
    if target.stat().st_size and not ours.made(target):
        raise SettingError(
            f"{path}: is there already and is not {ours.what} that patchrerank wrote; choose "
            "another name, or move it away"
        )


def check_folder(path: str | Path, folder: Path, *, make_folder: bool = False) -> None:
    """Refuse a folder, of the file ``path``, that is not there or not to be written to.

    Raises:
        SettingError: names both.
    """
    while make_folder and not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        if folder.exists():
            raise SettingError(f"{path}: cannot be written: {folder} is no folder")
        raise SettingError(
            f"{path}: cannot be written: there is no folder {Path(path).parent}; make it first"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SettingError(
            f"{path}: cannot be written: {folder} is read-only; choose a folder that you may "
            "write to"
        )
