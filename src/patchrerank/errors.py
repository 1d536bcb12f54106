"""One exception family: everything a user can cause is a ``PatchRerankError``.

A message says what was wrong, where (file, row, key), and what to do about it.
"""

from __future__ import annotations

import difflib
import errno
import os
import reprlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

LONGEST_MESSAGE = 2000
LONGEST_SHOWN = 100
MAX_LENGTH_DIFFERENCE = 8
MAX_COMPARED = 2000
"""Names compared for a suggestion at most: comparing 100,000 would take seconds."""


class PatchRerankError(Exception):
    """Root of all errors that a caller can cause and mend; no message is longer than a screen."""

    def __str__(self) -> str:
        return shortened(super().__str__(), LONGEST_MESSAGE)


class ImageError(PatchRerankError):
    """An image cannot be read; the message names the file and the reason."""


class RegionError(PatchRerankError, ValueError):
    """A region strategy has impossible settings, or no boxes for an image."""


class EncoderError(PatchRerankError):
    """An encoder is unknown, cannot be loaded, or returned something unusable."""


class VectorError(EncoderError):
    """Vectors have no direction: all zeros, NaN or infinite. Made by ``check_directions``.

    Attributes:
        rows: their numbers, at least one.
    """

    def __init__(self, what: str, whose: str, reason: str, rows: Sequence[int]) -> None:
        super().__init__(what, whose, reason, rows)
        self.rows = tuple(rows)
        self._what, self._reason = what, reason

    def __str__(self) -> str:
        what, whose, reason, _ = self.args
        return shortened(f"{what} {whose}{reason}", LONGEST_MESSAGE)

    def of(
        self, whose: Callable[[int], str], remedy: str = "", rows: Sequence[int] | None = None
    ) -> VectorError:
        """Return the error in the caller's words.

        Args:
            whose: says of a row whose vector it is.
            remedy: what can be done there.
            rows: those that the caller speaks of; None: all.
        """
        kept = self.rows if rows is None else rows
        more = f" and {len(kept) - 1} more" if len(kept) > 1 else ""
        return VectorError(self._what, f"{whose(kept[0])}{more}", f"{self._reason}{remedy}", kept)


class MissingExtraError(PatchRerankError, ImportError):
    """An optional dependency is absent; the message says which extra brings it."""


class GalleryError(PatchRerankError):
    """A gallery is missing, half-written, damaged, or does not fit what was asked of it."""


class ShortlistError(PatchRerankError, ValueError):
    """A shortlist has unknown or duplicate ids, bad scores, or the wrong shape."""


class QueryError(PatchRerankError, ValueError):
    """A query has the wrong dimension or was encoded differently from the gallery."""


class RerankerError(PatchRerankError):
    """Somebody else's reranker did not answer in time, or not sensibly."""


class SettingError(PatchRerankError, ValueError):
    """A parameter (λ, γ, a cut-off, a metric name) is outside its range."""


class DatasetError(PatchRerankError):
    """A data set folder is damaged; the message names the file and the entry."""


class TableError(PatchRerankError):
    """A score table is damaged, does not fit together, or lacks scores that were asked for."""


@contextmanager
def whose_vectors(
    whose: Callable[[int], str], remedy: str = "", *, first: int = 0
) -> Iterator[None]:
    """Let a :class:`VectorError` say whose vectors are meant.

    Args:
        whose: says it of a row, counted from ``first``.
        remedy: what can be done, behind the reason.
        first: the caller's number of the first row.
    """
    try:
        yield
    except VectorError as error:
        rows = [first + row for row in error.rows]
        raise error.of(whose, remedy, rows) from error


def near_matches(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean …?"`` for the closest of the known names, or an empty string."""
    if len(name) > LONGEST_SHOWN:
        return ""
    similar = (item for item in known if abs(len(item) - len(name)) <= MAX_LENGTH_DIFFERENCE)
    candidates = list(islice(similar, MAX_COMPARED))
    close = difflib.get_close_matches(name, candidates, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def described(value: object) -> str:
    """Return what something of the wrong type is, as in ``text ('abc')`` or ``a Fusion (…)``."""
    if value is None:
        return "None"
    kind = "text" if isinstance(value, str) else f"a {type(value).__name__}"
    return f"{kind} ({shown(value)})"


def check_kind(what: str, value: object, kind: type | tuple[type, ...], use: str) -> None:
    """Refuse something of the wrong type; None is nothing.

    Raises:
        SettingError: names the argument, what was given, and what belongs there.
    """
    if value is not None and not isinstance(value, kind):
        raise SettingError(f"{what} is {described(value)}; use {use}")


def shown(value: object) -> str:
    """Return what a caller passed as errors show it: its ``repr``, cut in the middle if long."""
    return shortened(_BRIEFLY.repr(value), LONGEST_SHOWN + 20)


def shortened(text: str, longest: int = LONGEST_SHOWN) -> str:
    """Return a text, or its beginning and its end if it is longer than ``longest`` characters."""
    if len(text) <= longest:
        return text
    tail = longest // 4
    return f"{text[: longest - tail]} … ({len(text)} characters) … {text[-tail:]}"


_BRIEFLY = reprlib.Repr()
_BRIEFLY.maxstring = _BRIEFLY.maxother = _BRIEFLY.maxlong = LONGEST_SHOWN
_BRIEFLY.maxlist = _BRIEFLY.maxtuple = _BRIEFLY.maxset = _BRIEFLY.maxdict = 4
_BRIEFLY.maxlevel = 2


def short_reason(error: Exception) -> str:
    """Return another library's error as one line of at most 300 characters, with its kind."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"


def cannot_write(
    path: str | os.PathLike[str], error: OSError, what: str = "cannot be written"
) -> SettingError:
    """Return the operating system's refusal to write as an error that says what to do."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    shut = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
    reason = error.strerror or short_reason(error)
    if full:
        remedy = "; make room, and run it again"
    elif shut:
        remedy = "; choose a folder that you may write to"
    else:
        remedy = "; is there such a folder?" if missing else ""
    return SettingError(f"{os.fspath(path)}: {what} ({reason}){remedy}")
