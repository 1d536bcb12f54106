"""LlamaIndex: a node postprocessor; a picture may be the query.

Run with llama-index-core 0.14 (extra ``llama-index``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.bridge.pydantic import ConfigDict, Field, model_validator
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle

from patchrerank.integrations.frameworks.candidates import Placed
from patchrerank.integrations.frameworks.reranking import QueryIs, Reranking
from patchrerank.score_reading import Metric
from patchrerank.types import Missing
from patchrerank.types.text import AS_GIVEN


class PatchRerankPostprocessor(BaseNodePostprocessor):
    """Nodes in a better order, as copies; what is known of a hit stands in their metadata.

    A node's metadata gets ``retrieval_score`` (what came in), ``global_score``, ``local_score``,
    ``box``, ``status`` and ``probability``, hidden from language models and embeddings.

    Attributes:
        ranker: a reranker or cascade (``patchrerank.load_reranker``).
        id_key: the metadata key of the gallery id; None: the node's ``node_id``.
        top_n: how many nodes come back; None: all.
        query_is, templates, missing, metric: see
            :class:`patchrerank.integrations.frameworks.reranking.Reranking`. A bundle with an
            ``image_path`` asks with that picture.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    ranker: Any = Field(exclude=True)
    id_key: str | None = None
    top_n: int | None = None
    query_is: QueryIs = "text"
    templates: Sequence[str] = AS_GIVEN
    missing: Missing = "keep"
    metric: Metric | None = None

    @model_validator(mode="after")
    def _checked(self) -> PatchRerankPostprocessor:
        self._reranking()
        return self

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which it is recorded."""
        return "PatchRerankPostprocessor"

    def _reranking(self) -> Reranking:
        return Reranking(self.ranker, self.query_is, self.templates, self.missing, self.metric)

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise ValueError("reranking needs a query: pass query_bundle or query_str")
        if not nodes:
            return []
        reranking, path = self._reranking(), query_bundle.image_path
        query: Any = query_bundle.query_str
        if path:
            query = path if path.startswith("data:") else _file(path)
            reranking = Reranking(self.ranker, "image", missing=self.missing, metric=self.metric)
        ids = [
            node.node.node_id if self.id_key is None else node.node.metadata.get(self.id_key)
            for node in nodes
        ]
        placed = reranking.place(query, ids, [node.score for node in nodes], self.top_n)
        return [_placed(nodes[one.index], one) for one in placed]


def _file(path: str) -> str:
    return path.removeprefix("file://")


def _placed(node: NodeWithScore, one: Placed) -> NodeWithScore:
    """Return a copy of a node at its new place."""
    known = {**one.record(), "retrieval_score": node.score}
    inner = node.node
    changes = {
        "metadata": {**inner.metadata, **known},
        "excluded_llm_metadata_keys": [*inner.excluded_llm_metadata_keys, *known],
        "excluded_embed_metadata_keys": [*inner.excluded_embed_metadata_keys, *known],
    }
    return NodeWithScore(node=inner.model_copy(update=changes), score=one.score)
