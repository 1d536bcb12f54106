"""What a command asks with: a picture, a ready vector, or words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from patchrerank.errors import QueryError, SettingError

QueryFile = Annotated[
    Path | None,
    typer.Argument(help="Query picture, or its vector as .npy (d,). Left out beside --text."),
]
Words = Annotated[
    str | None,
    typer.Option("--text", help="Ask in words (needs an encoder with a text tower: open_clip)."),
]
Templates = Annotated[
    list[str] | None,
    typer.Option(
        "--template",
        help="Sentence that the words are put into, such as 'a photo of {}'; of several the "
        "vectors are averaged. May be repeated.",
    ),
]


@dataclass(frozen=True)
class Asked:
    """A query, what it is called in a run, and how it is recorded beside hits."""

    query: Any
    name: str
    record: dict[str, Any]


def asked(query: Path | None, words: str | None, templates: list[str] | None) -> Asked:
    """Return the query that a command's options name.

    Raises:
        SettingError: no query, two of them, or templates without words.
        QueryError: a vector's file cannot be read, or holds no vector; no words.
    """
    from patchrerank.types import Text

    if words is None:
        if query is None:
            raise SettingError("there is no query; name a picture, a .npy vector, or --text WORDS")
        if templates:
            raise SettingError("--template is for words; ask with --text, or leave it out")
        return Asked(_picture_or_vector(query), query.name, {"query": str(query)})
    if query is not None:
        raise SettingError(f"{query} and --text are two queries; leave one out")
    text = Text(words, templates or ("{}",))
    return Asked(text, words, {"text": words, "templates": list(text.templates)})


def run_query(run: Path | None, query_id: str | None, name: str) -> str:
    """Return the query's id in a run, after checking, before any work, that it can be written.

    Raises:
        SettingError: no run can be written there.
        ShortlistError: the id does not fit into a TREC line.
    """
    from patchrerank.runs.writing import check_ids, check_run_path

    chosen = name if query_id is None else query_id
    if run is not None:
        check_run_path(run)
        if run.suffix != ".json":
            check_ids([chosen], "query")
    return chosen


def _picture_or_vector(path: Path) -> Any:
    if path.suffix.lower() != ".npy":
        return path
    from patchrerank.numpy_files import read_npy

    vector = read_npy(path, QueryError)
    if vector.ndim != 1 or vector.dtype.kind != "f":
        raise QueryError(f"{path}: holds {vector.dtype} {vector.shape}; a query is floats (d,)")
    return vector
