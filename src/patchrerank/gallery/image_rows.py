"""What is written for an image, as rows of the arrays of a gallery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.boxes import Floats
from patchrerank.gallery.id_types import ID_TYPES
from patchrerank.gallery.manifest import Manifest
from patchrerank.gallery.places import PLACES, Place
from patchrerank.gallery.stamps import STAMPS, UNKNOWN, Stamp
from patchrerank.gallery.stores import store_columns


@dataclass(frozen=True)
class ImageRows:
    """What is written for one image; boxes ``(P, 4)``, vectors ``(d,)`` and ``(P, d)``.

    ``stamp`` is that of its file; ``place`` is where its picture lies in another file, if it does.
    """

    image_id: Any
    size: tuple[int, int]
    boxes: Floats
    global_vector: Floats
    patches: Floats
    stamp: Stamp = UNKNOWN
    place: Place | None = None


def image_columns(
    rows: Sequence[ImageRows],
    made: Manifest,
    centroids: Floats | None,
    numbers: Mapping[str, int],
) -> dict[str, npt.NDArray[Any]]:
    """Return what is appended to each array; ``id_ends`` and ``patch_ends`` count from 0 on.

    Args:
        rows: of the images.
        made: says how vectors are stored.
        centroids: see :func:`patchrerank.gallery.stores.store_columns`.
        numbers: of the files that pictures lie in.
    """
    encoded = [ID_TYPES[made.id_type].bytes_of(item.image_id) for item in rows]
    patch_counts = np.array([len(item.boxes) for item in rows], dtype=np.int64)
    id_bytes = np.array([len(item) for item in encoded], dtype=np.int64)
    empty = np.zeros((0, made.dim), dtype=np.float32)
    patches = np.concatenate([empty, *(item.patches for item in rows)])
    whole = [item.global_vector for item in rows]
    places = [(numbers[at.file], at.at, at.size) for at in (item.place for item in rows) if at]
    packed = {} if made.pictures is None else {PLACES: np.array(places, np.int64).reshape(-1, 3)}
    return {
        **packed,
        "ids": np.frombuffer(b"".join(encoded), dtype=np.uint8),
        "id_ends": np.cumsum(id_bytes),
        "sizes": np.array([item.size for item in rows], dtype=np.int32).reshape(-1, 2),
        "globals": np.array(whole, dtype=np.float32).reshape(-1, made.dim),
        **store_columns(made.store, patches, centroids),
        "patch_ends": np.cumsum(patch_counts),
        STAMPS: np.array([item.stamp for item in rows], dtype=np.int64).reshape(-1, 4),
        "boxes": np.concatenate([np.zeros((0, 4), np.float32)] + [item.boxes for item in rows]),
    }
