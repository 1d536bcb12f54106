"""Reading a shortlist in whatever form a search wrote it down."""

from __future__ import annotations

import codecs
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchrerank.errors import ShortlistError, near_matches, short_reason, shown
from patchrerank.json_files import twice_in
from patchrerank.runs.entries import Lists, entries_of, id_of, is_entry, scores_of
from patchrerank.runs.text_lines import lists_of_lines

QUERIES_SHOWN = 3


@dataclass(frozen=True)
class ShortlistFile:
    """One query's candidates, as a file holds them.

    Attributes:
        ids: best first.
        scores: one an id, in the file's own metric; None where it has none.
        query_id: whose they are, where the file says it or the caller did.
    """

    ids: list[str]
    scores: list[float] | None
    query_id: str | None


def read_shortlist(
    path: str | os.PathLike[str], *, query_id: str | None = None, said: bool = False
) -> ShortlistFile:
    """Read a shortlist from a file; see :func:`parse_shortlist`.

    Raises:
        ShortlistError: the file cannot be read, or :func:`parse_shortlist` refuses it.
    """
    where = Path(path)
    try:
        content = where.read_bytes()
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16" if wide else "utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ShortlistError(f"{where}: cannot be read ({short_reason(error)})") from error
    return parse_shortlist(text, str(where), query_id=query_id, said=said)


def parse_shortlist(
    text: str, name: str, *, query_id: str | None = None, said: bool = False
) -> ShortlistFile:
    """Read a shortlist from text; a byte-order mark is passed over.

    JSON: ``[[id, score], …]``, ``[{"id": …, "score": …}, …]``, ``[id, …]``, ``{id: score}``, or
    ``{query: {id: score}}`` as ranx writes it; JSON lines, one of these entries a line. Text:
    TREC lines ``query Q0 id rank score tag``; ``id<TAB>score`` or ``id,score`` with or without a
    header; one id a line. The order is the file's; scores are not sorted here.

    Args:
        text: what the file holds.
        name: of the file, for messages.
        query_id: which query's list to take from a file with several; of a list without a
            query, whose it is.
        said: whether the caller says what the scores mean (a metric, or which way is better), so
            that they may stand under ``distance`` or ``_distance``.

    Raises:
        ShortlistError: nothing in it, entries of several or unknown forms, some without scores,
            keys that name no score, or several queries and no ``query_id``; names file and entry.
    """
    text = text.removeprefix("\ufeff")
    if not text.strip():
        raise ShortlistError(
            f"{name}: is empty; a search that found nothing is said with an empty JSON list, []"
        )
    try:
        read = _json_lists if _is_json(text) else lists_of_lines
        query, entries = _chosen(read(text, said=said), query_id)
        return ShortlistFile([id_of(entry) for entry in entries], scores_of(entries), query)
    except ShortlistError as error:
        raise ShortlistError(f"{name}: {error}") from error


def _is_json(text: str) -> bool:
    """Tell JSON from lines whose first id begins like it, such as ``[2020] trip.jpg``."""
    begins = text.lstrip()[:1] in ("[", "{")
    lines = "\n" in text.strip() or "\t" in text
    return begins and ('"' in text or not lines or text.rstrip()[-1:] in ("]", "}"))


def _json_lists(text: str, *, said: bool) -> Lists:
    try:
        content = json.loads(text, object_pairs_hook=_once)
    except ShortlistError:
        raise
    except (ValueError, RecursionError) as error:
        if "\n" not in text.strip() or isinstance(error, RecursionError):
            raise ShortlistError(f"not valid JSON ({short_reason(error)})") from error
        lines = [line for line in text.split("\n") if line.strip()]
        items = map(_json_line, range(1, len(lines) + 1), lines)
        return {None: entries_of(items, "line", first=1, said=said)}
    if isinstance(content, list):
        return {None: entries_of(content, "entry", said=said)}
    if is_entry(content):
        return {None: entries_of([content], "entry", said=said)}
    return _from_object(content)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    key = twice_in(pairs)
    if key is not None:
        raise ShortlistError(f"the key {shown(key)} stands twice in one object; keep one")
    return dict(pairs)


def _json_line(number: int, line: str) -> Any:
    try:
        return json.loads(line, object_pairs_hook=_once)
    except ShortlistError as error:
        raise ShortlistError(f"line {number}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ShortlistError(
            f"neither valid JSON nor JSON lines: line {number} ({short_reason(error)})"
        ) from error


def _from_object(content: dict[str, Any]) -> Lists:
    rows = [isinstance(value, dict) for value in content.values()]
    if rows and all(rows):
        return {
            query: entries_of(_pairs(row), "entry", said=True) for query, row in content.items()
        }
    if any(isinstance(value, dict | list) for value in content.values()):
        keys = ", ".join(map(shown, list(content)[:10]))
        raise ShortlistError(
            f"holds an object with the keys {keys}; expected {{id: score}}, or a list of candidates"
        )
    return {None: entries_of(_pairs(content), "entry", said=True)}


def _pairs(row: dict[str, Any]) -> list[list[Any]]:
    return [[name, score] for name, score in row.items()]


def _chosen(lists: Lists, query_id: str | None) -> tuple[str | None, list[Any]]:
    """Return the query that was asked for, or the only one, and its entries."""
    if None in lists:
        return query_id, lists[None]
    known = [query for query in lists if query is not None]
    if query_id in lists:
        return query_id, lists[query_id]
    if query_id is not None:
        raise ShortlistError(
            f"holds no list of query {shown(query_id)}{near_matches(query_id, known)}"
        )
    if len(known) != 1:
        some = ", ".join(map(shown, known[:QUERIES_SHOWN]))
        raise ShortlistError(
            f"holds the lists of {len(known)} queries ({some}, …); say which with "
            f"query_id={shown(known[0])}"
        )
    return known[0], lists[known[0]]
