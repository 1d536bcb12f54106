"""What the page asks with, and its encoded queries, kept for the next question."""

from __future__ import annotations

import hashlib
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, cast, get_args

from patchrerank.errors import PatchRerankError, shown
from patchrerank.images import PictureBytes, upright_size
from patchrerank.pipeline import load_reranker
from patchrerank.pipeline.stages import StageSpec
from patchrerank.rerankers import DenseCorrelation, Ranker
from patchrerank.serving.loaded import Loaded
from patchrerank.serving.refusals import RequestError, own_pictures
from patchrerank.types import Queries, QueryCrop, Text

KEPT_QUERIES = 64
PICTURE_BYTES = 256 << 20
MAX_WORDS = 2000
LOST = 410
"""The status of a question with a picture that is not held any more: send it again."""

LOCAL = StageSpec(DenseCorrelation.name, 0.0, 1.0, 0)
"""A stage for which local descriptors of queries are made."""

Key = TypeVar("Key")
Value = TypeVar("Value")


class Kept(Generic[Key, Value]):
    """The last values by key, as many as fit; safe under threads.

    Args:
        most: the sum of weights that fits; the newest value is kept in any case.
        weigh: of a value.
    """

    def __init__(self, most: int, weigh: Callable[[Value], int] = lambda value: 1) -> None:
        self._most, self._weigh, self._held = most, weigh, 0
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Value | None:
        """Return a value, or None."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: Key, value: Value) -> None:
        """Keep a value; the ones longest unused make room."""
        with self._lock:
            old = self._values.pop(key, None)
            self._held += self._weigh(value) - (0 if old is None else self._weigh(old))
            self._values[key] = value
            while self._held > self._most and len(self._values) > 1:
                self._held -= self._weigh(self._values.popitem(last=False)[1])


class SentPictures:
    """Pictures that were sent, by the digest of their bytes; in memory alone.

    Args:
        max_pixels: of a picture, as its header declares them.
    """

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._kept: Kept[str, bytes] = Kept(PICTURE_BYTES, len)

    def add(self, content: bytes) -> dict[str, Any]:
        """Keep a picture; return its name, width and height.

        Raises:
            ImageError: it is none, or too large.
        """
        picture = PictureBytes(content, "the picture")
        width, height = upright_size(picture, max_pixels=self._max_pixels)
        name = hashlib.sha256(content).hexdigest()[:32]
        self._kept.put(name, picture)
        return {"picture": name, "width": width, "height": height}

    def __getitem__(self, name: str) -> bytes:
        """Return a picture's bytes.

        Raises:
            RequestError: it is not held.
        """
        found = self._kept.get(name)
        if found is None:
            raise RequestError("the picture is not held any more; send it again", LOST)
        return found


@dataclass(frozen=True)
class Asked:
    """A query: one of a sent picture, an image of the gallery, and words.

    Attributes:
        picture: name of a sent picture.
        id: of the gallery, as text.
        text: the words.
        box: where the object is in the picture, in [0, 1].
        crop: what is done with the box before the global vector is encoded.
    """

    picture: str | None = None
    id: str | None = None
    text: str | None = None
    box: tuple[float, ...] | None = None
    crop: QueryCrop = "none"

    def __post_init__(self) -> None:
        given = [name for name in ("picture", "id", "text") if getattr(self, name) is not None]
        if len(given) != 1 or not isinstance(getattr(self, given[0]), str):
            raise RequestError("a query is one of picture, id and text")
        if self.text is not None and len(self.text) > MAX_WORDS:
            raise RequestError(f"the query has {len(self.text)} characters; at most {MAX_WORDS}")
        if self.crop not in get_args(QueryCrop):
            raise RequestError(f"crop is {shown(self.crop)}; use none or box")

    @classmethod
    def read(cls, body: object) -> Asked:
        """Make one of JSON.

        Raises:
            RequestError: says what is wrong.
        """
        if not isinstance(body, Mapping):
            raise RequestError(f"the query is {shown(body)}; expected an object")
        box = body.get("box")
        return cls(
            picture=body.get("picture"),
            id=body.get("id"),
            text=body.get("text"),
            box=None if box is None else _box(box),
            crop=cast(QueryCrop, body.get("crop", "none")),
        )


def _box(box: Any) -> tuple[float, ...]:
    numbers = isinstance(box, list) and all(type(side) in (int, float) for side in box)
    if not numbers or len(box) != 4 or not all(map(math.isfinite, box)):
        raise RequestError(f"the box is {shown(box)}; expected x0, y0, x1, y1 in [0, 1]")
    return tuple(float(side) for side in box)


class AskedQueries:
    """Encodes what is asked with; the last encoded queries are kept.

    Args:
        pictures: that were sent.
    """

    def __init__(self, pictures: SentPictures) -> None:
        self._pictures = pictures
        self._kept: Kept[tuple[Any, ...], Queries] = Kept(KEPT_QUERIES)

    def encode(self, asked: Asked, now: Loaded) -> Queries:
        """Return one query as a gallery's stages take it.

        Raises:
            PatchRerankError: it cannot be encoded; see :meth:`patchrerank.rerankers.Ranker.encode`.
        """
        key = (now.stamp, asked)
        found = self._kept.get(key)
        if found is None:
            found = self._encoded(asked, now)
            self._kept.put(key, found)
        return found

    def with_local(self, asked: Asked, now: Loaded) -> Queries:
        """Return one query, with local descriptors where they can be had and compared.

        Raises:
            PatchRerankError: it cannot be encoded.
        """
        found = self.encode(asked, now)
        if found.local is not None or asked.text is not None or not now.gallery.has_local:
            return found
        key = (now.stamp, asked, LOCAL)
        known = self._kept.get(key)
        if known is None:
            recipe = replace(now.recipe, stages=(LOCAL,), calibration=None)
            try:
                encoder = now.reranker.query_encoder()
                looking = load_reranker(now.gallery, recipe, encoder=encoder)
                known = replace(found, local=self._asked(looking, asked, now).local)
            except PatchRerankError:  # no encoder here, no picture, damaged descriptors
                known = found
            self._kept.put(key, known)
        return known

    def _encoded(self, asked: Asked, now: Loaded) -> Queries:
        if asked.id is not None and asked.box is None and not now.needs_pictures:
            return now.reranker.encode([now.gallery.global_vectors[now.row_of(asked.id)]])
        return self._asked(now.reranker, asked, now)

    def _asked(self, reranker: Ranker, asked: Asked, now: Loaded) -> Queries:
        cropping = copy(reranker)
        cropping.query_crop = asked.crop if asked.box else "none"
        if asked.text is not None:
            return cropping.encode([Text(asked.text)])
        if asked.picture is not None:
            return cropping.encode([self._pictures[asked.picture]], [asked.box])
        with own_pictures():
            return cropping.encode([now.gallery.pictures[now.row_of(asked.id)]], [asked.box])
