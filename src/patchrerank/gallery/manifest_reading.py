"""Reading a manifest: held against itself and against what the writer makes.

Array files are memory-mapped by what is written here, so only dtypes and shapes that the writer
makes are ever believed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from patchrerank.errors import GalleryError, SettingError
from patchrerank.gallery.id_table import ID_TABLE, TABLE_RECORD, table_size
from patchrerank.gallery.id_types import ID_TYPES
from patchrerank.gallery.identity import is_imported
from patchrerank.gallery.manifest import FORMAT, NO_REGIONS, REMOVED, Manifest
from patchrerank.gallery.manifest_checks import (
    REMEDY,
    check_arrays,
    check_shards,
    check_sizes,
    damaged,
)
from patchrerank.gallery.places import FILES, PLACES, PLACES_RECORD
from patchrerank.gallery.removed_rows import REMOVED_RECORD
from patchrerank.gallery.stamps import STAMPS, STAMPS_RECORD
from patchrerank.gallery.stores import (
    EXACT_ARRAYS,
    MOST_BITS,
    STORES,
    gallery_records,
    is_store,
    split_store,
)
from patchrerank.json_files import read_json
from patchrerank.records import from_json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    T = TypeVar("T", bound=DataclassInstance)

MOST_PIXELS = 1 << 14
"""Side of a network's input, as in ``encoders.preprocessing`` (which is slow to import)."""


def read_manifest(path: Path) -> Manifest:
    """Read one manifest file of a gallery.

    Raises:
        GalleryError: missing, not JSON, of another format; missing or unknown keys, values of
            another type or range, or that contradict each other. Names file and key.
    """
    made = read_record(path, Manifest)
    _check_manifest(made, str(path))
    return made


def settled(read: Callable[[], T], use: Callable[[T], None]) -> T:
    """Read a manifest and do with it what fails if files that it names are gone.

    Where a newer manifest came in between, whose writer removed them, the newer one is used.

    Raises:
        GalleryError: what ``read`` or ``use`` raised.
    """
    while True:
        made = read()
        try:
            use(made)
            return made
        except GalleryError:
            if read() == made:
                raise


def read_record(path: Path, kind: type[T]) -> T:
    """Return a manifest of ``kind``, which has a ``format``; only types are checked.

    Raises:
        GalleryError: missing, not JSON, of another format; missing or unknown keys, or values of
            another type. Names file and key.
    """
    if not path.is_file():
        raise GalleryError(f"{path}: no such file; is this a gallery folder?")
    try:
        content = read_json(path)
        if not isinstance(content, dict):
            raise SettingError(f"{path}: holds no object")
        if content.get("format") != FORMAT:
            raise GalleryError(
                f"{path}: format {content.get('format')!r}, this version reads {FORMAT}; "
                "index the images again"
            )
        unknown = sorted(set(content) - {item.name for item in fields(kind)})
        if unknown:
            raise GalleryError(f"{path}: unknown keys {', '.join(unknown)[:200]}; {REMEDY}")
        return from_json(kind, _with_generations(content), str(path), complete=False)
    except SettingError as error:
        raise GalleryError(f"{error}; {REMEDY}") from error


def _with_generations(content: dict[str, object]) -> dict[str, object]:
    """Take the file of an array for its first where a manifest does not say which it is."""
    arrays = content.get("arrays")
    if not isinstance(arrays, dict):
        return content
    told = {
        name: {"generation": 0, **record} if isinstance(record, dict) else record
        for name, record in arrays.items()
    }
    return {**content, "arrays": told}


