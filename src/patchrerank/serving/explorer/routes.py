"""The addresses of the page: what it shows, and what it asks."""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from patchrerank.images import read_image
from patchrerank.serving.bodies import read_bytes
from patchrerank.serving.engine import Engine
from patchrerank.serving.explorer.answers import Answers
from patchrerank.serving.explorer.judgements import Judged, write_judgements
from patchrerank.serving.json_bodies import read_body, written
from patchrerank.serving.refusals import RequestError
from patchrerank.serving.settings import ServiceSettings

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

PAGE = Path(__file__).with_name("page")
KINDS = {
    ".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"
}  # fmt: skip
POLICY = (
    "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
CANDIDATES = 1000
LARGE = 1024
"""Longest side of a query picture that is shown, in pixels."""

Handler: TypeAlias = "Callable[[Request], Awaitable[Response]]"


def explorer_pages() -> list[Route]:
    """Return Starlette's routes of the page and its modules, which hold nothing of a gallery."""
    from starlette.routing import Route

    return [
        Route("/" if file.name == "index.html" else f"/explorer/{file.name}", _static(file))
        for file in sorted(PAGE.iterdir())
        if file.suffix in KINDS
    ]


def explorer_routes(
    engine: Engine, settings: ServiceSettings | None = None, *, candidates: int = CANDIDATES
) -> list[Route]:
    """Return Starlette's routes of what the page asks, below ``/explorer/``.

    Args:
        engine: what answers; the service that the routes are added to has its ``/images/``.
        settings: limits of the service; None: the usual.
        candidates: of the first stage, that are scored for a query.
    """
    from starlette.routing import Route

    limits = settings or ServiceSettings()
    answers = Answers(engine, limits, candidates)

    def posted(path: str, work: Callable[[bytes], Response]) -> Route:
        return Route(f"/explorer/{path}", _posted(limits, work), methods=["POST"])

    def asked(path: str, work: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Route:
        return posted(path, lambda body: _json(work(read_body(body))))

    return [
        Route("/explorer/about", _handler(lambda request: _json(answers.about()))),
        Route("/explorer/pictures/{name}", _handler(lambda request: _picture(answers, request))),
        posted("pictures", lambda body: _json(answers.pictures.add(body))),
        posted("dataset", lambda body: _dataset(answers, read_body(body))),
        asked("query", answers.query),
        asked("pair", answers.pair),
    ]


def _static(file: Path) -> Handler:
    from starlette.responses import Response

    content, kind = file.read_bytes(), KINDS[file.suffix]
    kept = "max-age=86400" if file.suffix == ".svg" else "no-cache"
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": kept}

    async def answer(request: Request) -> Response:
        return Response(content, headers=headers, media_type=kind)

    return answer


def _handler(work: Callable[[Request], Response]) -> Handler:
    """Return what answers beside the other requests, on a thread."""

    async def answer(request: Request) -> Response:
        return await asyncio.to_thread(work, request)

    return answer


def _posted(limits: ServiceSettings, work: Callable[[bytes], Response]) -> Handler:
    async def answer(request: Request) -> Response:
        with request.app.state.service.admitted():
            body = await read_bytes(request.scope, request.receive, limits)
            return await asyncio.to_thread(work, bytes(body))

    return answer


def _json(value: Mapping[str, Any]) -> Response:
    from starlette.responses import Response

    return Response(written(value), media_type="application/json")


def _picture(answers: Answers, request: Request) -> Response:
    from starlette.responses import Response

    picture = read_image(answers.pictures[request.path_params["name"]], min_size=(LARGE, LARGE))
    picture.thumbnail((LARGE, LARGE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90)
    return Response(file.getvalue(), media_type="image/jpeg")


def _dataset(answers: Answers, body: Mapping[str, Any]) -> Response:
    from starlette.background import BackgroundTask
    from starlette.responses import FileResponse

    listed = body.get("judgements")
    if not isinstance(listed, list):
        raise RequestError("judgements must be a list")
    judged = [Judged.read(item) for item in listed]
    wrong = body.get("seen_are_wrong") is True
    with tempfile.NamedTemporaryFile(prefix="patchrerank-", suffix=".zip", delete=False) as file:
        path = Path(file.name)
    try:
        write_judgements(path, judged, answers.picture, seen_are_wrong=wrong, args=answers.record)
    except BaseException:
        path.unlink()
        raise
    return FileResponse(path, filename="judgements.zip", background=BackgroundTask(path.unlink))
