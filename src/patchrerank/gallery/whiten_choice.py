"""What can be asked of whitening: a number of dimensions, ``auto``, or that of a gallery."""

from __future__ import annotations

import os
from pathlib import Path

from patchrerank.errors import GalleryError, SettingError, described
from patchrerank.gallery.manifest import Manifest

AUTO = "auto"
"""As many dimensions as the spectrum of the patches says."""

Whiten = int | str | os.PathLike[str]
"""Dimensions, ``auto``, or the folder of a gallery whose whitening is taken."""


def check_whiten(whiten: Whiten) -> None:
    """Refuse what is neither a number of dimensions, nor ``auto``, nor a folder.

    Raises:
        SettingError: says what it is.
    """
    if isinstance(whiten, bool) or not isinstance(whiten, int | str | os.PathLike):
        raise SettingError(f"whiten is {described(whiten)}; {_usage()}")
    if isinstance(whiten, int):
        if whiten < 1:
            raise SettingError(f"whiten must keep at least 1 dimension, got {whiten}")
    elif whiten != AUTO and not _is_folder(whiten):
        raise SettingError(f"whiten is {os.fspath(whiten)!r}; {_usage()}")


def check_begun(folder: Path, made: Manifest, whiten: Whiten) -> None:
    """Refuse to go on with another whitening than a gallery was begun with.

    Raises:
        GalleryError: it is not whitened, or to another number of dimensions.
    """
    if not made.whitened:
        raise GalleryError(
            f"{folder}: was begun without whitening; leave --whiten (whiten=) out, or use another "
            "folder"
        )
    if isinstance(whiten, int) and whiten != made.dim:
        raise GalleryError(
            f"{folder}: was begun with whitening to {made.dim} dimensions, now they are {whiten}; "
            "leave --whiten (whiten=) out to keep its own, or use another folder"
        )


def _usage() -> str:
    return (
        "give a number of dimensions such as 512, 'auto', or the folder of a whitened gallery "
        "whose whitening is to be used"
    )


def _is_folder(path: str | os.PathLike[str]) -> bool:
    try:
        return bool(os.fspath(path)) and Path(path).is_dir()
    except (OSError, ValueError):  # a name that no file can have
        return False
