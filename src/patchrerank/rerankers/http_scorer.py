"""A rerank endpoint that scores pairs of pictures over HTTP."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from PIL import Image

from patchrerank.errors import MissingExtraError, RerankerError, SettingError, shown
from patchrerank.json_files import parse_json, read_json
from patchrerank.records import check_within, from_json
from patchrerank.rerankers.http_shapes import SHAPES, Asked, Scale, ShapeName

AGAIN = (408, 425, 429, 500, 502, 503, 504)
"""Answers after which the same request may succeed."""

MOST_BYTES = 1 << 24
"""Of an answer."""

PAUSE = 0.1
"""Seconds before the first repetition; each further one takes twice as long."""


@dataclass(frozen=True)
class HttpScorer:
    """Scores of a query and candidates from an endpoint; nothing else is ever fetched.

    Redirects are not followed. A request that fails in a way that may pass (no connection, 408,
    425, 429, 500, 502, 503, 504) is sent again while there is time; ``Retry-After`` is honoured.

    Attributes:
        url: of the endpoint, ``http://`` or ``https://``.
        shape: whose convention it follows: ``jina``, ``cohere`` (v2), ``tei`` or ``vllm``.
        model: the name that is sent along; empty: none.
        token_variable: the environment variable that holds a bearer token; empty: none is sent.
        scale: what scores are: a ``probability`` in [0, 1], a ``logit`` (any real number that is
            0 where yes and no are equally likely), or ``other``.
        retries: how often a request is sent again.
        batch: documents in one request, at most.
        max_side: longest side of the pictures that are sent, in pixels.
        timeout: seconds for one query, all its requests and repetitions together.

    Raises:
        SettingError: a setting that cannot be.
    """

    url: str
    shape: ShapeName = "jina"
    model: str = ""
    token_variable: str = ""
    scale: Scale = "probability"
    retries: int = 2
    batch: int = 32
    max_side: int = 448
    timeout: float = 10.0

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise SettingError(f"the endpoint {shown(self.url)} is no http:// or https:// address")
        if self.shape not in get_args(ShapeName):
            raise SettingError(f"shape is {shown(self.shape)}; use {', '.join(SHAPES)}")
        if self.scale not in get_args(Scale):
            raise SettingError(f"scale is {shown(self.scale)}; use {', '.join(get_args(Scale))}")
        check_within(0, 10, retries=self.retries)
        check_within(0.001, 86_400, timeout=self.timeout)
        check_within(1, 10_000, batch=self.batch)
        check_within(16, 8192, max_side=self.max_side)

    @classmethod
    def load(cls, path: str | Path) -> HttpScorer:
        """Read one from a JSON file with its attributes as keys.

        Raises:
            SettingError: it cannot be read, or a key or value cannot be.
        """
        found: HttpScorer = from_json(cls, read_json(path), str(path), complete=False)
        return found

    def __call__(
        self, query: Asked, candidates: Sequence[Image.Image], deadline: float
    ) -> list[float]:
        """Return the score of each candidate, higher is better.

        Args:
            query: a picture, or words.
            candidates: n pictures.
            deadline: until when, as ``time.monotonic()`` counts.

        Raises:
            RerankerError: no answer in time, or one that makes no sense.
            SettingError: the token's variable is not set.
            MissingExtraError: urllib3 is not installed.
        """
        found: list[float] = []
        for start in range(0, len(candidates), self.batch):
            part = candidates[start : start + self.batch]
            shape = SHAPES[self.shape]
            body = shape.request(query, part)
            if self.model:
                body["model"] = self.model
            try:
                answer = parse_json(self._answer(body, deadline), "its answer", RerankerError)
                found += shape.scores(answer, len(part))
            except RerankerError as error:
                raise RerankerError(f"{self.url}: {error}") from error
        return found

    def _answer(self, body: Mapping[str, Any], deadline: float) -> bytes:
        headers, pause, reason = self._headers(), PAUSE, "there was no time left to ask it"
        for more in reversed(range(1 + self.retries)):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            status, content, wait = _post(self.url, body, headers, left)
            if status == 200:
                return content
            reason = content.decode("utf-8", "replace")[:200].strip() or f"status {status}"
            reason = reason if status == 0 else f"status {status}: {reason}"
            if not more or (status and status not in AGAIN):
                break
            time.sleep(max(0.0, min(max(pause, wait), deadline - time.monotonic())))
            pause *= 2
        raise RerankerError(reason)

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json"}
        if not self.token_variable:
            return headers
        token = os.environ.get(self.token_variable)
        if not token:
            raise SettingError(
                f"{self.url}: the environment variable {self.token_variable}, which holds its "
                "token, is not set"
            )
        return {**headers, "Authorization": f"Bearer {token}"}


def _post(
    url: str, body: Mapping[str, Any], headers: Mapping[str, str], seconds: float
) -> tuple[int, bytes, float]:
    """Return status, content and for how long to wait; of no answer 0, the reason and 0."""
    try:
        import urllib3
    except ImportError as error:
        raise MissingExtraError("it needs urllib3: pip install 'patchrerank[http]'") from error
    try:
        with urllib3.PoolManager(retries=False) as pool:
            found = pool.request(
                "POST",
                url,
                json=body,
                headers=headers,
                timeout=urllib3.Timeout(total=seconds),
                redirect=False,
                preload_content=False,
            )
            content = found.read(MOST_BYTES + 1)
            if len(content) > MOST_BYTES:
                return 413, b"an answer of more than 16 MB", 0.0
            return found.status, content, _seconds(found.headers.get("Retry-After"))
    except urllib3.exceptions.HTTPError as error:
        return 0, f"{type(error).__name__}: {error}".encode(), 0.0


def _seconds(text: str | None) -> float:
    """Return ``Retry-After`` where it is a number of seconds, else 0."""
    return float(text) if text is not None and text.isascii() and text.isdigit() else 0.0
