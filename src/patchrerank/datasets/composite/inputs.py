"""The folders a composite is built from: which files, which of them twice, which for what."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from patchrerank.errors import DatasetError
from patchrerank.images import find_images, upright_size

logger = logging.getLogger(__name__)

SPLIT_SEED = 5


@dataclass(frozen=True)
class Inputs:
    """Checked input files.

    Attributes:
        cutouts: RGBA cut-outs, one object each; empty where pieces are cut from photographs.
        names: how the data set names each cut-out, parallel to ``cutouts``.
        to_cut: photographs that pieces are cut from; none of them is a background.
        backgrounds: photographs to paste into.
        record: per folder, the number of files and a digest of their names and contents.
    """

    cutouts: tuple[Path, ...]
    names: tuple[str, ...]
    to_cut: tuple[Path, ...]
    backgrounds: tuple[Path, ...]
    record: dict[str, Any]


def collect(
    objects: Path | None, backgrounds: Path, out: Path, cut_from: Path | None, seed: int
) -> Inputs:
    """List and fingerprint the input folders. Files with the same content count once.

    A photograph that lies in both ``cut_from`` and ``backgrounds`` serves only one of them (half
    of such photographs each), so that no background shows an object without being a positive.

    Raises:
        DatasetError: both or neither of ``objects`` and ``cut_from`` are given, a folder holds no
            pictures, ``out`` lies inside one, or one photograph would have to serve both ends.
        ImageError: a folder does not exist, or a photograph has no readable header.
    """
    if (objects is None) == (cut_from is None):
        raise DatasetError(
            "give either a folder of cut-outs (OBJECTS) or a folder of photographs to cut pieces "
            "from (--cut-from), not both and not neither"
        )
    folders = {"objects": objects, "backgrounds": backgrounds, "cut_from": cut_from}
    given = {name: folder for name, folder in folders.items() if folder is not None}
    for folder in given.values():
        _check_apart(out, folder)
    files = {name: _unique(folder) for name, folder in given.items()}
    record = {name: _record(given[name], found) for name, found in files.items()}
    for name in {"backgrounds", "cut_from"} & given.keys():
        for path in files[name].values():
            upright_size(path)
    cutouts = tuple(files.get("objects", {}).values())
    names = tuple(path.relative_to(given["objects"]).as_posix() for path in cutouts)
    to_cut, behind = _share(files.get("cut_from", {}), files["backgrounds"], seed)
    return Inputs(cutouts, names, to_cut, behind, record)


def _check_apart(out: Path, folder: Path) -> None:
    if out.resolve().is_relative_to(folder.resolve()):
        raise DatasetError(
            f"{out} lies inside the input folder {folder}, so its pictures would become inputs; "
            "choose an output folder outside"
        )


def _unique(folder: Path) -> dict[str, Path]:
    """Return the pictures below ``folder`` by the digest of their content, in sorted order."""
    found: dict[str, Path] = {}
    listed = find_images(folder)
    if listed.left_out:
        logger.warning("%s: %s", folder, listed)
    for path in (file for file in listed.files if isinstance(file, Path)):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        first = found.setdefault(digest, path)
        if first != path:
            logger.warning("%s is a copy of %s and is left out", path, first)
    if not found:
        raise DatasetError(f"{folder} holds no pictures; pass a folder of PNG or JPEG files")
    return found


def _record(folder: Path, files: dict[str, Path]) -> dict[str, Any]:
    lines = [f"{digest} {path.relative_to(folder).as_posix()}" for digest, path in files.items()]
    digest = hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
    return {"files": len(files), "sha256": digest}


def _share(
    to_cut: dict[str, Path], backgrounds: dict[str, Path], seed: int
) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Give each photograph that is in both folders to one of them."""
    common = [digest for digest in to_cut if digest in backgrounds]
    order = np.random.default_rng([seed, SPLIT_SEED]).permutation(len(common))
    half = (len(common) + 1) // 2
    cut = {common[number] for number in order[:half]}
    behind = set(common) - cut
    pieces = tuple(path for digest, path in to_cut.items() if digest not in behind)
    photos = tuple(path for digest, path in backgrounds.items() if digest not in cut)
    if not photos or (to_cut and not pieces):
        raise DatasetError(
            "the folders for --cut-from and BACKGROUNDS share their only photograph; objects and "
            "backgrounds must come from different pictures, so add at least one more"
        )
    return pieces, photos
