"""Qdrant: a server, or its Python client's local mode (extra ``qdrant``).

Run with qdrant-client 1.20 in local mode; the engine itself is run by ``qdrant_edge``. One point
an image: a vector ``global``, a multivector ``patches``, and the boxes in the payload.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from patchrerank.errors import GalleryError
from patchrerank.fusion import Fusion
from patchrerank.integrations.extras import of_extra
from patchrerank.integrations.stores.point_store import SCROLLED, PointStore
from patchrerank.integrations.stores.points import (
    DIGEST,
    GLOBAL,
    KEY,
    PATCHES,
    SPACE,
    check_formula,
)
from patchrerank.types import Floats


class QdrantStore(PointStore):
    """A collection of Qdrant's.

    Text ids and negative numbers become UUIDv5s, whole numbers and UUIDs stay what they are; the
    payload holds the id as text (``key``). All searches ask for the exact path (``exact=True``):
    by default a filter on an indexed multivector answers with fewer candidates than it was given.
    Equal scores come in the order of the engine, another in each process.

    Args:
        client: a ``qdrant_client.QdrantClient``.
        collection: its name; made by the first push.

    Raises:
        MissingExtraError: qdrant-client is not installed.
    """

    def __init__(self, client: Any, collection: str) -> None:
        with of_extra("qdrant", "qdrant_client"):
            from qdrant_client import models

        self._client, self._collection, self._models = client, collection, models
        self.name = f"qdrant:{collection}"
        local = type(client._client).__name__ == "QdrantLocal"
        self._exact = None if local else models.SearchParams(exact=True)  # local mode: always

    @property
    def one_writer(self) -> str:
        """Why no more than one process may write; a server takes several."""
        if self._exact is not None:
            return ""
        return "the client's local mode keeps a collection to one process"

    def _read_space(self) -> str | None:
        if not self._client.collection_exists(self._collection):
            return None
        found = self._kept([SPACE])
        if not found and not self._begun:
            raise GalleryError(f"{self.name}: not made by patchrerank; push into another name")
        return found.get(SPACE)

    @property
    def _begun(self) -> bool:
        """Whether the collection is one of ours whose making was cut off: still without points."""
        vectors = self._client.get_collection(self._collection).config.params.vectors
        ours = isinstance(vectors, dict) and set(vectors) == {GLOBAL, PATCHES}
        return ours and self._client.count(self._collection).count == 0

    def _create(self, text: str, dim: int) -> None:
        models = self._models
        one = models.VectorParams(size=dim, distance=models.Distance.COSINE)
        many = models.VectorParams(
            size=dim,
            distance=models.Distance.COSINE,
            multivector_config=models.MultiVectorConfig(
                comparator=models.MultiVectorComparator.MAX_SIM
            ),
            hnsw_config=models.HnswConfigDiff(m=0),  # only ever scored for given candidates
        )
        if self._client.collection_exists(self._collection):  # begun, and cut off
            self._client.delete_collection(self._collection)
        vectors = {GLOBAL: one, PATCHES: many}
        self._client.create_collection(self._collection, vectors_config=vectors)
        self._keep({SPACE: text})

    def _upsert(self, points: Sequence[tuple[Any, dict[str, Any], dict[str, Any]]]) -> None:
        made = [
            self._models.PointStruct(id=name, vector=vectors, payload=payload)
            for name, vectors, payload in points
        ]
        self._client.upsert(self._collection, made, wait=True)

    def _retrieve(self, ids: Sequence[Any], payload: list[str], vectors: bool) -> Sequence[Any]:
        found: Sequence[Any] = self._client.retrieve(
            self._collection, ids, with_payload=payload, with_vectors=vectors
        )
        return found

    def _page(self, offset: Any) -> tuple[Sequence[Any], Any]:
        points, following = self._client.scroll(
            self._collection, limit=SCROLLED, offset=offset, with_payload=[KEY, DIGEST]
        )
        return points, following

    def _delete(self, keys: Sequence[str]) -> None:
        chosen = self._models.PointIdsList(points=self._ids(keys))
        self._client.delete(self._collection, chosen, wait=True)

    def _nearest(self, vectors: Floats, size: int) -> list[list[tuple[str, float]]]:
        requests = [
            self._models.QueryRequest(
                query=vector.tolist(),
                using=GLOBAL,
                limit=size,
                params=self._exact,
                with_payload=[KEY],
            )
            for vector in vectors
        ]
        answers = self._client.query_batch_points(self._collection, requests)
        return [_pairs(answer.points) for answer in answers]

    def _best(self, vector: Floats, keys: Sequence[str]) -> Mapping[str, float]:
        chosen = self._models.HasIdCondition(has_id=self._ids(keys))
        answer = self._client.query_points(
            self._collection,
            query=[vector.tolist()],  # one row: the sum of MaxSim is the maximum
            using=PATCHES,
            query_filter=self._models.Filter(must=[chosen]),
            limit=len(keys),
            search_params=self._exact,
            with_payload=[KEY],
        )
        return dict(_pairs(answer.points))

    def _fused(self, vector: Floats, size: int, fusion: Fusion) -> list[tuple[str, float]]:
        check_formula(fusion)
        models, query = self._models, vector.tolist()
        first = models.Prefetch(query=query, using=GLOBAL, limit=size, params=self._exact)
        second = models.Prefetch(
            query=[query], using=PATCHES, limit=size, prefetch=[first], params=self._exact
        )
        steep = models.MultExpression(mult=[-fusion.gamma, "$score[1]"])
        below = models.SumExpression(sum=[1.0, models.ExpExpression(exp=steep)])
        sigmoid = models.DivExpression(div=models.DivParams(left=1.0 - fusion.lam, right=below))
        weighed = models.MultExpression(mult=[fusion.lam, "$score[0]"])
        formula = models.FormulaQuery(
            formula=models.SumExpression(sum=[weighed, sigmoid]), defaults=self._defaults(fusion)
        )
        answer = self._client.query_points(
            self._collection,
            prefetch=[first, second],
            query=formula,
            limit=size,
            with_payload=[KEY],
        )
        return _pairs(answer.points)


def _pairs(points: Sequence[Any]) -> list[tuple[str, float]]:
    return [(point.payload[KEY], point.score) for point in points]
