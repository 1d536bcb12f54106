"""Who made a vector: the identity that queries and galleries must share, and how two differ."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchrerank.errors import QueryError

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder, Whitening
    from patchrerank.gallery.manifest import Manifest
    from patchrerank.types import Queries

UNTOLD = ("architecture", "backend", "fingerprint", "identity")
"""Entries of a record that say nothing beside the others (the spec stands for the architecture)."""

RECORDED_SINCE = ("pooling", "activation")
"""Entries that older galleries lack: what they do not say is no difference."""

UNKNOWN = "other weights, image size, precision or whitening"

MODULE = "module:"
"""Before the architecture of an encoder that was made from a torch module."""

IMPORTED = "imported"
"""Architecture of the record of vectors that were imported: only their maker's name is known."""

MOST_TOLD = 4
DIGEST = 64
SHOWN = 12


def identity_of(encoder: Encoder, whitening: Whitening | None = None) -> str:
    """Return a digest of encoder (weights, preprocessing, precision) and whitening."""
    if whitening is None:
        return encoder.fingerprint
    return combined_identity(encoder.fingerprint, whitening)


def combined_identity(identity: str, whitening: Whitening) -> str:
    """Return the identity of vectors that are whitened after ``identity`` made them."""
    return hashlib.sha256(f"{identity}+{whitening.fingerprint}".encode()).hexdigest()


def encoder_identity(made: Manifest) -> str:
    """Return the identity of what made a gallery's vectors, before any whitening."""
    if not made.whitened:
        return made.identity
    maker = made.encoder.get("spec" if is_imported(made.encoder) else "fingerprint")
    return made.identity if maker is None else str(maker)


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say in which settings two encoders' records differ.

    Args:
        then: what ``describe()`` of an :class:`Encoder` or :class:`DenseEncoder` returned when the
            vectors were made, as a manifest keeps it under ``encoder``.
        now: ``describe()`` of the other encoder.

    Returns:
        Such as ``image size 64 × 64 then, 224 × 224 now``; at most four settings; empty where the
        records agree in all that they say (the back end does not count).
    """
    before, after = dict(_entries(then)), dict(_entries(now))
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    keys = [key for key in keys if key in before or key not in RECORDED_SINCE]
    told = [key for key in keys if key not in UNTOLD] or [key for key in keys if key == UNTOLD[0]]
    parts = [
        f"{_named(key)} {_shown(before.get(key))} then, {_shown(after.get(key))} now"
        for key in told[:MOST_TOLD]
    ]
    more = [f"and {len(told) - MOST_TOLD} more"] if len(told) > MOST_TOLD else []
    return "; ".join([*parts, *more])


def check_space(folder: Path, made: Manifest, queries: Queries) -> None:
    """Refuse queries that do not live in a gallery's space.

    Args:
        folder: of the gallery.
        made: its manifest.
        queries: encoded by whatever.

    Raises:
        QueryError: another dimension, or encoded differently from the gallery.
    """
    dim = queries.vectors.shape[1]
    same = queries.encoder in (None, made.identity)
    strange = "" if same else other_queries(folder, made, queries.made_by)
    if dim != made.dim:
        whitened = " and the gallery's whitening" if made.whitened else ""
        remedy = f"encode them with {loading_call(made.encoder)}{whitened}"
        raise QueryError(
            f"queries have {dim} dimensions, the gallery {folder} has {made.dim}; "
            f"{strange or remedy}"
        )
    if strange:
        raise QueryError(strange)


def other_queries(folder: Path, made: Manifest, made_by: Mapping[str, Any] | None) -> str:
    """Say how queries of another identity differ from a gallery, and what to do.

    Args:
        folder: of the gallery that they do not fit.
        made: its manifest.
        made_by: what their encoder says of itself; None if nobody knows.
    """
    if is_imported(made.encoder):
        name = made.encoder.get("spec")
        return (
            f"the queries were encoded by another encoder than the gallery {folder}, which was "
            f"imported with vectors of {name!r}; pass vectors of that, alone or as "
            f"Queries(vectors, encoder={name!r})"
        )
    other = UNKNOWN if made_by is None else differences(made.encoder, made_by)
    whitened = ", and pass whitening=gallery.whitening" if made.whitened else ""
    return (
        f"the queries were encoded by another encoder than the gallery {folder}: "
        f"{other or 'not whitened as the gallery is'}; use {loading_call(made.encoder)}{whitened}"
    )


def loading_call(record: Mapping[str, Any]) -> str:
    """Return the Python call that loads the encoder of a record, as text for a message.

    A dense encoder's record gives the call that loads it for queries, whose size is free.
    """
    if is_imported(record):
        return f"what made its imported vectors, {record.get('spec')!r}"
    options = [repr(record.get("spec"))]
    size = _size(record)
    if is_module(record):
        options = ["module", f"preprocessing=… of {_sides(size)} pixels"]
    elif size is not None:
        options.append(f"image_size={size[0] if size[0] == size[1] else size}")
    if record.get("precision", "fp32") != "fp32":
        options.append(f"precision={record['precision']!r}")
    if not record.get("pretrained", True) and not is_module(record):
        options.append("pretrained=False")
    name = "load_dense_encoder" if "sizes" in record else "load_encoder"
    whose = f", with the torch module of {record.get('spec')!r}" if is_module(record) else ""
    return f"{name}({', '.join(options)}){whose}"


def settings_of(made: Manifest) -> str:
    """Return in words what a gallery was encoded with, beside the encoder's spec."""
    record = made.encoder
    whitened = "whitened" if made.whitened else "not whitened"
    if is_imported(record):
        return f"imported, {whitened}"
    return f"image size {_sides(_size(record))}, {record.get('precision', 'fp32')}, {whitened}"


