"""JSON that anybody may have written: read within bounds, or refused with a sentence.

Numbers are never refused here, so that whoever asks for a key can name it: those beyond every
float become infinite, whole ones of more than a hundred digits floats, NaN stays NaN.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from patchrerank.errors import PatchRerankError, SettingError
from patchrerank.file_bounds import check_memory

DEEPEST = 64
"""Lists and objects within one another; what is read here needs six."""
MOST_DIGITS = 100
LONGEST_KEY = 60
"""Characters of a key that a message shows."""
IN_MEMORY = 4
"""Bytes of Python objects for a byte of text, at least."""
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
ESCAPED = re.compile(rb"\\.", re.DOTALL)
STEPS = np.zeros(256, dtype=np.int8)
STEPS[list(b"[{")] = 1
STEPS[list(b"]}")] = -1
QUOTE = 2
STEPS[ord('"')] = QUOTE


def read_json(path: str | Path, error: type[PatchRerankError] = SettingError) -> Any:
    """Return the content of a JSON file in UTF-8, with or without a byte-order mark.

    Args:
        path: the file.
        error: what is raised.

    Raises:
        error: there is no such file, it holds no JSON, names a key twice, is nested more than
            64 deep, or is too large for the memory; names the file, and the place where it can.
    """
    try:
        check_memory(IN_MEMORY * Path(path).stat().st_size, str(path), error)
        content = Path(path).read_bytes()
    except OSError as reason:
        raise error(f"{path}: cannot be read ({reason.strerror})") from reason
    except ValueError as reason:  # a name with a null character
        raise error(f"{str(path)!r}: cannot be read ({reason})") from reason
    return parse_json(content, str(path), error)


def parse_json(
    content: bytes | str, origin: str, error: type[PatchRerankError] = SettingError
) -> Any:
    """Return what a JSON text holds; see :func:`read_json`.

    Args:
        content: the text.
        origin: where it comes from, for the message.
        error: what is raised.

    Raises:
        error: see :func:`read_json`.
    """
    raw = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    if raw.count(b"{") + raw.count(b"[") > DEEPEST and nested(raw) > DEEPEST:
        raise error(f"{origin}: not valid JSON here: nested too deeply, more than {DEEPEST} levels")
    try:
        value = json.loads(
            raw.decode("utf-8-sig"), object_pairs_hook=_once, parse_int=_whole_number
        )
        if SURROGATE.search(raw):
            json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogateescape")
        return value
    except UnicodeDecodeError as reason:
        raise error(
            f"{origin}: not valid JSON: byte {reason.start} is not UTF-8; save the file as UTF-8"
        ) from reason
    except UnicodeEncodeError as reason:
        raise error(f"{origin}: not valid JSON: half a character ({reason.reason})") from reason
    except json.JSONDecodeError as reason:
        raise error(
            f"{origin}: line {reason.lineno}, column {reason.colno}: not valid JSON ({reason.msg})"
        ) from reason
    except _TwiceError as reason:
        raise error(f"{origin}: the key {str(reason)!r} stands twice in one object") from reason
    except (RecursionError, MemoryError) as reason:
        raise error(f"{origin}: not valid JSON here ({type(reason).__name__})") from reason


def nested(content: bytes) -> int:
    """Return how deeply lists and objects of a JSON text stand within one another."""
    plain = ESCAPED.sub(b"", content) if b"\\" in content else content
    steps = STEPS[np.frombuffer(plain, dtype=np.uint8)]
    steps = steps[steps != 0]
    quotes = steps == QUOTE
    inside = np.logical_xor.accumulate(quotes) if quotes.size else quotes
    return int(np.cumsum(np.where(inside | quotes, 0, steps)).max(initial=0))


class _TwiceError(Exception):
    """A key stands twice in one object; JSON readers differ in which of them counts."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    key = twice_in(pairs)
    if key is not None:
        raise _TwiceError(key[:LONGEST_KEY])
    return dict(pairs)


def twice_in(pairs: Sequence[tuple[str, Any]]) -> str | None:
    """Return a key that stands twice in an object as ``object_pairs_hook`` gets it, if any does."""
    if len(dict(pairs)) == len(pairs):
        return None
    return Counter(key for key, _ in pairs).most_common(1)[0][0]


def _whole_number(digits: str) -> int | float:
    return int(digits) if len(digits) <= MOST_DIGITS else float(digits)
