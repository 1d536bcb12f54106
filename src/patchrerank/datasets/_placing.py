"""Putting a data set's pictures into a new folder: linked or copied."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Literal, get_args

from patchrerank.errors import DatasetError, SettingError, near_matches
from patchrerank.files import writing

Pictures = Literal["symlink", "hardlink", "copy"]


def check_pictures_option(pictures: str) -> None:
    """Raise a SettingError unless ``pictures`` is a way to place them."""
    known = get_args(Pictures)
    if pictures not in known:
        raise SettingError(
            f"pictures is {pictures!r}{near_matches(pictures, known)}; use one of "
            f"{', '.join(known)}"
        )


def new_folder(target: Path) -> None:
    """Make an empty folder.

    Raises:
        DatasetError: it holds something already.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DatasetError(f"{target} is not empty; choose another folder, or delete it")
    with writing(target):
        target.mkdir(parents=True, exist_ok=True)


def place(file: Path, target: Path, pictures: Pictures) -> None:
    """Link or copy one picture; one that is there already is left alone.

    Raises:
        DatasetError: the file system refuses.
    """
    if target.is_file():
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if pictures == "symlink":
            target.symlink_to(file.resolve())
        elif pictures == "hardlink":
            os.link(file.resolve(), target)
        else:
            shutil.copyfile(file, target)
    except OSError as error:
        hint = "" if pictures == "copy" else "; pass pictures=copy (--pictures copy)"
        reason = f"cannot {pictures} {file} ({error.strerror}){hint}"
        raise DatasetError(f"{target}: {reason}") from error
