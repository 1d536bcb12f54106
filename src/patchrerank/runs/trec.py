"""TREC's line of a run: ``query Q0 document rank score tag``, six fields between white space."""

from __future__ import annotations

LAYOUT = "query Q0 document rank score tag"
FIELDS = 6
SECOND = ("Q0", "q0", "0")


def is_run_line(line: str) -> bool:
    """Tell whether a line is one of a TREC run."""
    fields = line.split()
    if len(fields) != FIELDS or fields[1] not in SECOND:
        return False
    return is_number(fields[3]) and is_number(fields[4])


def is_number(text: str) -> bool:
    """Tell whether a text is a number, infinite and NaN among them."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def fits(name: str) -> bool:
    """Tell whether an id can stand in a line: not empty, and without white space."""
    return name.split() == [name]
