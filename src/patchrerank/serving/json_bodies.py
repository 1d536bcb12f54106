"""JSON in and out, quickly: NaN is none, and numbers beyond every float are infinite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from patchrerank.errors import MissingExtraError
from patchrerank.serving.refusals import RequestError
from patchrerank.types import Floats

try:
    import orjson
except ImportError as error:
    raise MissingExtraError("a service needs orjson: pip install 'patchrerank[serve]'") from error


def read_body(body: bytes | bytearray) -> Mapping[str, Any]:
    """Return the JSON object that a request holds.

    Raises:
        RequestError: it is no JSON, or no object.
    """
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the body is no JSON: {error}", 400) from None
    if not isinstance(found, dict):
        raise RequestError("the body must be a JSON object", 400)
    return found


def read_object(text: str) -> Mapping[str, Any] | None:
    """Return the object that a text is in JSON, or None."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def text_of(value: Any) -> str:
    """Return data as JSON text."""
    return orjson.dumps(value).decode()


def number_texts(values: Floats) -> list[str]:
    """Return float32 ``(n,)`` as JSON, each the shortest that it is told by; null for NaN."""
    if not len(values):
        return []
    held = np.ascontiguousarray(values, dtype=np.float32)
    return orjson.dumps(held, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].decode().split(",")


def written(value: Any) -> bytes:
    """Return data as JSON; dataclasses, UUIDs and numpy numbers will do."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