def _check_manifest(made: Manifest, where: str) -> None:
    counts = {"images": made.images, "patches": made.patches, "numbering": made.numbering}
    check_sizes(where, made.dim, made.chunk, **counts)
    if not is_store(made.store):
        raise damaged(where, "store", f"{made.store!r} is none of {', '.join(STORES)}")
    if made.root is not None and "\0" in made.root:
        raise damaged(where, "root", "no path has a null character")
    check_encoder(made.encoder, where)
    if made.whitening is not None and not (made.whitened and made.whitening.dim == made.dim):
        raise damaged(where, "whitening", "is of another number of dimensions than the vectors")
    parts, bits = _quantiser(made, where)
    template = gallery_records(made.store, made.dim, parts, bits)
    images = dict.fromkeys(("id_ends", "sizes", "globals", "patch_ends"), made.images)
    patches = dict.fromkeys((*EXACT_ARRAYS, *EXACT_ARRAYS.values(), "boxes"), made.patches)
    if made.id_type not in ID_TYPES:
        raise damaged(where, "id_type", f"{made.id_type!r} is none of {', '.join(ID_TYPES)}")
    rows = {**images, **patches, "pq_centroids": parts}
    if made.regions == NO_REGIONS:
        template = {name: one for name, one in template.items() if name != "boxes"}
    _check_pictures(made, where)
    if made.pictures is not None:
        template, rows[PLACES] = {**template, PLACES: PLACES_RECORD}, made.images
    if ID_TABLE in made.arrays:
        template, rows[ID_TABLE] = {**template, ID_TABLE: TABLE_RECORD}, table_size(made.images)
    if REMOVED in made.arrays:
        template = {**template, REMOVED: REMOVED_RECORD}
        rows[REMOVED] = min((made.images, *made.arrays[REMOVED].shape))
    if STAMPS in made.arrays:
        template, rows[STAMPS] = {**template, STAMPS: STAMPS_RECORD}, made.images
    check_arrays(made.arrays, template, rows, where)
    check_shards(made.shards, made.images, made.patches, made.arrays["ids"].shape[0], where)


def _check_pictures(made: Manifest, where: str) -> None:
    if made.pictures is None:
        return
    kind = made.pictures.kind
    if kind not in FILES:
        raise damaged(where, "pictures.kind", f"{kind!r} is none of {', '.join(FILES)}")
    for number, (name, held, read) in enumerate(made.pictures.files):
        if not name or "\0" in name or held < 0 or read < 0:
            raise damaged(where, f"pictures.files[{number}]", "expected [name, bytes, from where]")


def check_encoder(record: Mapping[str, object], where: str) -> None:
    """Refuse an encoder's record of which the encoder could not be loaded.

    Raises:
        GalleryError: names file and key.
    """
    for key in ("spec", "architecture", "precision"):
        if not isinstance(record.get(key), str):
            raise damaged(where, f"encoder.{key}", f"expected text, got {record.get(key)!r}")
    if not isinstance(record.get("pretrained", True), bool):
        raise damaged(where, "encoder.pretrained", "expected true or false")
    if is_imported(record):  # nothing is loaded by its name
        return
    preprocessing = record.get("preprocessing")
    size = preprocessing.get("image_size") if isinstance(preprocessing, Mapping) else None
    if not (isinstance(size, list | tuple) and len(size) == 2 and all(map(_is_side, size))):
        raise damaged(
            where, "encoder.preprocessing.image_size", f"expected [height, width], got {size!r}"
        )


def _quantiser(made: Manifest, where: str) -> tuple[int, int]:
    """Return the parts of a product quantiser and the bits of each; 1 and 8 for other stores."""
    if split_store(made.store)[0] != "pq" or "pq_centroids" not in made.arrays:
        return 1, MOST_BITS
    shape = made.arrays["pq_centroids"].shape
    counts = [1 << bits for bits in range(1, MOST_BITS + 1)]
    if len(shape) != 3 or shape[1] not in counts or shape[0] < 1 or shape[0] * shape[2] != made.dim:
        raise damaged(
            where,
            "arrays.pq_centroids.shape",
            f"expected parts, centroids and their share of {made.dim} dimensions, got {shape}",
        )
    return shape[0], shape[1].bit_length() - 1


def _is_side(value: object) -> bool:
    return type(value) is int and 1 <= value <= MOST_PIXELS
