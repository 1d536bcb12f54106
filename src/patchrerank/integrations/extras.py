"""Packages that only one store or framework needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from patchrerank.errors import MissingExtraError


@contextmanager
def of_extra(name: str, *packages: str) -> Iterator[None]:
    """Say which extra brings packages that cannot be imported; broken ones show their own error.

    Raises:
        MissingExtraError: a package is absent.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in packages:
            raise
        raise MissingExtraError(
            f"it needs {error.name}: pip install 'patchrerank[{name}]'"
        ) from error
