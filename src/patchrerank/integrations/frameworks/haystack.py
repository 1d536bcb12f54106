"""Haystack: a ranker component that can be saved, for words and for pictures.

Run with haystack-ai 3.4 (extra ``haystack``).
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from patchrerank.errors import SettingError
from patchrerank.integrations.extras import of_extra
from patchrerank.integrations.frameworks.reranking import QueryIs, Reranking
from patchrerank.pipeline import load_reranker
from patchrerank.rerankers.hits import check_top_k
from patchrerank.score_reading import Metric
from patchrerank.types import Missing
from patchrerank.types.text import AS_GIVEN

with of_extra("haystack", "haystack"):
    from haystack import Document, component, default_from_dict, default_to_dict
    from haystack.dataclasses import ByteStream


@component
class PatchRerankRanker:
    """Documents in a better order, as copies; what is known of a hit stands in their ``meta``.

    ``meta`` gets ``global_score``, ``local_score``, ``box``, ``status`` and ``probability``; the
    document's ``score`` falls strictly.

    Args:
        gallery: its folder.
        stages: as :func:`patchrerank.load_reranker` takes them: text, or a ``tuned.json``.
        id_key: the ``meta`` key of the gallery id; None: the document's ``id``.
        top_k: how many documents come back; None: all.
        query_is, templates, missing, metric: see
            :class:`patchrerank.integrations.frameworks.reranking.Reranking`.
        device: of the encoder.
        root: the folder that the gallery's pictures are in now, where they have moved.
    """

    def __init__(
        self,
        gallery: str,
        stages: str = "patchify",
        id_key: str | None = None,
        top_k: int | None = None,
        query_is: QueryIs = "text",
        templates: list[str] | None = None,
        missing: Missing = "keep",
        metric: Metric | None = None,
        device: str = "auto",
        root: str | None = None,
    ) -> None:
        check_top_k(top_k)
        self.gallery, self.stages = str(gallery), str(stages)
        self.id_key, self.top_k = id_key, top_k
        self.query_is, self.templates, self.missing = query_is, templates, missing
        self.metric, self.device, self.root = metric, device, root
        self._reranking: Reranking | None = None

    def warm_up(self) -> None:
        """Open the gallery, once; its encoder is loaded with the first picture or words."""
        if self._reranking is None:
            from patchrerank.gallery import Gallery

            opened = Gallery(self.gallery, root=self.root)
            ranker = load_reranker(opened, self.stages, device=self.device)
            self._reranking = Reranking(
                ranker, self.query_is, self.templates or AS_GIVEN, self.missing, self.metric
            )

    @component.output_types(documents=list[Document])
    def run(
        self,
        documents: list[Document],
        query: str | None = None,
        query_image: ByteStream | str | None = None,
        top_k: int | None = None,
    ) -> dict[str, list[Document]]:
        """Rerank documents.

        Args:
            documents: best first; one document twice counts once.
            query: words (or what ``query_is`` says).
            query_image: a picture: its bytes, or its path; stands before words.
            top_k: in place of the component's own.

        Raises:
            SettingError: neither query.
            PatchRerankError: as :meth:`patchrerank.rerankers.Ranker.rank` does.
        """
        self.warm_up()
        assert self._reranking is not None
        wanted = self.top_k if top_k is None else top_k
        unique = list({document.id: document for document in documents}.values())
        if not unique:
            return {"documents": []}
        asked: Any = query
        if isinstance(query_image, ByteStream):
            asked = query_image.data
        elif query_image is not None:
            asked = Path(str(query_image))
        if asked is None:
            raise SettingError("there is no query; pass query= or query_image=")
        ids = [d.id if self.id_key is None else d.meta.get(self.id_key) for d in unique]
        placed = self._reranking.place(asked, ids, [d.score for d in unique], wanted)
        found = [
            replace(
                unique[one.index],
                score=one.score,
                meta={**unique[one.index].meta, **one.record()},
            )
            for one in placed
        ]
        return {"documents": found}

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        documents: list[Document],
        query: str | None = None,
        query_image: ByteStream | str | None = None,
        top_k: int | None = None,
    ) -> dict[str, list[Document]]:
        """Rerank documents in another thread; see :meth:`run`."""
        return await asyncio.to_thread(self.run, documents, query, query_image, top_k)

    def to_dict(self) -> dict[str, Any]:
        """Return what the component is made of, for files of pipelines."""
        names = ("gallery", "stages", "id_key", "top_k", "query_is", "templates", "missing")
        more = ("metric", "device", "root")
        found: dict[str, Any] = default_to_dict(
            self, **{name: getattr(self, name) for name in (*names, *more)}
        )
        return found

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PatchRerankRanker:
        """Make a component of what :meth:`to_dict` returned."""
        made: PatchRerankRanker = default_from_dict(cls, data)
        return made
