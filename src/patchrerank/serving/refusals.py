"""Why a request is not answered, as clients are told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from patchrerank.errors import (
    GalleryError,
    ImageError,
    MissingExtraError,
    PatchRerankError,
    ShortlistError,
)

PATH = re.compile(r"(?<![\w.:/\\-])/(?:[^\s/:;,'\"()]+/)+([^\s/:;,'\"()]*)")
"""An absolute path; what stands behind its last slash is kept."""


class RequestError(PatchRerankError):
    """A request that cannot be answered.

    Attributes:
        status: of the answer.
        retry_after: seconds after which it may be sent again; None: it would fail again.
    """

    def __init__(self, message: str, status: int = 422, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after


def status_of(error: PatchRerankError) -> int:
    """Return the status that says whose fault it is: 4xx the client's, 5xx the service's."""
    if isinstance(error, RequestError):
        return error.status
    return 503 if isinstance(error, GalleryError | MissingExtraError) else 422


@contextmanager
def own_pictures() -> Iterator[None]:
    """Let a picture that cannot be read count as the gallery's, and so the service's, fault.

    Raises:
        GalleryError: one cannot be.
    """
    try:
        yield
    except ImageError as error:
        raise GalleryError(f"a picture of the gallery cannot be read: {error}") from error


def public_words(error: PatchRerankError, places: Iterable[Path]) -> str:
    """Return an error's message without the machine's paths.

    Args:
        error: that is shown.
        places: folders and files that a message may name; they are shown by their last name.
    """
    text = str(error)
    if isinstance(error, ShortlistError):
        text = text.removeprefix("query 0: ")
    for place in sorted({str(each) for each in places}, key=len, reverse=True):
        if "/" in place or "\\" in place:
            text = text.replace(place, Path(place).name)
    return PATH.sub(r"\1", text)
