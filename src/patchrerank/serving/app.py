"""The application: addresses, and what answers at each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from patchrerank.errors import MissingExtraError, PatchRerankError, ShortlistError
from patchrerank.records import check_within
from patchrerank.serving.answers import batch_answer
from patchrerank.serving.asks import read_batch, read_rerank, read_search
from patchrerank.serving.engine import Engine
from patchrerank.serving.guard import Guard
from patchrerank.serving.json_bodies import written
from patchrerank.serving.openapi import PAGE_HEADERS, openapi, page
from patchrerank.serving.posts import Posted, Posts, refusal
from patchrerank.serving.refusals import RequestError
from patchrerank.serving.service import Service
from patchrerank.serving.settings import ServiceSettings
from patchrerank.serving.thumbnails import Thumbnails, side_of, tag_of
from patchrerank.serving.watching import watching

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

JSON = "application/json"


def make_app(
    engine: Engine,
    settings: ServiceSettings | None = None,
    *,
    routes: Sequence[Any] = (),
    pages: Sequence[Any] = (),
    poll: float = 2.0,
) -> Starlette:
    """Make the service of an engine, as any ASGI server runs it.

    ``app.state.service`` is the :class:`~patchrerank.serving.service.Service` behind it.

    Args:
        engine: what answers.
        settings: its limits; None: the usual.
        routes: further routes of Starlette's.
        pages: the same, such as a page at ``/``; they need no token, so they must hold nothing of
            the gallery.
        poll: seconds between two looks at whether the gallery or recipe changed; 0: never.

    Raises:
        SettingError: ``poll`` is no number of seconds.
        MissingExtraError: Starlette or prometheus_client is not installed.
    """
    try:
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
    except ImportError as error:
        raise MissingExtraError(
            "a service needs starlette: pip install 'patchrerank[serve]'"
        ) from error
    check_within(0, 86_400, poll=poll)
    service = Service(engine, settings or ServiceSettings())
    posts = _posts(service)
    own = _routes(service, posts)
    is_page = _matcher([*own, *routes], pages)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> Any:
        async with watching(service, poll):
            yield
        service.close()

    app = Starlette(
        routes=[*own, *routes, *pages],
        lifespan=lifespan,
        middleware=[
            Middleware(Guard, service=service, pages=is_page),
            Middleware(Posts, posts=posts),
        ],
        exception_handlers=_handlers(service),
    )
    app.state.service = service
    return app


async def rerank(service: Service, body: Mapping[str, Any]) -> str:
    """Answer ``/rerank``."""
    return await service.answer(read_rerank(body, service.settings.max_documents))


async def search(service: Service, body: Mapping[str, Any]) -> str:
    """Answer ``/search``."""
    usual = service.engine.current.usual_candidates
    return await service.answer(read_search(body, service.settings.max_candidates, usual))


async def batch(service: Service, body: Mapping[str, Any]) -> str:
    """Answer ``/batch``."""
    limits, usual = service.settings, service.engine.current.usual_candidates
    asks = read_batch(body, limits.max_documents, limits.max_candidates, usual)
    return batch_answer(await service.answer_all(asks))


def _posts(service: Service) -> Mapping[str, Posted]:
    works = {"/rerank": rerank, "/v1/rerank": rerank, "/v2/rerank": rerank}
    works |= {"/search": search, "/batch": batch}
    return {path: Posted(service, path, work) for path, work in works.items()}


def _routes(service: Service, posts: Mapping[str, Posted]) -> list[Any]:
    from starlette.responses import Response
    from starlette.routing import Route

    thumbnails = Thumbnails(service.engine)

    async def healthz(request: Request) -> Response:
        return _json({"status": "ok"})

    async def readyz(request: Request) -> Response:
        if service.draining:
            return _json({"status": "stopping"}, 503)
        made = service.engine.current.gallery
        return _json({"status": "ready", "images": made.live_count})

    async def metrics(request: Request) -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")

    async def image(request: Request) -> Response:
        asked = request.path_params["id"], side_of(request.query_params.get("size"))
        try:
            made = await asyncio.to_thread(thumbnails.get, *asked)
        except ShortlistError:
            raise RequestError("the gallery has no image of this id", 404) from None
        except PatchRerankError as error:
            raise RequestError(f"its picture cannot be shown: {error}", 404) from error
        headers = {"ETag": tag_of(made), "Cache-Control": "private, max-age=60"}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(made, media_type="image/jpeg", headers=headers)

    async def described(request: Request) -> Response:
        return _json(openapi(service.settings))

    async def docs(request: Request) -> Response:
        return Response(page(service.settings), media_type="text/html", headers=PAGE_HEADERS)

    gets = {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics}
    gets |= {"/images/{id:path}": image, "/openapi.json": described, "/docs": docs}
    return [
        *(Route(path, answer, methods=["POST"]) for path, answer in posts.items()),
        *(Route(path, handler, methods=["GET"]) for path, handler in gets.items()),
    ]


def _handlers(service: Service) -> Mapping[Any, Any]:
    from starlette.exceptions import HTTPException

    async def unknown(request: Request, error: HTTPException) -> Response:
        return _json({"detail": error.detail}, error.status_code, dict(error.headers or {}))

    async def refused(request: Request, error: PatchRerankError) -> Response:
        made = refusal(service, error)
        after = {} if made.retry_after is None else {"Retry-After": str(made.retry_after)}
        return _raw(made.body, made.status, after)

    return {HTTPException: unknown, PatchRerankError: refused}


def _matcher(guarded: Sequence[Any], pages: Sequence[Any]) -> Callable[[str], bool]:
    """Return what tells a page's address from guarded ones, which come first."""
    from starlette.routing import Match

    def within(path: str, known: Sequence[Any]) -> bool:
        scope = {"type": "http", "method": "GET", "path": path, "root_path": ""}
        return any(route.matches(scope)[0] is not Match.NONE for route in known)

    return lambda path: within(path, pages) and not within(path, guarded)


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return _raw(written(value), status, headers)


def _raw(content: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    from starlette.responses import Response

    return Response(content, status, dict(headers or {}), media_type=JSON)
