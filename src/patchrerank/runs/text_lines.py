"""Shortlists as lines: TREC runs, id and score between a tab or a comma, ids alone."""

from __future__ import annotations

import csv
from collections.abc import Sequence

from patchrerank.errors import ShortlistError, shown
from patchrerank.runs.entries import METRIC_HINT, Entry, Lists
from patchrerank.runs.trec import FIELDS, LAYOUT, is_number, is_run_line

Row = tuple[str, list[str]]


def lists_of_lines(text: str, *, said: bool) -> Lists:
    """Return the entries of each query.

    Args:
        text: of the file.
        said: whether it is said what the scores mean, so that a column may be a distance.

    Raises:
        ShortlistError: lines of several forms; names the first that does not fit.
    """
    lines = [
        (f"line {number}", line.rstrip("\r"))
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]
    if lines and is_run_line(lines[0][1]):
        return _trec(lines)
    if any("\t" in line for _, line in lines):
        return {None: _scored([(where, line.rsplit("\t", 1)) for where, line in lines], said)}
    _refuse_between(lines, ";", "semicolons")
    rows = [(where, _columns(line)) for where, line in lines]
    if any(_is_scored(row) for row in rows[:2]):
        return {None: _scored(_two_columns(rows), said)}
    _refuse_between(lines, " ", "spaces")
    return {None: [Entry(where, line) for where, line in lines]}


def _refuse_between(lines: Sequence[tuple[str, str]], separator: str, name: str) -> None:
    """Refuse lines that all hold an id and a decimal fraction between another separator."""
    columns = [(where, line.rpartition(separator)) for where, line in lines]
    if len(columns) > 1 and not _is_fraction(columns[0][1][2]):  # a header
        columns = columns[1:]
    if columns and all(before and _is_fraction(last) for _, (before, _, last) in columns):
        raise ShortlistError(
            f"{columns[0][0]}: id and score stand between {name} ({separator!r}); put a tab or a "
            "comma between them (TREC lines and JSON are read too), and write scores with a point"
        )


def _is_fraction(text: str) -> bool:
    """Tell a score such as 0.93 from the number at the end of an id; 0,93 is one as well."""
    number = text.strip().replace(",", ".")
    return "." in number and is_number(number)


def _trec(lines: Sequence[tuple[str, str]]) -> Lists:
    lists: Lists = {}
    for where, line in lines:
        fields = line.split()
        if len(fields) != FIELDS:
            raise ShortlistError(f"{where}: {len(fields)} fields, expected {FIELDS}: {LAYOUT}")
        lists.setdefault(fields[0], []).append(Entry(where, fields[2], (fields[4],)))
    return lists


def _columns(line: str) -> list[str]:
    try:
        return next(csv.reader([line]))
    except csv.Error:
        return [line]


def _is_scored(row: Row) -> bool:
    return len(row[1]) > 1 and is_number(row[1][-1])


def _two_columns(rows: list[Row]) -> list[Row]:
    wide = next((row for row in rows if len(row[1]) > 2), None)
    if wide is not None:
        raise ShortlistError(
            f"{wide[0]} has {len(wide[1])} columns; expected id,score (an id with commas stands "
            "between quotes, or in JSON)"
        )
    return rows


def _scored(rows: list[Row], said: bool) -> list[Entry]:
    """Return the entries of rows with an id and a score, or an id alone; a header is left out."""
    head, rest = rows[0][1], rows[1:]
    if len(head) > 1 and not is_number(head[-1]) and rest and all(map(_is_scored, rest)):
        if "dist" in head[-1].lower() and not said:
            raise ShortlistError(f"the second column is {shown(head[-1])}; {METRIC_HINT}")
        rows = rest
    return [Entry(where, row[0], tuple(row[1:])) for where, row in rows]
