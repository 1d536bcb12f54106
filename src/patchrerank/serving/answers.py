"""Answers in the shapes that clients read, with all that a hit says beside what they look for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from patchrerank.serving.asks import RerankAsk
from patchrerank.types import Hit

USAGE = {"prompt_tokens": 0, "total_tokens": 0}
"""What clients of language models look for; nothing is counted in tokens here."""


def rerank_answer(
    ask: RerankAsk, hits: Sequence[Hit], places: Mapping[Any, Sequence[int]]
) -> dict[str, Any] | list[dict[str, Any]]:
    """Return what a request to rerank is answered with.

    Args:
        ask: what was asked; its shape says how the answer is laid out.
        hits: best first.
        places: where in the documents each id stood.
    """
    results = []
    key, echo = ask.shape.score, ask.echo
    for hit in hits:
        for index in places[hit.id]:
            result = {"index": index, key: hit.score, **hit.__dict__}
            if echo:
                result.update(_echoed(ask.documents[index], bare=ask.shape.results is None))
            results.append(result)
    results = results[: ask.top]
    if ask.shape.results is None:
        return results
    return {
        "id": str(uuid4()),
        "model": ask.model,
        ask.shape.results: results,
        "fallback": is_fallback(hits),
        "usage": USAGE,
        "meta": {"api_version": {"version": "2"}},
    }


def search_answer(hits: Sequence[Hit]) -> dict[str, Any]:
    """Return what a search is answered with."""
    return {"hits": [hit.__dict__ for hit in hits], "fallback": is_fallback(hits)}


def is_fallback(hits: Sequence[Hit]) -> bool:
    """Tell an order that local evidence had no part in, or not all of it that it should have."""
    return any(hit.status == "fallback" for hit in hits)


def _echoed(document: Any, *, bare: bool) -> dict[str, Any]:
    if bare:
        return {"text": document}
    return {"document": document if isinstance(document, Mapping) else {"text": str(document)}}
