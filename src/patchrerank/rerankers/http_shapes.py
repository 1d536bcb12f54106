"""What rerank endpoints are sent, and what they answer, in the shapes that are in use.

Pictures travel as data URIs. Sources: the request and response models of Jina's ``/v1/rerank``,
Cohere's ``/v2/rerank``, vLLM's ``/rerank`` (``entrypoints/pooling/scoring/protocol.py``) and
text-embeddings-inference's ``/rerank`` (``router/src/http/types.rs``), read in 2026.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from PIL import Image

from patchrerank.errors import RerankerError, shown

Asked: TypeAlias = Image.Image | str
"""A query: a picture, or words."""

ShapeName: TypeAlias = Literal["jina", "cohere", "tei", "vllm"]
Scale: TypeAlias = Literal["probability", "logit", "other"]
"""What scores are: in [0, 1]; any number, 0 where yes and no are equally likely; or neither."""

QUALITY = 90
"""Of the JPEG files that pictures are sent as."""


@dataclass(frozen=True)
class Shape:
    """One convention.

    Attributes:
        request: query and documents → the JSON of a request, the model's name aside.
        results: the key of the list of results in the answer; None: the answer is the list.
        score: the key of a result's score.
    """

    request: Callable[[Asked, Sequence[Image.Image]], dict[str, Any]]
    results: str | None
    score: str

    def scores(self, answer: object, count: int) -> list[float]:
        """Return the score of each document, in the documents' order.

        Args:
            answer: the JSON that came back, its results in any order.
            count: of the documents that were sent.

        Raises:
            RerankerError: it is of another shape, a document has none or two, or a score is no
                finite number.
        """
        listed = answer.get(self.results) if isinstance(answer, Mapping) else answer
        if not isinstance(listed, list) or (self.results is None) is isinstance(answer, Mapping):
            where = "a list" if self.results is None else f"{self.results!r}"
            raise RerankerError(f"expected {where} of results, got {shown(answer)}")
        found = [math.nan] * count
        for result in listed:
            index, score = self._result(result)
            if not 0 <= index < count:
                raise RerankerError(f"a result has the index {index}, but {count} were sent")
            if not math.isnan(found[index]):
                raise RerankerError(f"two results have the index {index}")
            found[index] = score
        lacking = sum(map(math.isnan, found))
        if lacking:
            raise RerankerError(f"{lacking} of {count} documents have no result")
        return found

    def _result(self, result: object) -> tuple[int, float]:
        index = result.get("index") if isinstance(result, Mapping) else None
        score = result.get(self.score) if isinstance(result, Mapping) else None
        whole = isinstance(index, int) and not isinstance(index, bool)
        number = isinstance(score, int | float) and not isinstance(score, bool)
        if not whole or not number or not math.isfinite(score or 0.0):
            raise RerankerError(
                f"a result is {shown(result)}, not an index and a finite {self.score!r}"
            )
        return int(index or 0), float(score or 0.0)


def data_uri(picture: Image.Image) -> str:
    """Return a picture as ``data:image/jpeg;base64,…``."""
    file = io.BytesIO()
    picture.convert("RGB").save(file, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _plain(asked: Asked) -> str:
    return asked if isinstance(asked, str) else data_uri(asked)


def _jina(query: Asked, documents: Sequence[Image.Image]) -> dict[str, Any]:
    return {
        "query": query if isinstance(query, str) else {"image": data_uri(query)},
        "documents": [{"image": data_uri(picture)} for picture in documents],
        "return_documents": False,
    }


def _cohere(query: Asked, documents: Sequence[Image.Image]) -> dict[str, Any]:
    return {
        "query": _plain(query),
        "documents": [data_uri(picture) for picture in documents],
        "top_n": len(documents),
    }


def _tei(query: Asked, documents: Sequence[Image.Image]) -> dict[str, Any]:
    return {
        "query": _plain(query),
        "texts": [data_uri(picture) for picture in documents],
        "return_text": False,
        "truncate": False,
    }


def _vllm(query: Asked, documents: Sequence[Image.Image]) -> dict[str, Any]:
    return {
        "query": query if isinstance(query, str) else _content(query),
        "documents": [_content(picture) for picture in documents],  # one each: never one of all
    }


def _content(picture: Image.Image) -> dict[str, Any]:
    return {"content": [{"type": "image_url", "image_url": {"url": data_uri(picture)}}]}


SHAPES: dict[ShapeName, Shape] = {
    "jina": Shape(_jina, "results", "relevance_score"),
    "cohere": Shape(_cohere, "results", "relevance_score"),
    "tei": Shape(_tei, None, "score"),
    "vllm": Shape(_vllm, "results", "relevance_score"),
}
