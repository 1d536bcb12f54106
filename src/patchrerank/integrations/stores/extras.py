"""Packages that only one store needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from patchrerank.errors import MissingExtraError


@contextmanager
def of_extra(name: str, package: str) -> Iterator[None]:
    """Say which extra brings a package that cannot be imported; a broken one shows its own error.

    Raises:
        MissingExtraError: the package is absent.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise MissingExtraError(f"it needs {package}: pip install 'patchrerank[{name}]'") from error
