"""Qdrant Edge: the engine of Qdrant, embedded (extra ``qdrant-edge``).

Run with qdrant-edge-py 0.9. Points are laid out as ``qdrant`` lays them out.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from patchrerank.errors import GalleryError, short_reason
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


class QdrantEdgeStore(PointStore):
    """A shard of Qdrant Edge in a folder, which one process has open at a time.

    Args:
        folder: of the shard; made by the first push.

    Raises:
        MissingExtraError: qdrant-edge-py is not installed.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        with of_extra("qdrant-edge", "qdrant_edge"):
            import qdrant_edge

        self._edge, self._folder = qdrant_edge, Path(folder)
        self.name = f"qdrant-edge:{self._folder}"
        self._exact = qdrant_edge.SearchParams(exact=True)
        self._shard: Any = None

    def __enter__(self) -> QdrantEdgeStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what is pending, and let another process open the folder."""
        if self._shard is not None:
            self._shard.flush()
            self._shard.close()
            self._shard = None

    @property
    def one_writer(self) -> str:
        """Why no more than one process may write."""
        return "one process at a time has the folder open"

    def _read_space(self) -> str | None:
        if self._shard is None:
            if not self._folder.is_dir() or not any(self._folder.iterdir()):
                return None
            try:
                self._shard = self._edge.EdgeShard.load(str(self._folder))
            except Exception as error:
                raise GalleryError(
                    f"{self._folder} cannot be opened ({short_reason(error)}); one process at a "
                    "time can, and only a folder that Qdrant Edge made"
                ) from error
        found = self._kept([SPACE])
        if not found and self._page(None)[0]:
            raise GalleryError(f"{self.name}: not made by patchrerank; push into another folder")
        return found.get(SPACE)

    def _create(self, text: str, dim: int) -> None:
        edge = self._edge
        many = edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim)
        cosine = edge.Distance.Cosine
        config = edge.EdgeConfig(
            vectors={
                GLOBAL: edge.EdgeVectorParams(dim, cosine),
                PATCHES: edge.EdgeVectorParams(dim, cosine, multivector_config=many),
            }
        )
        if self._shard is None:  # else begun, and cut off
            self._folder.mkdir(parents=True, exist_ok=True)
            self._shard = edge.EdgeShard.create(str(self._folder), config)
        self._keep({SPACE: text})

    def _page(self, offset: Any) -> tuple[Sequence[Any], Any]:
        points, following = self._shard.scroll(
            self._edge.ScrollRequest(offset=offset, limit=SCROLLED, with_payload=[KEY, DIGEST])
        )
        return points, following

    def _upsert(self, points: Sequence[tuple[Any, dict[str, Any], dict[str, Any]]]) -> None:
        made = [self._edge.Point(*point) for point in points]
        self._shard.update(self._edge.UpdateOperation.upsert_points(made))
        self._shard.flush()

    def _retrieve(self, ids: Sequence[Any], payload: list[str], vectors: bool) -> Sequence[Any]:
        return list(self._shard.retrieve(ids, payload, vectors))

    def _delete(self, keys: Sequence[str]) -> None:
        self._shard.update(self._edge.UpdateOperation.delete_points(self._ids(keys)))
        self._shard.flush()

    def _nearest(self, vectors: Floats, size: int) -> list[list[tuple[str, float]]]:
        return [self._query(vector.tolist(), GLOBAL, size) for vector in vectors]

    def _best(self, vector: Floats, keys: Sequence[str]) -> Mapping[str, float]:
        chosen = self._edge.Filter(must=[self._edge.HasIdCondition(set(self._ids(keys)))])
        return dict(self._query([vector.tolist()], PATCHES, len(keys), chosen))

    def _query(
        self, query: Any, using: str, size: int, chosen: Any = None
    ) -> list[tuple[str, float]]:
        nearest = self._edge.Query.Nearest(query, using)
        return self._pairs(
            self._edge.QueryRequest(
                size, query=nearest, filter=chosen, params=self._exact, with_payload=[KEY]
            )
        )

    def _fused(self, vector: Floats, size: int, fusion: Fusion) -> list[tuple[str, float]]:
        check_formula(fusion)
        edge, query = self._edge, vector.tolist()
        nearest, exact, term = edge.Query.Nearest, self._exact, edge.Expression
        first = edge.Prefetch(size, query=nearest(query, GLOBAL), params=exact)
        second = edge.Prefetch(
            size, query=nearest([query], PATCHES), prefetches=[first], params=exact
        )
        steep = term.Mult([term.Constant(-fusion.gamma), term.Variable("$score[1]")])
        below = term.Sum([term.Constant(1.0), term.Exp(steep)])
        sigmoid = term.Div(term.Constant(1.0 - fusion.lam), below, None)
        weighed = term.Mult([term.Constant(fusion.lam), term.Variable("$score[0]")])
        formula = edge.Formula(term.Sum([weighed, sigmoid]), self._defaults(fusion))
        return self._pairs(
            edge.QueryRequest(size, query=formula, prefetches=[first, second], with_payload=[KEY])
        )

    def _pairs(self, request: Any) -> list[tuple[str, float]]:
        return [(point.payload[KEY], point.score) for point in self._shard.query(request)]
