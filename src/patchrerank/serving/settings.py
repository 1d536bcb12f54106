"""What a service allows, and how long it waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from patchrerank.errors import SettingError, shown
from patchrerank.records import check_within
from patchrerank.types import Missing

MEGABYTE = 1 << 20


@dataclass(frozen=True)
class ServiceSettings:
    """The limits of one service.

    Attributes:
        token: what clients must send as ``Authorization: Bearer …``; empty: nothing.
        max_body: bytes of a request.
        max_documents: of one request.
        max_pixels: of a picture that is sent, as its header declares them.
        max_queue: requests that are read, waited for or scored at once; the next gets a 429.
        max_candidates: that ``/search`` takes from the first stage.
        cache: bytes of vectors of sent pictures that are kept for the next request.
        collect: seconds for which a request waits for others, to be scored with them.
        most_together: requests that are scored together.
        timeout: seconds for a request that names no ``timeout_ms``; a longer one is cut to it.
        read_timeout: seconds for the bytes of a request to arrive.
        missing: what a document is that the gallery does not hold: an ``error``; ``keep``: it
            keeps its place; or ``drop``: it has no result.
        allowed_hosts: from which pictures may be fetched, ``host`` or ``host:port``; none: no
            address is ever fetched.
        local_names_only: answer only where the ``Host`` header is a name of this machine, so that
            no web page can reach a service on it by a name of its own.

    Raises:
        SettingError: a setting that cannot be.
    """

    token: str = ""
    max_body: int = 32 * MEGABYTE
    max_documents: int = 2000
    max_pixels: int = 50_000_000
    max_queue: int = 64
    max_candidates: int = 10_000
    cache: int = 256 * MEGABYTE
    collect: float = 0.002
    most_together: int = 32
    timeout: float = 10.0
    read_timeout: float = 30.0
    missing: Missing = "error"
    allowed_hosts: tuple[str, ...] = ()
    local_names_only: bool = False

    def __post_init__(self) -> None:
        check_within(1, 1 << 40, max_body=self.max_body, cache=self.cache)
        check_within(1, 1 << 31, max_pixels=self.max_pixels)
        check_within(1, 1_000_000, max_documents=self.max_documents, max_queue=self.max_queue)
        check_within(1, 1_000_000, max_candidates=self.max_candidates)
        check_within(1, 4096, most_together=self.most_together)
        check_within(0, 10, collect=self.collect)
        check_within(0.001, 86_400, timeout=self.timeout, read_timeout=self.read_timeout)
        if self.missing not in get_args(Missing):
            raise SettingError(f"missing is {shown(self.missing)}; use error, keep or drop")
        if self.token and not (self.token.isascii() and self.token.isprintable()):
            raise SettingError("the token may only hold printable characters of ASCII")
        if self.token != self.token.strip():
            raise SettingError("the token has blanks around it, which no client can send")
