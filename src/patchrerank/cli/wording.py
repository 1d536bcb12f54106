"""Errors in the words of the command line: what Python passes as an argument is an option here."""

from __future__ import annotations

import re

from patchrerank.streams import EXPECTED

OPTIONS = {
    EXPECTED: "the path of a picture",
    "pass scores=None": "leave all scores out",
    "sort=True": "--sort",
    "higher_is_better=True": "--higher-is-better",
    "higher_is_better=False": "--lower-is-better",
    "metric=": "--metric ",
    "n_query_vectors=": "--query-vectors ",
    "normalise=True (--normalise)": "--normalise",
    "normalise=True": "--normalise",
    "missing='drop'": "--missing drop",
    "id_type is": "--id-type is",
    "query_id=": "--query-id ",
}
NAMED = re.compile(rf"(?<![\w.])({'|'.join(map(re.escape, OPTIONS))})")


def as_options(message: str) -> str:
    """Return an error's text with arguments of Python's door as options of the command line."""
    return NAMED.sub(lambda found: OPTIONS[found[0]], message)
