"""What happens between a request and its answer: pictures, networks, turns, deadlines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

from patchrerank.errors import GalleryError, PatchRerankError
from patchrerank.images import PictureBytes
from patchrerank.pipeline import Cascade
from patchrerank.rerankers.given_queries import ready_queries
from patchrerank.serving.answers import rerank_answer, search_answer
from patchrerank.serving.ask_parts import Asked
from patchrerank.serving.asks import RerankAsk, SearchAsk
from patchrerank.serving.batching import Batcher
from patchrerank.serving.documents import PictureVectors, SentGallery
from patchrerank.serving.engine import Engine
from patchrerank.serving.fetching import Fetcher
from patchrerank.serving.hit_lines import Lines
from patchrerank.serving.json_bodies import text_of
from patchrerank.serving.loaded import Loaded
from patchrerank.serving.metrics import Metrics
from patchrerank.serving.refusals import RequestError, own_pictures, public_words, status_of
from patchrerank.serving.scoring import (
    Documents,
    Encoding,
    Rescoring,
    encode_all,
    rescore_all,
    unscored,
)
from patchrerank.serving.sent_ids import as_sent, listed
from patchrerank.serving.sent_pictures import Sent, checked, decoded, digest_of
from patchrerank.serving.settings import ServiceSettings
from patchrerank.types import Queries, Shortlist, Text

SPARE = 0.1, 0.05
"""Of a deadline, what is kept for the answer itself: this share, and at most so many seconds."""

AGAIN = 1
"""Seconds after which a request that was refused for lack of room may come again."""


class Service:
    """Answers requests, many at a time; belongs to one event loop.

    Attributes:
        engine: what it answers with.
        settings: its limits.
        metrics: what it counts.
        inside: requests that are being answered.
        draining: whether it is about to stop: connections are closed behind their answers.
    """

    def __init__(self, engine: Engine, settings: ServiceSettings) -> None:
        self.engine, self.settings = engine, settings
        self.inside, self.draining = 0, False
        self.metrics = Metrics(lambda: self.inside)
        self._vectors = PictureVectors(settings.cache, settings.max_pixels)
        self._fetch = Fetcher(settings.allowed_hosts, settings.max_body)
        shared = (settings.collect, settings.most_together, lambda: self.inside, self.metrics.spent)
        self._encoding: Batcher[Encoding | Documents, Queries | Cascade] = Batcher(
            partial(encode_all, vectors=self._vectors), "encode", *shared
        )
        self._rescoring: Batcher[Rescoring, Lines] = Batcher(self._rescored, "score", *shared)

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Count a request in, and out again.

        Raises:
            RequestError: there is no room.
        """
        if self.inside >= self.settings.max_queue:
            raise RequestError("too many requests at once; try again", 429, AGAIN)
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    def close(self) -> None:
        """Let the threads end."""
        self._encoding.close()
        self._rescoring.close()

    async def answer(self, ask: RerankAsk | SearchAsk) -> str:
        """Return the JSON that answers one request, in its time.

        If the gallery changed on the way so that the old one cannot be read, with the new one.

        Raises:
            PatchRerankError: it cannot be answered.
        """
        timeout = min(ask.timeout or self.settings.timeout, self.settings.timeout)
        share, most = SPARE
        until = time.monotonic() + timeout - min(share * timeout, most)
        try:
            return await self._answered(ask, until)
        except GalleryError:
            if not self.engine.changed:
                raise
            await asyncio.to_thread(self.engine.reload)
            return await self._answered(ask, until)

    async def answer_all(self, asks: Sequence[RerankAsk | SearchAsk]) -> list[str]:
        """Answer several requests together; one that fails has its ``detail`` in its place."""

        async def one(ask: RerankAsk | SearchAsk) -> str:
            try:
                return await self.answer(ask)
            except PatchRerankError as error:
                words = public_words(error, self.engine.files)
                return text_of({"detail": words, "status": status_of(error)})

        return await asyncio.gather(*map(one, asks))

    async def _answered(self, ask: RerankAsk | SearchAsk, until: float) -> str:
        loaded = self.engine.current
        if isinstance(ask, SearchAsk):
            hits = await self._searched(ask, loaded, until)
            begun, answer = time.perf_counter(), search_answer(hits)
        else:
            hits, keys = await self._reranked(ask, loaded, until)
            begun, answer = time.perf_counter(), rerank_answer(ask, hits, keys)
        self.metrics.spent("answer", time.perf_counter() - begun)
        if hits.fallback:
            self.metrics.fell_back("deadline" if time.monotonic() >= until else "reranker")
        return answer

    async def _searched(self, ask: SearchAsk, loaded: Loaded, until: float) -> Lines:
        job: Rescoring | None = None
        try:
            async with asyncio.timeout_at(_loop_time(until)):
                queries = await self._queries(ask.query, loaded, until)
                first = partial(_found, loaded, queries, ask.candidates)
                found = Rescoring(loaded.reranker, queries, first, ask.top)
                await asyncio.to_thread(found.first_stage)
                job = found
                return await self._rescoring.ask(job, until)
        except TimeoutError:
            if job is None:
                raise RequestError("there was no time for the first stage", 503, AGAIN) from None
            return job.in_order()

    async def _reranked(
        self, ask: RerankAsk, loaded: Loaded, until: float
    ) -> tuple[Lines, list[Any]]:
        missing = ask.missing or self.settings.missing
        pictures = await self._pictures(ask.pictures, until)
        keys = _keys(ask.ids, loaded) if pictures is None else list(map(digest_of, pictures))
        job: Rescoring | None = None
        made: Shortlist | None = None
        try:
            queries = await self._queries(ask.query, loaded, until)
            reranker = loaded.reranker
            if pictures is not None:
                sent = dict(zip(keys, pictures, strict=True))
                reranker = await self._encoded(Documents(loaded, sent, until))
            how = (reranker.gallery, queries, keys, ask.scores, ask.metric, missing)
            job = Rescoring(reranker, queries, partial(listed, *how), ask.top)
            hits = await self._rescoring.ask(job, until)
        except TimeoutError:
            if job is not None:
                hits = job.in_order()
            else:
                known: Any = loaded.gallery
                if pictures is not None:
                    known = SentGallery(loaded, list(dict.fromkeys(keys)), {})
                made = as_sent(known, keys, ask.scores, ask.metric, missing)
                hits = unscored(made, known, ask.top)
        self.metrics.missed(missing, made if job is None else job.shortlist)
        return hits, keys

    async def _queries(self, asked: Asked, loaded: Loaded, until: float) -> Queries:
        """Return a query, encoded."""
        if asked.kind == "vector":
            if loaded.local_stages:
                raise RequestError(
                    f"this service has the stage {loaded.local_stages[0]}, which needs local "
                    "descriptors of the query: send a picture, or an id of the gallery"
                )
            return ready_queries([asked.value], loaded.gallery.dim)
        value: Any
        if asked.kind == "id":
            row = loaded.row_of(asked.value)
            if asked.box is None and not loaded.needs_pictures:
                return loaded.reranker.encode([loaded.gallery.global_vectors[row]])
            with own_pictures():
                value = loaded.gallery.pictures[row]
                return await self._encoded_query(loaded, value, asked, until)
        elif asked.kind == "words":
            value = Text(asked.value)
        else:
            async with asyncio.timeout_at(_loop_time(until)):
                value = (await self._pictures([asked.value], until) or [])[0]
        return await self._encoded_query(loaded, value, asked, until)

    async def _encoded_query(
        self, loaded: Loaded, value: Any, asked: Asked, until: float
    ) -> Queries:
        encoding = Encoding(loaded, value, asked.box)
        return cast(Queries, await self._encoding.ask(encoding, until))

    async def _encoded(self, documents: Documents) -> Cascade:
        return cast(Cascade, await self._encoding.ask(documents, documents.until))

    async def _pictures(
        self, sent: Sequence[Sent] | None, until: float
    ) -> list[PictureBytes] | None:
        """Return pictures whose headers were read, in the order they were sent."""
        if sent is None:
            return None
        begun = time.perf_counter()
        found = await asyncio.gather(
            *(asyncio.to_thread(self._picture, one, until) for one in sent)
        )
        self.metrics.spent("fetch", time.perf_counter() - begun)
        return found

    def _picture(self, sent: Sent, until: float) -> PictureBytes:
        content = self._fetch(sent.text, sent.name, until) if sent.is_address else decoded(sent)
        return checked(content, sent.name, self.settings.max_pixels)

    def _rescored(self, jobs: Sequence[Rescoring]) -> list[Lines | Exception]:
        self.metrics.together(len(jobs))
        return rescore_all(jobs)


def _found(loaded: Loaded, queries: Queries, size: int) -> tuple[Shortlist, bool]:
    """Return what the first stage finds, which stands in nobody's documents."""
    return loaded.search(queries, size), False


def _keys(ids: list[Any] | None, loaded: Loaded) -> list[Any]:
    """Return ids in the gallery's own type: addresses and clients have them as text."""
    kind = loaded.gallery.ids.kind
    if kind.kind is str:
        return ids or []
    parse: Callable[[str], Any] = lambda text: kind.read([text])[0]  # noqa: E731
    return [parse(item) if isinstance(item, str) else item for item in ids or ()]


def _loop_time(until: float) -> float:
    """Return a time of ``time.monotonic()`` as the running loop counts."""
    return until - time.monotonic() + asyncio.get_running_loop().time()
