"""LlamaIndex: a node postprocessor; a picture may be the query.

Run with llama-index-core 0.14 (extra ``llama-index``).
"""

from __future__ import annotations

from typing import Any

from patchrerank.integrations.extras import of_extra
from patchrerank.integrations.frameworks.candidates import Placed

with of_extra("llama-index", "llama_index", "llama_index.core"):
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.schema import NodeWithScore, QueryBundle

    from patchrerank.integrations.frameworks.pydantic_fields import RerankingFields


class PatchRerankPostprocessor(RerankingFields, BaseNodePostprocessor):
    """Nodes in a better order, as copies; what is known of a hit stands in their metadata.

    A node's metadata gets ``retrieval_score`` (what came in), ``global_score``, ``local_score``,
    ``box``, ``status`` and ``probability``, hidden from language models and embeddings.

    A bundle with an ``image_path`` asks with that picture.

    Attributes:
        ranker, id_key, top_n, query_is, templates, missing, metric: see
            :class:`patchrerank.integrations.frameworks.pydantic_fields.RerankingFields`.
    """

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which it is recorded."""
        return "PatchRerankPostprocessor"

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
            reranking = self._reranking("image")
        ids = [self._id(node.node.node_id, node.node.metadata) for node in nodes]
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
