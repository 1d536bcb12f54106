"""Queries, and their local descriptors with who made them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from patchrerank.errors import QueryError
from patchrerank.types.arrays import Floats, float_array
from patchrerank.types.query_views import ViewSource
from patchrerank.types.text import Text

QueryCrop = Literal["none", "box"]


@dataclass(frozen=True)
class LocalDescriptors:
    """Local descriptors of one picture, strongest first; n may be 0.

    Attributes:
        vectors: float32 ``(n, D)``, unit norm.
        positions: float32 ``(n, 2)``, x and y of each descriptor's centre, in [0, 1] of the
            upright picture.
        scales: int16 ``(n,)``, number of the scale at which it was found.
        weights: float32 ``(n,)``, strength by which they were selected; non-increasing.
    """

    vectors: Floats
    positions: Floats
    scales: npt.NDArray[np.int16]
    weights: Floats

    def __len__(self) -> int:
        return len(self.vectors)


@dataclass(frozen=True, eq=False, repr=False)
class LocalQueries(Sequence[LocalDescriptors]):
    """The local descriptors of a batch of queries, and who made them; a part of it keeps both.

    Attributes:
        items: one entry a query.
        identity: of the dense encoder, which must be that of a gallery's local store; empty for
            descriptors whose origin only the caller knows.
        sizes: (height, width) in pixels at which the pictures were seen, one entry a scale.
    """

    items: Sequence[LocalDescriptors]
    identity: str = ""
    sizes: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", tuple(self.items))

    @overload
    def __getitem__(self, place: int) -> LocalDescriptors: ...

    @overload
    def __getitem__(self, place: slice) -> LocalQueries: ...

    def __getitem__(self, place: int | slice) -> LocalDescriptors | LocalQueries:
        if isinstance(place, slice):
            return replace(self, items=self.items[place])
        return self.items[place]

    def __len__(self) -> int:
        return len(self.items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __repr__(self) -> str:
        made_by = f", made by {self.identity[:12]}…" if self.identity else ""
        return f"LocalQueries({len(self)} queries{made_by})"


@dataclass(frozen=True)
class Queries:
    """A batch of encoded queries.

    Attributes:
        vectors: float32 ``(Q, d)``, the global descriptor of each query; unit norm is expected
            (cosine similarity is an inner product everywhere), finite values are required.
        boxes: float32 ``(Q, 4)`` or None: where the object is in each query picture; a NaN row
            means unknown.
        crop: what was done with the box before encoding: ``none`` (the whole picture was
            encoded) or ``box`` (the picture was cut to it, where there is one: see ``crops``).
        masks: where the object is, more exactly, or None: of each query what
            :func:`patchrerank.images.read_mask` takes, or None.
        views: what told each object from its ground, so that it was composed on backgrounds
            (:class:`QueryViews`); ``none``: nothing, it was encoded as it is. Empty: no views.
        encoder: identity of the encoder that made the vectors; None for ready vectors whose
            origin only the caller knows (then only their dimension can be checked).
        images: the query pictures (path or picture object), for rerankers that look again.
        local: the local descriptors of each query, for rerankers that compare them.
        made_by: what the encoder says of itself (its ``describe()``), so that a message can say
            how it differs from a gallery's; None if nobody knows.
        local_encoder: identity of the dense encoder that made them, beside ``encoder``; None for
            descriptors whose origin only the caller knows (then only their dimension can be
            checked). ``encode_local_queries`` says it, and what it returns needs no such word.
        texts: the words, where queries are asked in words and not with pictures.
        aspects: float32 ``(Q,)``, width over height in pixels of the object in each query
            picture, for boxes that are drawn towards it; NaN where unknown, None if nobody looked.
    """

    vectors: Floats
    boxes: Floats | None = None
    crop: QueryCrop = "none"
    encoder: str | None = None
    images: Sequence[Any] | None = None
    local: Sequence[LocalDescriptors] | None = None
    made_by: Mapping[str, Any] | None = None
    local_encoder: str | None = None
    texts: Sequence[Text] | None = None
    aspects: Floats | None = None
    masks: Sequence[Any] | None = None
    views: tuple[ViewSource, ...] = ()

    def __post_init__(self) -> None:
        vectors = float_array(self.vectors, "query vectors", QueryError)
        if vectors.ndim != 2:
            raise QueryError(f"query vectors need the shape (Q, d), got {vectors.shape}")
        if not np.isfinite(vectors).all():
            bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
            raise QueryError(f"query {bad[0]} holds NaN or infinite values; encode it again")
        object.__setattr__(self, "vectors", vectors)
        for name in ("boxes", "images", "local", "texts", "aspects", "masks"):
            value = getattr(self, name)
            if value is not None and len(value) != len(vectors):
                raise QueryError(f"{len(vectors)} query vectors but {len(value)} {name}")
        local, maker = _with_maker(self.local, self.local_encoder)
        object.__setattr__(self, "local", local)
        object.__setattr__(self, "local_encoder", maker)

    @classmethod
    def trusted(cls, vectors: Floats) -> Queries:
        """Return ready vectors, C-contiguous and finite, without looking at them again."""
        made = object.__new__(cls)  # all other fields are the class's own defaults
        object.__setattr__(made, "vectors", vectors)
        return made

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def crops(self) -> tuple[QueryCrop, ...]:
        """What was really done with each query: without a box, nothing was cut."""
        if self.crop == "none" or self.boxes is None:
            return (self.crop,) * len(self)
        return tuple("none" if np.isnan(box).any() else self.crop for box in self.boxes)

    def take(self, numbers: Sequence[int]) -> Queries:
        """Return the queries with these numbers, in this order."""
        kept = list(numbers)
        local = None
        if isinstance(self.local, LocalQueries):
            local = replace(self.local, items=[self.local[number] for number in kept])
        return replace(
            self,
            vectors=self.vectors[kept],
            boxes=None if self.boxes is None else self.boxes[kept],
            images=_taken(self.images, kept),
            local=local,
            texts=_taken(self.texts, kept),
            aspects=None if self.aspects is None else self.aspects[kept],
            masks=_taken(self.masks, kept),
            views=tuple(self.views[number] for number in kept) if self.views else (),
        )

    @property
    def kind(self) -> tuple[object, ...]:
        """What two of them have in common that can be joined."""
        parts = (self.boxes, self.images, self.local, self.texts, self.aspects, self.masks)
        given = tuple(part is not None for part in parts)
        return (*given, bool(self.views), self.crop, self.encoder, self.local_encoder, self.sizes)

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Pixels at which pictures were seen for their local descriptors."""
        return self.local.sizes if isinstance(self.local, LocalQueries) else ()

    @staticmethod
    def joined(parts: Sequence[Queries]) -> Queries:
        """Return queries of one :attr:`kind`, one or more, as one batch, in their order."""
        first = parts[0]
        if len(parts) == 1:
            return first
        local = None
        if isinstance(first.local, LocalQueries):
            local = replace(first.local, items=_all(part.local for part in parts))
        return replace(
            first,
            vectors=np.concatenate([part.vectors for part in parts]),
            boxes=_stacked([part.boxes for part in parts]),
            images=None if first.images is None else _all(part.images for part in parts),
            local=local,
            texts=None if first.texts is None else _all(part.texts for part in parts),
            aspects=_stacked([part.aspects for part in parts]),
            masks=None if first.masks is None else _all(part.masks for part in parts),
            views=tuple(view for part in parts for view in part.views),
        )


def _all(parts: Iterable[Sequence[Any] | None]) -> list[Any]:
    return [item for part in parts for item in part or ()]


def _stacked(parts: Sequence[Floats | None]) -> Floats | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if known else None


def _taken(values: Sequence[Any] | None, kept: Sequence[int]) -> list[Any] | None:
    return None if values is None else [values[number] for number in kept]


def _with_maker(
    local: Sequence[LocalDescriptors] | None, encoder: str | None
) -> tuple[LocalQueries | None, str | None]:
    """Return local descriptors together with who made them; what they say themselves counts."""
    if local is None:
        return None, None
    if not isinstance(local, LocalQueries):
        local = LocalQueries(local)
    if not local.identity and encoder:
        local = replace(local, identity=encoder)
    return local, local.identity or None
