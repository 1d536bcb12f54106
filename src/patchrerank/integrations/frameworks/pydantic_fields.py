"""Settings of adapters whose frameworks make them of pydantic's models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from patchrerank.integrations.frameworks.reranking import QueryIs, Reranking
from patchrerank.score_reading import Metric
from patchrerank.types import Missing
from patchrerank.types.text import AS_GIVEN


class RerankingFields(BaseModel):
    """What :class:`patchrerank.integrations.frameworks.reranking.Reranking` takes, and a cut.

    Attributes:
        ranker: a reranker or cascade (``patchrerank.load_reranker``).
        id_key: the metadata key of the gallery id; None: the document's own id.
        top_n: how many documents come back; None: all.
        query_is, templates, missing, metric: see ``Reranking``.
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
    def _checked(self) -> Self:
        self._reranking()
        return self

    def _reranking(self, query_is: QueryIs | None = None) -> Reranking:
        is_a = query_is or self.query_is
        return Reranking(self.ranker, is_a, self.templates, self.missing, self.metric)

    def _id(self, own: Any, metadata: dict[str, Any]) -> Any:
        """Return the gallery id of a document."""
        return own if self.id_key is None else metadata.get(self.id_key)
