"""Milvus: one row a patch, grouped by image (extra ``milvus``).

Run with pymilvus 3.0 on Milvus Lite 3.2, which has no struct arrays and drops such a field without
a word; a server takes the same layout, but none was at hand to run it on. For the same reason a
server's struct arrays are not used: nobody here has seen whether their index is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import quote, unquote

import numpy as np

from patchrerank.errors import GalleryError
from patchrerank.integrations.stores.records import Record
from patchrerank.integrations.stores.store import VectorStore
from patchrerank.types import Floats

MOST_ROWS = 16_384
"""Rows that a search or query of Milvus' returns at most."""

LONGEST_KEY, LONGEST_NOTE = 8192, 65_535
PLAIN = " !#$&'()*+,/:;<=>?@[]^`{|}"
"""What may stand in a text of Milvus' filters as it is, beside letters and digits. Other
characters of ids are percent-encoded: pymilvus' iterators cannot go past a quote or backslash."""

ABOUT = "about"
"""Key of the row of the patches that says what the vectors are; notes belong to no image."""

OWN = ("key", "vector")
"""Fields of both collections."""
OF_IMAGES: dict[str, dict[str, Any]] = {
    name: {"kind": "INT64"} for name in ("digest", "patches", "width", "height")
}
OF_PATCHES: dict[str, dict[str, Any]] = {
    "image": {"kind": "VARCHAR", "max_length": LONGEST_KEY},
    "number": {"kind": "INT64"},
    "box": {"kind": "ARRAY", "max_capacity": 4},
    "note": {"kind": "VARCHAR", "max_length": LONGEST_NOTE},
}
"""Names and kinds of their other fields."""


