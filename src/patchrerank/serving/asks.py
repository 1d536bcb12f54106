"""What clients ask for, out of the JSON that Jina, Cohere, vLLM and TEI clients send."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from patchrerank.errors import shown
from patchrerank.rerankers.http_shapes import SHAPES, Shape
from patchrerank.score_reading import Metric
from patchrerank.search_results import Doubles
from patchrerank.serving.ask_keys import check_keys, count_of, one_of, timeout_of, top_of
from patchrerank.serving.ask_parts import (
    SEVERAL,
    Asked,
    parts_of,
    read_document,
    read_numbers,
    read_query,
)
from patchrerank.serving.refusals import RequestError
from patchrerank.serving.sent_pictures import SHORTEST_URI, Sent, is_picture
from patchrerank.types import Missing

MOST_REQUESTS = 256
"""In one batch."""

OF_RERANK = "documents", "texts", "scores"
"""Keys that a search would be answered without, as if they were not there."""


@dataclass(frozen=True)
class RerankAsk:
    """A query and its documents.

    Attributes:
        query: what is looked for.
        ids: of the gallery, as they were sent; None where pictures were.
        pictures: as they were sent, or None.
        documents: as they were sent.
        scores: the first stage's, float64, one a document, or None.
        metric: what the scores are; None: higher is better.
        top: results that are wanted; None: all.
        echo: whether results hold their documents.
        missing: what an id is that the gallery does not hold; None: as the service has it.
        timeout: seconds; None: the service's.
        shape: how the answer is laid out.
        model: the name that was sent, given back.
    """

    query: Asked
    ids: list[Any] | None
    pictures: list[Sent] | None
    documents: list[Any]
    scores: Doubles | None
    metric: Metric | None
    top: int | None
    echo: bool
    missing: Missing | None
    timeout: float | None
    shape: Shape
    model: str


@dataclass(frozen=True)
class SearchAsk:
    """A query to the whole gallery.

    Attributes:
        query: what is looked for.
        candidates: that the first stage gives.
        top: hits that are wanted.
        timeout: seconds; None: the service's.
    """

    query: Asked
    candidates: int
    top: int
    timeout: float | None


def read_rerank(body: Mapping[str, Any], most: int) -> RerankAsk:
    """Read a request to rerank; keys that mean nothing here are passed over.

    Args:
        body: the JSON object.
        most: documents that are taken.

    Raises:
        RequestError: says which key is missing or wrong.
    """
    check_keys(body)
    tei = "texts" in body
    documents = _documents(body, "texts" if tei else "documents", most)
    plain, scores = _told_apart(documents)
    pictures = None
    kinds = {str} if plain is documents else set(map(type, plain))
    if Sent in kinds:
        if len(kinds) > 1:
            raise RequestError("documents are ids of the gallery or pictures, not both at once")
        pictures = plain
    given = body.get("scores")
    return RerankAsk(
        query=read_query(body),
        ids=plain if pictures is None else None,
        pictures=pictures,
        documents=documents,
        scores=scores if given is None else _scores(given, len(documents)),
        metric=one_of(body, "metric", get_args(Metric)),
        top=top_of(body) or None,
        echo=bool(body.get("return_text" if tei else "return_documents")),
        missing=one_of(body, "missing", get_args(Missing)),
        timeout=timeout_of(body),
        shape=SHAPES["tei" if tei else "jina"],
        model=body["model"] if isinstance(body.get("model"), str) else "patchrerank",
    )


def read_search(body: Mapping[str, Any], most: int, usual: int = 100) -> SearchAsk:
    """Read a request to search: ``query``, ``candidates``, ``top_n`` (10), ``timeout_ms``.

    ``top_k`` is another name of ``top_n``, but that 0 is none, and not all.

    Args:
        body: the JSON object.
        most: candidates that are taken.
        usual: candidates where the request does not say.

    Raises:
        RequestError: says which key is missing or wrong.
    """
    check_keys(body)
    if extra := next((key for key in OF_RERANK if body.get(key) is not None), None):
        raise RequestError(f"a search takes no {extra}: it is of the whole gallery; ask /rerank")
    candidates, top = count_of(body, "candidates"), top_of(body)
    if candidates is not None and candidates > most:
        raise RequestError(f"candidates is {candidates}; this service takes at most {most}")
    size = min(usual, most) if candidates is None else candidates
    top = size if body.get("top_n") == 0 else top
    return SearchAsk(read_query(body), size, 10 if top is None else top, timeout_of(body))


def read_batch(
    body: Mapping[str, Any], most: int, candidates: int, usual: int = 100
) -> list[RerankAsk | SearchAsk]:
    """Read several requests, ``{"requests": […]}``; those with documents are reranked.

    Args:
        body: the JSON object.
        most: documents of all together.
        candidates: of each search, at most.
        usual: candidates where a search does not say.

    Raises:
        RequestError: names the request by its number.
    """
    listed = body.get("requests")
    if not isinstance(listed, list) or len(listed) > MOST_REQUESTS:
        raise RequestError(f"requests must be a list of at most {MOST_REQUESTS} requests")
    found: list[RerankAsk | SearchAsk] = []
    for number, item in enumerate(listed):
        try:
            if not isinstance(item, Mapping):
                raise RequestError(f"expected an object, got {shown(item)}")
            rerank = "documents" in item or "texts" in item
            found.append(
                read_rerank(item, most) if rerank else read_search(item, candidates, usual)
            )
        except RequestError as error:
            raise RequestError(f"request {number}: {error}", error.status) from None
    total = sum(len(item.documents) for item in found if isinstance(item, RerankAsk))
    if total > most:
        raise RequestError(f"{total} documents; this service takes at most {most} at once", 413)
    return found


def _documents(body: Mapping[str, Any], key: str, most: int) -> list[Any]:
    documents = body.get(key)
    if isinstance(documents, Mapping) and "content" in documents:
        if len(parts_of(documents)) != 1:
            raise RequestError(SEVERAL)
        documents = [documents]
    if not isinstance(documents, list):
        raise RequestError(f"{key} must be a list of ids of the gallery, or of pictures")
    if len(documents) > most:
        raise RequestError(
            f"{len(documents)} documents; this service takes at most {most} at once", 413
        )
    return documents


def _told_apart(documents: list[Any]) -> tuple[list[Any], Doubles | None]:
    """Return an id or a picture for each document, and the scores that stand beside them."""
    if set(map(type, documents)) <= {str}:
        if max(map(len, documents), default=0) < SHORTEST_URI:
            return documents, None
        if not any(is_picture(item) for item in documents if len(item) >= SHORTEST_URI):
            return documents, None
    plain = [read_document(number, item) for number, item in enumerate(documents)]
    scored = [item["score"] for item in documents if isinstance(item, Mapping) and "score" in item]
    if not scored:
        return plain, None
    if len(scored) < len(documents):
        raise RequestError(f"{len(scored)} of {len(documents)} documents have a score; all or none")
    return plain, _scores(scored, len(documents))


def _scores(values: Any, count: int) -> Doubles:
    found = read_numbers(values, "scores")
    if len(found) != count:
        raise RequestError(f"{count} documents but {len(found)} scores; one a document")
    return found
