"""What can be asked of whitening, and what a new gallery gets where nothing is asked."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from patchrerank.errors import GalleryError, SettingError, described

AUTO = "auto"
"""As many dimensions as the spectrum of the patches says."""

NONE = "none"
"""Of a build: vectors stay as the encoder makes them."""
WHITENED_STORE = "int8"
"""How patches of a whitened gallery are stored where nobody says: as good, in a quarter."""
FEW_IMAGES = 128
"""Fewer are too few to learn from for a gallery that grows: see ``docs/whitening.md``."""
LEAST_DIM = 128
"""Shorter vectors are not whitened unless asked for: there is nothing to take off."""

Whiten = int | str | os.PathLike[str]
"""Dimensions, ``auto``, or the folder of a gallery whose whitening is taken."""

logger = logging.getLogger(__name__)


def why_plain(dim: int | None, images: int | None) -> str | None:
    """Say why a new gallery is not whitened unless that is asked for; None: it is.

    Args:
        dim: of the encoder's vectors; None: not known yet.
        images: how many there are to learn from; None: not known yet.
    """
    if dim is not None and dim < LEAST_DIM:
        return f"its vectors have {dim} dimensions, fewer than {LEAST_DIM}"
    if images is not None and images < FEW_IMAGES:
        told = "1 image is" if images == 1 else f"{images} images are"
        return (
            f"{told} fewer than the {FEW_IMAGES} that whitening is learned from "
            "(index anew once there are more)"
        )
    return None


def log_plain(folder: Path, why: str) -> None:
    """Log that a new gallery is not whitened, and how to ask for it."""
    logger.info(
        "%s: not whitened, since %s; --whiten auto (whiten='auto') asks for it all the same",
        folder,
        why,
    )


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


def check_no_sample(folder: Path, *, begun: bool) -> None:
    """Refuse to go on plain with a gallery that was to be whitened, and has a sample begun for it.

    Raises:
        GalleryError: it has.
    """
    if begun:
        raise GalleryError(
            f"{folder}: was begun with whitening, and killed while it encoded what that is learned "
            "on; give --whiten (whiten=) as then, or leave it out if it was, or use another folder"
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
