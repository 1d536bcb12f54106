"""Encoders that are loaded once in a session: converting a network, or measuring where its cells
look, is most of a small command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any

import pytest

import patchrerank.encoders
import patchrerank.pipeline.query_encoders
from patchrerank.encoders import Encoder

_load, _load_dense = patchrerank.encoders.load_encoder, patchrerank.encoders.load_dense_encoder
_loaded: dict[tuple[Any, ...], Any] = {}


def _once(key: tuple[Any, ...], settings: dict[str, Any], load: Any, spec: Any) -> Any:
    """Load what was not; settings that are left out, or of a square by one side, are the same."""
    asked = signature(load).bind(spec, **settings)
    asked.apply_defaults()
    given = {**asked.arguments, next(iter(asked.arguments)): None}
    if isinstance(size := given.get("image_size"), int):
        given["image_size"] = (size, size)
    whole = (*key, *sorted((name, repr(value)) for name, value in given.items()))
    if whole not in _loaded:
        _loaded[whole] = load(spec, **settings)
    return _loaded[whole]


def _named(spec: Any) -> bool:
    """Whether it names a model; one of a file is loaded each time, as the file may be another."""
    return isinstance(spec, str) and "/" not in spec


def load_once(spec: Any, **settings: Any) -> Any:
    """Return what ``load_encoder`` does; the same object for the same named model."""
    return _once((spec,), settings, _load, spec) if _named(spec) else _load(spec, **settings)


def load_dense_once(spec: Any, **settings: Any) -> Any:
    """Return what ``load_dense_encoder`` does; the same object for the same named model."""
    if isinstance(spec, Encoder) and _named(spec.spec):
        taken = repr((spec.preprocessing, spec.device, spec.pretrained, spec.precision))
        return _once(("dense", spec.spec, taken), settings, _load_dense, spec)
    if _named(spec):
        return _once(("dense", spec), settings, _load_dense, spec)
    return _load_dense(spec, **settings)


@contextmanager
def encoders_loaded_once() -> Iterator[None]:
    """Let everything that asks the package for an encoder share it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(patchrerank.encoders, "load_encoder", load_once)
        patched.setattr(patchrerank.encoders, "load_dense_encoder", load_dense_once)
        patched.setattr(patchrerank.pipeline.query_encoders, "load_dense_encoder", load_dense_once)
        yield
