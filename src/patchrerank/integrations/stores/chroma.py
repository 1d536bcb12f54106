"""Chroma: vectors to fetch; it computes no max similarity (extra ``chroma``, chromadb 1.5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from patchrerank.errors import GalleryError
from patchrerank.integrations.stores.records import Record
from patchrerank.integrations.stores.store import VectorStore
from patchrerank.types import Floats

ABOUT = "patchrerank"
NOTE = "note"
"""Of a note, an item among the patches that is no image's."""
PAGE = 1000
CORNERS = ("x0", "y0", "x1", "y1")


class ChromaStore(VectorStore):
    """Two collections: ``NAME`` with an image each, ``NAME-patches``; one embedding an id.

    Its search is approximate (HNSW): a shortlist may lack images that belong on it, more of them
    the smaller ``ef_search`` is. Reranking is exact, by :class:`StoreReranker`: the candidates'
    vectors are fetched by id.

    Args:
        client: of ``chromadb.PersistentClient(…)``, for one.
        collection: its name; made by the first push.
        ef_search: how widely a search looks; set when the collection is made.
    """

    scores_there: ClassVar[bool] = False
    holds_local: ClassVar[bool] = False  # metadata are read with every image

    def __init__(self, client: Any, collection: str, ef_search: int = 1000) -> None:
        self._client, self._name, self._width = client, collection, ef_search
        self.name = f"chroma:{collection}"

    @property
    def one_writer(self) -> str:
        """Why no more than one process may write; a server (``chroma run``) takes several."""
        if type(self._client._server).__name__.endswith("FastAPI"):
            return ""
        return "the client has the database's files open itself; a server takes several"

    def _collection(self, suffix: str = "") -> Any:
        return self._client.get_collection(self._name + suffix, embedding_function=None)

    def _read_space(self) -> str | None:
        from chromadb.errors import NotFoundError

        try:
            metadata = self._collection().metadata or {}
        except NotFoundError:
            return None
        if ABOUT not in metadata:
            raise GalleryError(f"{self.name}: not made by patchrerank; push into another name")
        return str(metadata[ABOUT])

    def _create(self, text: str, dim: int) -> None:
        hnsw = {"space": "cosine", "ef_search": self._width, "ef_construction": 400}
        for suffix in ("-patches", ""):
            self._client.create_collection(
                self._name + suffix,
                metadata={ABOUT: text},
                configuration={"hnsw": hnsw},
                embedding_function=None,
                get_or_create=suffix != "",
            )

    def _keep(self, notes: Mapping[str, str]) -> None:
        first = np.eye(1, self.space.dim, dtype=np.float32)[0]
        names, texts = list(notes), [{NOTE: text} for text in notes.values()]
        self._upsert("-patches", names, [first] * len(names), texts)

    def _kept(self, names: Sequence[str]) -> dict[str, str]:
        found = self._collection("-patches").get(ids=list(names), include=["metadatas"])
        texts = (known[NOTE] for known in found["metadatas"])
        return dict(zip(found["ids"], texts, strict=True))

    def _digests(self) -> Iterator[tuple[str, int]]:
        images, start = self._collection(), 0
        while True:
            page = images.get(limit=PAGE, offset=start, include=["metadatas"])
            if not page["ids"]:
                return
            digests = (known["digest"] for known in page["metadatas"])
            yield from zip(page["ids"], digests, strict=True)
            start += PAGE

    def _write(self, records: Sequence[Record]) -> None:
        self._delete([record.key for record in records])
        patches: list[Floats] = []
        names: list[str] = []
        known: list[dict[str, Any]] = []
        for record in records:
            patches.extend(record.patches)
            names.extend(_names(record.key, len(record.patches)))
            known.extend(_corners(record))
        self._upsert("-patches", names, patches, known)
        about = [
            {
                "digest": one.digest,
                "patches": len(one.patches),
                "width": one.size[0],
                "height": one.size[1],
            }
            for one in records
        ]
        keys, vectors = [one.key for one in records], [one.vector for one in records]
        self._upsert("", keys, vectors, about)

    def _upsert(
        self, suffix: str, names: list[str], vectors: list[Floats], known: list[Any]
    ) -> None:
        collection = self._collection(suffix)
        for start in range(0, len(names), PAGE):
            part = slice(start, start + PAGE)
            collection.upsert(
                ids=names[part], embeddings=np.array(vectors[part]), metadatas=known[part]
            )

    def _delete(self, keys: Sequence[str]) -> None:
        images, patches = self._collection(), self._collection("-patches")
        held = images.get(ids=list(keys), include=["metadatas"])
        if held["ids"]:
            images.delete(ids=held["ids"])
        names = _all_names(held)
        for start in range(0, len(names), PAGE):
            patches.delete(ids=names[start : start + PAGE])

    def _held(self, keys: Sequence[str]) -> set[str]:
        return set(self._collection().get(ids=list(keys), include=[])["ids"])

    def _fetch(self, keys: Sequence[str]) -> Iterator[Record]:
        held = self._collection().get(ids=list(keys), include=["embeddings", "metadatas"])
        found = self._patches(_all_names(held))
        parts = zip(held["ids"], held["embeddings"], held["metadatas"], strict=True)
        for key, vector, known in parts:
            rows = [found[name] for name in _names(key, known["patches"]) if name in found]
            patches = np.array([row for row, _ in rows], dtype=np.float32)
            boxes = np.array([box for _, box in rows if box], dtype=np.float32)
            yield Record(
                key,
                np.asarray(vector, dtype=np.float32),
                patches.reshape(-1, len(vector)),
                boxes.reshape(-1, 4),
                (known["width"], known["height"]),
                None,
                known["digest"],
            )

    def _patches(self, names: list[str]) -> dict[str, tuple[Any, list[float]]]:
        """Return vectors and boxes by name; Chroma answers in an order of its own."""
        found: dict[str, tuple[Any, list[float]]] = {}
        collection = self._collection("-patches")
        for start in range(0, len(names), PAGE):
            some = names[start : start + PAGE]
            page = collection.get(ids=some, include=["embeddings", "metadatas"])
            for name, vector, known in zip(
                page["ids"], page["embeddings"], page["metadatas"], strict=True
            ):
                found[name] = vector, [known[c] for c in CORNERS if c in known]
        return found

    def _nearest(self, vectors: Floats, size: int) -> list[list[tuple[str, float]]]:
        found = self._collection().query(
            query_embeddings=vectors, n_results=size, include=["distances"]
        )
        return [
            [(key, 1.0 - distance) for key, distance in zip(ids, distances, strict=True)]
            for ids, distances in zip(found["ids"], found["distances"], strict=True)
        ]


def _names(key: str, count: int) -> list[str]:
    return [f"{number}:{key}" for number in range(count)]


def _all_names(held: Any) -> list[str]:
    pairs = zip(held["ids"], held["metadatas"], strict=True)
    return [name for key, known in pairs for name in _names(key, known["patches"])]


def _corners(record: Record) -> list[dict[str, Any]]:
    """Return each patch's metadata, which Chroma does not let be empty."""
    boxes = record.boxes.tolist() or [()] * len(record.patches)
    return [{"image": record.key, **dict(zip(CORNERS, box, strict=False))} for box in boxes]
