"""Runs and judgements as callers hold them: dictionaries, ranx's objects, or files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, Protocol

from patchrerank.errors import TableError, shown
from patchrerank.tuning.tables.run_files import PathLike, read_qrels, read_run


class RanxLike(Protocol):
    """A ``ranx.Run`` or ``ranx.Qrels``."""

    def to_dict(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the content."""
        ...


Lists = Mapping[str, Mapping[str, Any]]


def given_run(name: str, run: object) -> Lists:
    """Return a run as ``{query: {document: score}}``.

    Args:
        name: of the run, for messages.
        run: such a mapping, a ``ranx.Run``, or the path of a file.

    Raises:
        TableError: something else, or a score that is no number; names query and document.
    """
    return _given(name, run, "score", "a ranx Run", read_run)


def given_qrels(qrels: object) -> Lists:
    """Return judgements as ``{query: {document: grade}}``; a ``ranx.Qrels`` is taken too.

    Raises:
        TableError: something else, or a grade that is no number.
    """
    return _given("judgements", qrels, "grade", "ranx Qrels", read_qrels)


def _given(
    name: str, given: object, value: str, ranx: str, read: Callable[[PathLike], Lists]
) -> Lists:
    if isinstance(given, str | os.PathLike):
        return read(given)
    table = _plain(given)
    if not isinstance(table, Mapping):
        raise TableError(
            f"{name}: expected {{query: {{document: {value}}}}}, {ranx}, or the path of a file, "
            f"got a {type(given).__name__}"
        )
    for query, listed in table.items():
        if not isinstance(query, str):
            raise TableError(f"{name}: query {shown(query)} is a {type(query).__name__}, not text")
        if not isinstance(listed, Mapping):
            raise TableError(
                f"{name}: query {query!r}: expected {{document: {value}}}, got a "
                f"{type(listed).__name__}"
            )
        _check_row(f"{name}: query {query!r}", listed, value)
    return table


def _check_row(where: str, listed: Mapping[Any, Any], value: str) -> None:
    for document, number in listed.items():
        if not isinstance(document, str):
            kind = type(document).__name__
            raise TableError(f"{where}: document {shown(document)} is a {kind}, not text")
        if not isinstance(number, Real):
            raise TableError(f"{where}: the {value} of {document!r} is {shown(number)}, no number")


def _plain(given: object) -> object:
    """Return ranx's objects, and others that can be had so, as dictionaries; all else as it is."""
    to_dict = None if isinstance(given, Mapping) else getattr(given, "to_dict", None)
    return to_dict() if callable(to_dict) else given
