"""Queries and documents, one by one, in all the forms that they are sent in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from struct import pack
from typing import Any, Literal, TypeAlias

import numpy as np

from patchrerank.errors import shown
from patchrerank.search_results import Doubles
from patchrerank.serving.json_bodies import read_object
from patchrerank.serving.refusals import RequestError
from patchrerank.serving.sent_pictures import is_picture, sent_picture
from patchrerank.types import Floats

QueryKind: TypeAlias = Literal["words", "picture", "id", "vector"]
SEVERAL = (
    "a content of several parts is not taken: servers have read it as one document, and as many; "
    "send one content for each document, documents: [{content: [part]}, …]"
)


@dataclass(frozen=True)
class Asked:
    """A query.

    Attributes:
        kind: what ``value`` is.
        value: words, a picture as it was sent, an id of the gallery, or float32 ``(d,)``.
        box: where the object is in the picture, in [0, 1], or None.
    """

    kind: QueryKind
    value: Any
    box: Sequence[float] | None = None


def read_query(body: Mapping[str, Any]) -> Asked:
    """Return the query of a request; ``box`` may stand in it or beside it.

    Raises:
        RequestError: there is none, or it is malformed.
    """
    query, box = body.get("query"), body.get("box")
    if isinstance(query, str) and query.startswith("{"):
        query = read_object(query) or query  # for clients that send nothing but text
    if isinstance(query, Mapping):
        box = query.get("box", box)
        found = _asked(query)
    elif isinstance(query, str):
        found = Asked("words", query)
        if is_picture(query):
            found = Asked("picture", sent_picture(query, "the query"))
    else:
        raise RequestError(
            f"query is {shown(query)}; use words, {{'image': …}}, {{'id': …}} or {{'vector': […]}}"
        )
    return found if box is None else Asked(found.kind, found.value, _box(box))


def _asked(query: Mapping[str, Any]) -> Asked:
    if "content" in query:
        query = _only_part(query)
    makers: dict[str, Callable[[Any], Asked]] = {
        "image": lambda value: Asked("picture", sent_picture(value, "the query")),
        "vector": lambda value: Asked("vector", _vector(value)),
        "id": lambda value: Asked("id", value),
        "text": lambda value: Asked("words", value) if isinstance(value, str) else _refuse(value),
    }
    for key, make in makers.items():
        if key in query:
            return make(query[key])
    raise RequestError(f"query is {shown(query)}; one of image, vector, id and text must be in it")


def _only_part(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the one part of vLLM's ``content`` as ``{"image": …}`` or ``{"text": …}``."""
    parts = parts_of(item)
    if len(parts) != 1:
        _refuse(SEVERAL)
    part = parts[0]
    if isinstance(part, Mapping) and isinstance(part.get("image_url"), Mapping):
        return {"image": part["image_url"].get("url")}
    if isinstance(part, Mapping) and isinstance(part.get("text"), str):
        return {"text": part["text"]}
    raise RequestError(f"a part is {shown(part)}; use an image_url or a text")


def parts_of(item: Mapping[str, Any]) -> list[Any]:
    """Return the parts of vLLM's ``content``; none where it is no list."""
    return item["content"] if isinstance(item["content"], list) else []


def read_document(number: int, item: Any) -> Any:
    """Return a document: an id, or a picture as it was sent.

    Raises:
        RequestError: it is neither; says which, by its number.
    """
    name = f"document {number}"
    if isinstance(item, Mapping):
        if "image" in item:
            return sent_picture(item["image"], name)
        if "content" in item:
            return read_document(number, _only_part(item))
        found = next((item[key] for key in ("id", "text") if key in item), None)
        item = item if found is None else found
    if isinstance(item, str):
        return sent_picture(item, name) if is_picture(item) else item
    if isinstance(item, int) and not isinstance(item, bool):
        return item
    raise RequestError(
        f"{name} is {shown(item)}; use an id of the gallery, {{'id': …}}, or {{'image': …}}"
    )


def read_numbers(values: Any, what: str) -> Doubles:
    """Return a list of numbers as float64 ``(n,)``.

    Raises:
        RequestError: it is none.
    """
    if not isinstance(values, list) or not set(map(type, values)) <= {int, float}:
        raise RequestError(f"{what} must be a list of numbers")
    return np.frombuffer(pack(f"{len(values)}d", *values))


def _vector(value: Any) -> Floats:
    with np.errstate(over="ignore"):  # infinite is an error that is told further on
        return read_numbers(value, "the query's vector").astype(np.float32)


def _box(value: Any) -> list[float]:
    box = read_numbers(value, "box")
    if len(box) != 4:
        raise RequestError("box must be four numbers x0, y0, x1, y1 in [0, 1] of the picture")
    found: list[float] = box.tolist()
    return found


def _refuse(why: object) -> Any:
    raise RequestError(why if isinstance(why, str) else f"text is {shown(why)}; use a string")