def is_module(record: Mapping[str, Any]) -> bool:
    """Return whether an encoder was made from a torch module, which no name can load again."""
    return str(record.get("architecture", "")).startswith(MODULE)


def is_imported(record: Mapping[str, Any]) -> bool:
    """Return whether vectors were imported and only the name of what made them is known."""
    return record.get("architecture") == IMPORTED


def _sides(size: tuple[int, int] | None) -> str:
    return "unknown" if size is None else f"{size[0]} × {size[1]}"


def index_options(record: Mapping[str, Any]) -> str:
    """Return the options of ``patchrerank index`` that load the encoder of a record."""
    options = [f"--encoder {shlex.quote(str(record.get('spec')))}"]
    size = _size(record)
    if size is not None and size[0] == size[1]:  # the command takes squares only
        options.append(f"--image-size {size[0]}")
    if record.get("precision", "fp32") != "fp32":
        options.append(f"--precision {record['precision']}")
    if not record.get("pretrained", True):
        options.append("--random-weights")
    if "one_pass" in record:
        options.append(f"--one-pass {str(record['one_pass']).removeprefix('one-pass:')}")
    return " ".join(options)


def _size(record: Mapping[str, Any]) -> tuple[int, int] | None:
    preprocessing = record.get("preprocessing")
    size = preprocessing.get("image_size") if isinstance(preprocessing, Mapping) else None
    return (int(size[0]), int(size[1])) if isinstance(size, list | tuple) else None


def _entries(record: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield the leaves of a record; tuples count as lists, which is what JSON makes of them."""
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from _entries(value)
        else:
            yield key, _plain(value)


def _plain(value: object) -> object:
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _named(key: str) -> str:
    return {"spec": "encoder", "image_size": "image size"}.get(key, key.replace("_", " "))


def _shown(value: object) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, str) and len(value) == DIGEST:
        return f"{value[:SHOWN]}…"
    if isinstance(value, list):
        pair = len(value) == 2 and all(isinstance(item, int) for item in value)
        return " × ".join(map(str, value)) if pair else f"[{', '.join(map(_shown, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
