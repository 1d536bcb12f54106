"""Answers in the shapes that clients read, with all that a hit says beside what they look for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any
from uuid import UUID, uuid4

from patchrerank.serving.asks import RerankAsk
from patchrerank.serving.hit_lines import Lines
from patchrerank.serving.json_bodies import text_of
from patchrerank.serving.sent_places import Places

USAGE = {"prompt_tokens": 0, "total_tokens": 0}
"""What clients of language models look for; nothing is counted in tokens here."""

NUMBERS = count(uuid4().int >> 40 << 40)
"""Of answers, each its own; drawn anew, each would cost a call to the system."""


def rerank_answer(ask: RerankAsk, hits: Lines, keys: Sequence[Any]) -> str:
    """Return what a request to rerank is answered with, as JSON.

    Args:
        ask: what was asked; its shape says how the answer is laid out.
        hits: best first.
        keys: ids of the documents, as hits have them.
    """
    key, bare = ask.shape.score, ask.shape.results is None
    results = []
    for indices, score, line in zip(_indices(hits, keys), hits.scores, hits.lines, strict=True):
        told = line if bare else f'"{key}":{score},{line}'
        for index in indices:
            echo = _echoed(ask.documents[index], bare=bare) if ask.echo else ""
            results.append(f'{{"index":{index},{told}{echo}}}')
    listed = ",".join(results[: ask.top])
    if bare:
        return f"[{listed}]"
    about = {
        "id": str(UUID(int=next(NUMBERS))),
        "model": ask.model,
        "fallback": hits.fallback,
        "usage": USAGE,
    }
    about["meta"] = {"api_version": {"version": "2"}}
    about |= _nothing(hits)
    return f'{text_of(about)[:-1]},"{ask.shape.results}":[{listed}]}}'


def _indices(hits: Lines, keys: Sequence[Any]) -> list[Sequence[int]]:
    """Return where in the documents each hit stood."""
    if hits.places is not None:
        return [(place,) for place in hits.places]
    places = Places.of(keys)
    return [places[item] for item in hits.ids]


def search_answer(hits: Lines) -> str:
    """Return what a search is answered with, as JSON."""
    listed = ",".join(f"{{{line}}}" for line in hits.lines)
    about = {"fallback": hits.fallback, **_nothing(hits)}
    return f'{{"hits":[{listed}],{text_of(about)[1:]}'


def _nothing(hits: Lines) -> dict[str, Any]:
    return {} if hits.nothing is None else {"nothing_found": hits.nothing}


def batch_answer(answers: list[str]) -> str:
    """Return several answers as one, as JSON."""
    return f'{{"answers":[{",".join(answers)}]}}'


def _echoed(document: Any, *, bare: bool) -> str:
    if bare:
        return f',"text":{text_of(document)}'
    given = document if isinstance(document, Mapping) else {"text": str(document)}
    return f',"document":{text_of(given)}'
