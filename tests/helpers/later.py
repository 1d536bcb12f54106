"""Packages that are imported when a test first uses them, since every worker collects all tests."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import pytest


class Later:
    """Stands for a module until something in it is asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith(("_", "pytest")):  # what pytest looks for when it collects
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self._name), attribute)


def later(name: str) -> Any:
    """Return a stand-in for a module; skips the module that asks where its package is absent."""
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        pytest.skip(f"could not find {name!r}", allow_module_level=True)
    return Later(name)
