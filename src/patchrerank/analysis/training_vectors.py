"""What a quantiser is trained on: a grid level, descriptors of boxes, or a file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from patchrerank.boxes import Floats, in_region
from patchrerank.datasets import load_dataset
from patchrerank.errors import SettingError, whose_vectors
from patchrerank.gallery import Gallery
from patchrerank.gallery.storage import training_rows
from patchrerank.images import ImageSource, describe_source, read_image
from patchrerank.numpy_files import read_npy
from patchrerank.regions import FixedBoxes

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder


Given = Iterator[tuple[ImageSource, Floats]]


def training_vectors(
    gallery: Gallery, train_on: str, boxes: Path | None = None, encoder: Encoder | None = None
) -> Floats | None:
    """Return float32 ``(n, d)`` training vectors, or None for all patches.

    Source: Patchify (WACV 2026), Table 6: descriptors of ground-truth boxes > L0 > … > L3.

    Args:
        gallery: holds the patches of the levels, and the images of the boxes.
        train_on: ``all``; ``L0``, ``L1``, … (all patches up to that level of the gallery's own
            grid); ``boxes``; or a ``.npy`` file of float vectors.
        boxes: for ``boxes``: a data set folder (its true boxes), or JSON ``{id: [[…], …]}``.
        encoder: the gallery's, for ``boxes``.

    Raises:
        SettingError: something that ``train_on`` needs is missing, or the file is no array.
        GalleryError: the gallery has no such level.
        VectorError: a vector is NaN, infinite or all zeros; names the image and the box.
    """
    if train_on == "all":
        return None
    level = re.fullmatch(r"L([0-9]{1,4})", train_on)
    if level:
        return gallery.patch_store.decode(training_rows(gallery, int(level[1])))
    if train_on == "boxes":
        if boxes is None or encoder is None:
            raise SettingError("training on boxes needs --boxes: a data set folder or a JSON file")
        return _box_vectors(gallery, boxes, encoder)
    return _read_vectors(Path(train_on), gallery.dim)


def train_label(train_on: str) -> str:
    """Return ``train_on`` as part of a file name; a file is named by a digest of its bytes."""
    path = Path(train_on)
    if path.suffix != ".npy" or not path.is_file():
        return train_on.replace("/", "_")
    return f"{path.stem}-{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"


def _box_vectors(gallery: Gallery, boxes: Path, encoder: Encoder) -> Floats:
    """Encode each given box of each image as one crop."""
    if boxes.is_dir():
        images = load_dataset(boxes).images
        given: Given = ((image.file, image.boxes) for image in images if len(image.boxes))
    else:
        regions = FixedBoxes.from_json(boxes, whole_image=False)
        rows = gallery.rows_of(gallery.ids.kind.read(list(regions.ids)))
        pairs = zip(rows, regions.ids, strict=True)
        given = ((gallery.pictures[row], regions.boxes(name, 1, 1)) for row, name in pairs)
    parts = [_encoded(file, found, gallery, encoder) for file, found in given if len(found)]
    if not parts:
        raise SettingError(f"{boxes}: holds no boxes to train on")
    return np.concatenate(parts)


def _encoded(picture: ImageSource, boxes: Floats, gallery: Gallery, encoder: Encoder) -> Floats:
    name = describe_source(picture)
    with whose_vectors(lambda row: in_region(name, boxes[row]), "; leave this box out"):
        vectors = encoder.encode(encoder.preprocessing.prepare(read_image(picture), boxes))
        return vectors if gallery.whitening is None else gallery.whitening.apply(vectors)


def _read_vectors(path: Path, dim: int) -> Floats:
    try:
        vectors = read_npy(path, SettingError)
    except SettingError as error:
        raise SettingError(
            f"--train-on {path}: neither all, L0 …, boxes nor a readable .npy file ({error})"
        ) from error
    shaped = vectors.dtype.kind == "f" and vectors.ndim == 2 and vectors.shape[1] == dim
    if not shaped or not np.isfinite(vectors).all():
        raise SettingError(
            f"{path}: holds {vectors.shape} {vectors.dtype}, expected finite (n, {dim}) vectors"
        )
    return np.ascontiguousarray(vectors, dtype=np.float32)
