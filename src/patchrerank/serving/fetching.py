"""Pictures from addresses: only of hosts that were named, and never of private networks."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from patchrerank.errors import MissingExtraError, shown
from patchrerank.serving.refusals import RequestError

PORTS = {"http": 80, "https": 443}
CHUNK = 1 << 16
TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv6 addresses that gateways translate to the IPv4 address in them."""


@dataclass(frozen=True)
class Fetcher:
    """Fetches pictures; no redirect is followed.

    Attributes:
        hosts: ``host`` or ``host:port``, in lower case; others are refused. None: all are.
        most: bytes of one picture.
    """

    hosts: Sequence[str]
    most: int

    def __call__(self, url: str, name: str, until: float) -> bytes:
        """Return what lies at an address.

        Args:
            url: the address.
            name: of the picture, for messages.
            until: when it must be there, as ``time.monotonic()`` counts.

        Raises:
            RequestError: the host was not named, or is one of a private network; there is no
                answer in time, or one that is no picture's file, or too long.
        """
        parts = _parts(url, name)
        self._check_named(parts, name)
        port = parts.port or PORTS[parts.scheme]
        address = public_address(str(parts.hostname), port, name)
        return self._content(parts, address, port, name, until)

    def _check_named(self, parts: SplitResult, name: str) -> None:
        named = parts.netloc.lower()
        if not self.hosts:
            raise RequestError(
                f"{name}: this service fetches nothing; send the picture as data:image/…;base64,…"
            )
        if named not in {host.lower() for host in self.hosts}:
            raise RequestError(f"{name}: pictures of {shown(named)} are not fetched here")

    def _content(
        self, parts: SplitResult, address: str, port: int, name: str, until: float
    ) -> bytes:
        import urllib3

        path = parts.path or "/"
        with _pool(parts, address, port, until) as pool:
            try:
                answer = pool.request(
                    "GET",
                    f"{path}?{parts.query}" if parts.query else path,
                    headers={"Host": parts.netloc, "Accept": "image/*"},
                    redirect=False,
                    retries=False,
                    preload_content=False,
                )
                if answer.status != 200:
                    raise RequestError(f"{name}: its address answers with status {answer.status}")
                return self._read(answer, name, until)
            except urllib3.exceptions.HTTPError as error:
                raise RequestError(f"{name}: cannot be fetched ({type(error).__name__})") from error

    def _read(self, answer: Any, name: str, until: float) -> bytes:
        content = bytearray()
        for chunk in answer.stream(CHUNK, decode_content=False):
            content += chunk
            if len(content) > self.most:
                raise RequestError(f"{name}: has more than {self.most} bytes", 413)
            if time.monotonic() > until:
                raise RequestError(f"{name}: was not there in time")
        return bytes(content)


def public_address(host: str, port: int, name: str) -> str:
    """Return an address of a host, all of whose addresses are public.

    The connection is made to that very address, so that no second answer of a name server counts.

    Raises:
        RequestError: one of them is of a private, local or reserved network, or there is none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise RequestError(f"{name}: there is no host {shown(host)}") from None
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses or not all(map(is_public, addresses)):
        raise RequestError(f"{name}: {shown(host)} is in a private network; it is not fetched")
    return addresses[0]


def is_public(address: str) -> bool:
    """Tell an address of the internet from private, local, reserved and mapped ones."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        within = found.ipv4_mapped or found.sixtofour or (found.teredo or (None,))[-1]
        if found in TRANSLATED:
            within = ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF)
        if within is not None:
            return is_public(str(within))
    return found.is_global and not found.is_multicast


def _parts(url: str, name: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = SplitResult("", "", "", "", "")
    if parts.scheme not in PORTS or not parts.hostname or "@" in parts.netloc:
        raise RequestError(f"{name}: {shown(url)} is no address of a picture")
    return parts


def _pool(parts: SplitResult, address: str, port: int, until: float) -> Any:
    try:
        import urllib3
    except ImportError as error:
        raise MissingExtraError("it needs urllib3: pip install 'patchrerank[serve]'") from error
    timeout = urllib3.Timeout(total=max(until - time.monotonic(), 0.001))
    if parts.scheme == "http":
        return urllib3.HTTPConnectionPool(address, port, timeout=timeout)
    return urllib3.HTTPSConnectionPool(
        address,
        port,
        timeout=timeout,
        server_hostname=parts.hostname,
        assert_hostname=parts.hostname,
    )
