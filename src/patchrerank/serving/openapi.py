"""What the service says of itself: an OpenAPI document, and a page that shows it."""

from __future__ import annotations

import html
from typing import Any

from patchrerank.serving.ask_keys import TOPS
from patchrerank.serving.settings import ServiceSettings
from patchrerank.version import __version__

PAGE_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}

NUMBERS = {"type": "array", "items": {"type": "number"}}
BOX = {**NUMBERS, "minItems": 4, "maxItems": 4, "description": "x0, y0, x1, y1 in [0, 1]"}
TIMEOUT = {
    "type": "number",
    "description": "milliseconds; when they are over, the first stage's order comes back",
}
QUERY = {
    "description": "words; a picture as data URI or base64; {image}, {id} of the gallery, "
    "{vector}, {text}, or vLLM's {content: [part]}",
    "oneOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {
                "image": {"type": "string"},
                "id": {"type": ["string", "integer"]},
                "vector": NUMBERS,
                "text": {"type": "string"},
                "content": {"type": "array", "maxItems": 1},
                "box": BOX,
            },
        },
    ],
}
DOCUMENTS = {
    "type": "array",
    "description": "ids of the gallery (strings, whole numbers, {id, score}), or pictures (data "
    "URI, base64, {image}, {content: [part]}); not both at once",
    "items": {"type": ["string", "integer", "object"]},
}
COMMON = {"query": QUERY, "box": BOX, "timeout_ms": TIMEOUT}
RERANK = {
    "type": "object",
    "required": ["query"],
    "properties": {
        **COMMON,
        "documents": DOCUMENTS,
        "texts": {**DOCUMENTS, "description": "TEI's name; the answer is then a bare list"},
        "scores": {**NUMBERS, "description": "the first stage's; without them cosines are taken"},
        "metric": {"type": "string", "description": "what the scores are, unless similarities"},
        **{key: {"type": ["integer", "null"], "description": "0 or null: all"} for key in TOPS},
        "return_documents": {"type": "boolean", "default": False},
        "return_text": {"type": "boolean", "default": False},
        "missing": {"enum": ["error", "keep", "drop"]},
        "model": {"type": "string", "description": "given back"},
    },
}
SEARCH = {
    "type": "object",
    "required": ["query"],
    "properties": {
        **COMMON,
        "candidates": {"type": "integer", "description": "of the first stage"},
        **{key: {"type": "integer", "default": 10} for key in TOPS},
    },
}
BATCH = {
    "type": "object",
    "required": ["requests"],
    "properties": {"requests": {"type": "array", "items": {"oneOf": [RERANK, SEARCH]}}},
}
HIT = {
    "type": "object",
    "properties": {
        "id": {"type": ["string", "integer"]},
        "score": {"type": "number", "description": "falls strictly with the rank"},
        "rank": {"type": "integer"},
        "global_score": {"type": "number"},
        "local_score": {"type": ["number", "null"]},
        "box": {**BOX, "type": ["array", "null"]},
        "query_crop": {"enum": ["none", "box"]},
        "probability": {"type": ["number", "null"]},
        "status": {"enum": ["rescored", "behind", "kept", "fallback"]},
        "query_views": {"type": "string"},
    },
}
WHOLE: dict[str, object] = {
    "fallback": {"type": "boolean"},
    "nothing_found": {
        "type": "boolean",
        "description": "whether the list holds, probably, nothing relevant; calibrated services",
    },
}
RESULT = {
    "type": "object",
    "properties": {
        "index": {"type": "integer", "description": "of the document, from 0"},
        "relevance_score": {"type": "number"},
        **HIT["properties"],  # type: ignore[dict-item]
    },
}
RESULTS = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "model": {"type": "string"},
        "results": {"type": "array", "items": RESULT},
        **WHOLE,
    },
}
HITS = {"type": "object", "properties": {"hits": {"type": "array", "items": HIT}, **WHOLE}}
ANSWERS = {"type": "object", "properties": {"answers": {"type": "array"}}}
REFUSALS = {
    "400": "no JSON",
    "401": "no token, or another",
    "408": "the request came too slowly",
    "413": "too long, or too many documents",
    "422": "a request that cannot be answered; detail says why",
    "429": "too many requests at once; Retry-After says when to come again",
    "503": "no answer in time, or the gallery cannot be read",
}
POSTS = {
    "/rerank": ("Rerank documents (Jina, Cohere v2, vLLM, TEI)", RERANK, RESULTS),
    "/v1/rerank": ("The same", RERANK, RESULTS),
    "/v2/rerank": ("The same", RERANK, RESULTS),
    "/search": ("First stage and reranking of the whole gallery", SEARCH, HITS),
    "/batch": ("Several of both", BATCH, ANSWERS),
}
GETS = {
    "/images/{id}": ("A thumbnail of one of the gallery's pictures; ?size=16…1024", "image/jpeg"),
    "/healthz": ("Whether the service lives", "application/json"),
    "/readyz": ("Whether it takes requests", "application/json"),
    "/metrics": ("What it counts, for Prometheus", "text/plain"),
    "/openapi.json": ("This document", "application/json"),
}


def openapi(settings: ServiceSettings) -> dict[str, Any]:
    """Return the OpenAPI document of a service."""
    paths: dict[str, Any] = {
        path: {"post": _post(*what, settings.max_documents)} for path, what in POSTS.items()
    }
    for path, (summary, kind) in GETS.items():
        operation: dict[str, Any] = {"summary": summary, "responses": {"200": _content(kind, {})}}
        if "{id}" in path:
            string = {"schema": {"type": "string"}}
            operation["parameters"] = [{"name": "id", "in": "path", "required": True, **string}]
            operation["responses"]["404"] = {"description": "no such image"}
        paths[path] = {"get": operation}
    schemes = {"bearer": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "patchrerank", "version": __version__},
        "paths": paths,
        "components": {"securitySchemes": schemes} if settings.token else {},
        "security": [{"bearer": []}] if settings.token else [],
    }


def page(settings: ServiceSettings) -> str:
    """Return the document as a page that loads nothing."""
    made = openapi(settings)
    rows = [_row(path, how, what) for path, of in made["paths"].items() for how, what in of.items()]
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>patchrerank</title>"
        "<meta name=viewport content='width=device-width'><style>:root{color-scheme:light dark}"
        "body{font:1rem/1.5 system-ui;max-width:50rem;margin:2rem auto;padding:0 1rem}"
        "dt{font-family:monospace;font-weight:bold;margin-top:1rem}code{white-space:pre-wrap}"
        f"</style><h1>patchrerank {html.escape(__version__)}</h1><p>The whole of it: "
        f"<a href=openapi.json>openapi.json</a><dl>{''.join(rows)}</dl></html>"
    )


def _row(path: str, how: str, what: dict[str, Any]) -> str:
    schema = what.get("requestBody", {}).get("content", {}).get("application/json", {})
    keys = schema.get("schema", {}).get("properties", {})
    notes = "".join(
        f"<br><code>{name}</code> {html.escape(of.get('description', ''))}"
        for name, of in keys.items()
    )
    head = html.escape(f"{how.upper()} {path}")
    return f"<dt>{head}</dt><dd>{html.escape(what['summary'])}{notes}</dd>"


def _post(summary: str, body: Any, answer: Any, most: int) -> dict[str, Any]:
    return {
        "summary": summary,
        "description": f"At most {most} documents.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": _content("application/json", answer),
            **{code: {"description": why} for code, why in REFUSALS.items()},
        },
    }


def _content(kind: str, schema: Any) -> dict[str, Any]:
    return {"description": "the answer", "content": {kind: {"schema": schema}}}
