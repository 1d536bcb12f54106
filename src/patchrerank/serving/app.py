"""The application: addresses, and what answers at each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from patchrerank.errors import PatchRerankError, ShortlistError
from patchrerank.rerankers.hits import hits_of
from patchrerank.serving.engine import Engine
from patchrerank.serving.settings import ServiceSettings
from patchrerank.serving.thumbnails import Thumbnails

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response


def make_app(
    engine: Engine,
    settings: ServiceSettings | None = None,
    *,
    routes: Sequence[Any] = (),
) -> Starlette:
    """Make the service of an engine, as any ASGI server runs it.

    Args:
        engine: what answers.
        settings: its limits; None: the usual.
        routes: further routes of Starlette's, such as a page at ``/``.
    """
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    thumbnails = Thumbnails(engine)

    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def search(request: Request) -> Response:
        asked = json.loads(await request.body())
        now = engine.current

        def work() -> list[dict[str, Any]]:
            query = asked["query"]
            row = now.row_of(query["id"]) if "id" in query else None
            vector = now.gallery.global_vectors[row] if row is not None else query["vector"]
            queries = now.reranker.encode([vector])
            found = now.search(queries, int(asked.get("candidates", 100)))
            hits = hits_of(now.reranker.rerank(queries, found), now.gallery, asked.get("top_k", 10))
            return [asdict(hit) for hit in hits[0]]

        return JSONResponse({"hits": await asyncio.to_thread(work)})

    async def image(request: Request) -> Response:
        size = int(request.query_params.get("size", 256))
        try:
            made = await asyncio.to_thread(thumbnails.get, request.path_params["id"], size)
        except ShortlistError:
            return JSONResponse({"detail": "no such image"}, 404)
        return Response(made, media_type="image/jpeg")

    async def refused(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(error)}, 422)

    own = [
        Route("/healthz", healthz),
        Route("/search", search, methods=["POST"]),
        Route("/images/{id:path}", image),
    ]
    return Starlette(routes=[*own, *routes], exception_handlers={PatchRerankError: refused})