class MilvusStore(VectorStore):
    """Two collections: ``NAME`` with a row an image, ``NAME_patches`` with a row a patch.

    Indexes are FLAT, which is exact. The image's row is written last and deleted first, so an
    image without all of its patches is not taken for whole.

    Args:
        client: a ``pymilvus.MilvusClient``.
        collection: its name; made by the first push.
    """

    holds_local: ClassVar[bool] = False  # texts end at 65,535 bytes
    most: ClassVar[int | None] = MOST_ROWS

    def __init__(self, client: Any, collection: str) -> None:
        self._client, self._images = client, collection
        self._patches = f"{collection}_patches"
        self.name = f"milvus:{collection}"

    @property
    def one_writer(self) -> str:
        """Why no more than one process may write; a server takes several."""
        lite = str(self._client.get_server_version()).startswith("milvus_lite")
        return "Milvus Lite keeps its file to one process" if lite else ""

    def _read_space(self) -> str | None:
        has = self._client.has_collection
        held = [name for name in (self._images, self._patches) if has(name)]
        for name in held:
            self._client.load_collection(name)  # whoever opens a database finds them released
        found = self._kept([ABOUT]) if len(held) == 2 else {}
        if held and not found and not all(map(self._is_begun, held)):
            raise GalleryError(f"{self.name}: not made by patchrerank; push into another name")
        return found.get(ABOUT)

    def _is_begun(self, name: str) -> bool:
        """Return whether a collection is one of ours whose making was cut off: still empty."""
        fields = {field["name"] for field in self._client.describe_collection(name)["fields"]}
        ours = {*OWN, *(OF_IMAGES if name == self._images else OF_PATCHES)}
        rows = self._client.query(name, filter="", output_fields=["key"], limit=1)
        return fields == ours and not rows

    def _create(self, text: str, dim: int) -> None:
        for name in (self._images, self._patches):
            if self._client.has_collection(name):  # begun, and cut off
                self._client.drop_collection(name)
        self._create_one(self._images, dim, OF_IMAGES)
        self._create_one(self._patches, dim, OF_PATCHES)
        self._keep_texts({ABOUT: text}, dim)

    def _keep(self, notes: Mapping[str, str]) -> None:
        self._keep_texts(notes, self.space.dim)

    def _keep_texts(self, notes: Mapping[str, str], dim: int) -> None:
        first = np.eye(1, dim)[0].tolist()
        blank = {"image": "", "number": -1, "box": [], "vector": first}
        rows = [{"key": name, "note": text, **blank} for name, text in notes.items()]
        self._client.upsert(self._patches, rows)

    def _kept(self, names: Sequence[str]) -> dict[str, str]:
        rows = self._query(self._patches, _among("key", names), ["key", "note"])
        return {row["key"]: row["note"] for row in rows}

    def _create_one(self, name: str, dim: int, fields: Mapping[str, Mapping[str, Any]]) -> None:
        from pymilvus import DataType

        schema = self._client.create_schema(auto_id=False)
        schema.add_field("key", DataType.VARCHAR, is_primary=True, max_length=LONGEST_KEY)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
        for field, known in fields.items():
            options = dict(known)
            kind = DataType[options.pop("kind")]
            if kind == DataType.ARRAY:
                options["element_type"] = DataType.FLOAT
            schema.add_field(field, kind, **options)
        index = self._client.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="COSINE")
        self._client.create_collection(name, schema=schema, consistency_level="Strong")
        self._client.create_index(name, index, sync=False)  # else half a second, for no row
        self._client.load_collection(name)

    def _digests(self) -> Iterator[tuple[str, int]]:
        pages = self._client.query_iterator(
            self._images, batch_size=1000, output_fields=["key", "digest"]
        )
        while page := pages.next():
            yield from ((unquote(row["key"]), row["digest"]) for row in page)
        pages.close()

    def _write(self, records: Sequence[Record]) -> None:
        self._delete([record.key for record in records])
        rows = [row for record in records for row in _patch_rows(record)]
        if rows:
            self._client.upsert(self._patches, rows)
        self._client.upsert(
            self._images,
            [
                {
                    "key": quote(record.key, PLAIN),
                    "vector": record.vector.tolist(),
                    "digest": record.digest,
                    "patches": len(record.patches),
                    "width": record.size[0],
                    "height": record.size[1],
                }
                for record in records
            ],
        )

    def _delete(self, keys: Sequence[str]) -> None:
        self._client.delete(self._images, filter=_among("key", keys))
        self._client.delete(self._patches, filter=_among("image", keys))

    def _held(self, keys: Sequence[str]) -> set[str]:
        rows = self._query(self._images, _among("key", keys), ["key"])
        return {unquote(row["key"]) for row in rows}

    def _fetch(self, keys: Sequence[str]) -> Iterator[Record]:
        rows = self._query(self._images, _among("key", keys), [*OWN, *OF_IMAGES])
        images = {unquote(row["key"]): row for row in rows}
        found: dict[str, list[Any]] = {key: [] for key in images}
        for some in _groups({key: row["patches"] for key, row in images.items()}):
            fields = ["image", "number", "box", "vector"]
            for row in self._query(self._patches, _among("image", some), fields):
                found[unquote(row["image"])].append(row)
        for key, rows in found.items():
            rows.sort(key=lambda row: row["number"])
            vector = np.array(images[key]["vector"], dtype=np.float32)
            patches = np.array([row["vector"] for row in rows], dtype=np.float32)
            boxes = np.array([row["box"] for row in rows if len(row["box"])], dtype=np.float32)
            yield Record(
                key,
                vector,
                patches.reshape(-1, len(vector)),
                boxes.reshape(-1, 4),
                (images[key]["width"], images[key]["height"]),
                None,
                images[key]["digest"],
            )

    def _query(self, name: str, chosen: str, fields: list[str]) -> list[Any]:
        return list(self._client.query(name, chosen, fields, limit=MOST_ROWS))

    def _nearest(self, vectors: Floats, size: int) -> list[list[tuple[str, float]]]:
        found = self._search(self._images, vectors, size, "key", "")
        return [
            [(unquote(row["entity"]["key"]), row["distance"]) for row in rows] for rows in found
        ]

    def _best(self, vector: Floats, keys: Sequence[str]) -> Mapping[str, float]:
        rows = self._query(self._images, _among("key", keys), ["key", "patches"])
        best: dict[str, float] = {}
        for some in _groups({unquote(row["key"]): row["patches"] for row in rows}):
            chosen = _among("image", some)
            for row in self._search(self._patches, vector[None], MOST_ROWS, "image", chosen)[0]:
                image, cosine = unquote(row["entity"]["image"]), row["distance"]
                best[image] = max(best.get(image, cosine), cosine)
        return best

    def _search(self, name: str, vectors: Floats, size: int, field: str, chosen: str) -> list[Any]:
        """Search; what is called ``distance`` is the cosine."""
        found = self._client.search(
            name,
            data=vectors.tolist(),
            filter=chosen,
            limit=size,
            output_fields=[field],
            anns_field="vector",
            search_params={"metric_type": "COSINE"},
        )
        return list(found)


def _patch_rows(record: Record) -> Iterator[dict[str, Any]]:
    image = quote(record.key, PLAIN)
    for number, patch in enumerate(record.patches):
        box = record.boxes[number].tolist() if len(record.boxes) else []
        yield {
            "key": f"{number}:{image}",
            "image": image,
            "number": number,
            "box": box,
            "note": "",
            "vector": patch.tolist(),
        }


def _groups(counts: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield images in groups whose patches one answer can hold."""
    group: list[str] = []
    size = 0
    for key, count in counts.items():
        if group and size + count > MOST_ROWS:
            yield group
            group, size = [], 0
        if count:
            group.append(key)
            size += count
    if group:
        yield group


def _among(field: str, keys: Sequence[str]) -> str:
    quoted = ", ".join(f'"{quote(key, PLAIN)}"' for key in keys)
    return f"{field} in [{quoted}]"
