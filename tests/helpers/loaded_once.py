"""Encoders that are loaded once in a session: converting a network is most of a small command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import patchrerank.encoders

_load = patchrerank.encoders.load_encoder
_loaded: dict[tuple[Any, ...], Any] = {}


def load_once(spec: Any, **settings: Any) -> Any:
    """Return what ``load_encoder`` does; the same object for the same named model.

    Models of files are loaded each time, since the file may be another one.
    """
    if not isinstance(spec, str) or "/" in spec:
        return _load(spec, **settings)
    key = (spec, *sorted((name, repr(value)) for name, value in settings.items()))
    if key not in _loaded:
        _loaded[key] = _load(spec, **settings)
    return _loaded[key]


@contextmanager
def encoders_loaded_once() -> Iterator[None]:
    """Let everything that asks the package for an encoder share it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(patchrerank.encoders, "load_encoder", load_once)
        yield
