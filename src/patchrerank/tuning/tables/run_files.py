"""Other people's rankings and judgements: TREC text files, and JSON as ranx writes it.

A *run* is ``{query: {document: score}}``, higher is better; *qrels* are
``{query: {document: grade}}``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from patchrerank.datasets.ilias_similarities import read_similarities
from patchrerank.errors import TableError

PathLike = str | os.PathLike[str]
Run = dict[str, dict[str, float]]
Qrels = dict[str, dict[str, int]]
Value = TypeVar("Value", int, float)


def read_run(path: PathLike) -> Run:
    """Read ``.json``, or TREC lines ``query Q0 document rank score tag``.

    The scores decide, not the ranks written beside them; equal scores keep the file's order.

    Raises:
        TableError: a line has not six fields, a score is no finite number, or a document stands
            twice in a query's list; the message names file and line.
        DatasetError: likewise for JSON.
    """
    where = Path(path)
    if where.suffix == ".json":
        return read_similarities(where)
    return _read(where, 6, 4, "query Q0 document rank score tag", float)


def read_qrels(path: PathLike) -> Qrels:
    """Read ``.json``, or TREC lines ``query iteration document grade``.

    Raises:
        TableError: a line has not four fields, a grade is no whole number, or a document is
            judged twice for a query; the message names file and line.
        DatasetError: likewise for JSON.
    """
    where = Path(path)
    if where.suffix != ".json":
        return _read(where, 4, 3, "query iteration document grade", int)
    graded = read_similarities(where)
    for query, judged in graded.items():
        for document, grade in judged.items():
            if grade != int(grade):
                raise TableError(
                    f"{where}: query {query!r}: the grade of {document!r} is {grade}; grades are "
                    "whole numbers"
                )
    return {
        query: {document: int(grade) for document, grade in judged.items()}
        for query, judged in graded.items()
    }


def _read(
    path: Path, width: int, column: int, layout: str, number: Callable[[str], Value]
) -> dict[str, dict[str, Value]]:
    table: dict[str, dict[str, Value]] = {}
    for where, line in _lines(path):
        fields = line.split()
        if len(fields) != width:
            raise TableError(f"{where}: {len(fields)} fields, expected {width}: {layout}")
        listed, document = table.setdefault(fields[0], {}), fields[2]
        if document in listed:
            raise TableError(f"{where}: {document!r} stands twice under query {fields[0]!r}")
        listed[document] = _number(fields[column], number, where)
    return table


def _number(text: str, number: Callable[[str], Value], where: str) -> Value:
    try:
        value = number(text)
        if math.isfinite(value):
            return value
    except ValueError:
        pass
    raise TableError(f"{where}: {text!r} is no {'whole' if number is int else 'finite'} number")


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield ``file: line n`` and the line, without empty ones."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield f"{path}: line {number}", line
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"{path}: cannot be read ({error})") from error
