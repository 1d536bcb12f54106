"""The encoders of a gallery's queries, loaded when a picture comes."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from patchrerank.encoders import QueryPart, Selection, load_dense_encoder
from patchrerank.gallery import Gallery, load_own_encoder
from patchrerank.gallery.own_encoder import check_encoder

if TYPE_CHECKING:
    from patchrerank.encoders import DenseEncoder, Encoder

QUERY_SIZE = 224
"""Side of query pictures for local descriptors, in pixels."""


class QueryEncoders:
    """What encodes query pictures as a gallery's own pictures were encoded.

    Nothing is loaded before it is asked for, and a pickle carries what it takes to load it.

    Args:
        gallery: whose record names the encoder.
        encoder: one that is loaded already; None: the gallery's own.
        device: of the encoder that is loaded.
        query_size: (height, width) in pixels at which local descriptors of queries are made.
        query_part: which of them are kept (:class:`patchrerank.encoders.Selection`).

    Raises:
        SettingError, QueryError: ``encoder`` is none, or not the gallery's.
    """

    def __init__(
        self,
        gallery: Gallery,
        encoder: Encoder | None = None,
        device: str = "auto",
        query_size: tuple[int, int] = (QUERY_SIZE, QUERY_SIZE),
        query_part: QueryPart = "box",
    ) -> None:
        if encoder is not None:
            check_encoder(gallery, encoder)
        self._gallery, self._given, self._device = gallery, encoder, device
        self._query_size, self._selection = query_size, Selection(query_part=query_part)

    @cached_property
    def encoder(self) -> Encoder:
        """Makes the global vector of a query.

        Raises:
            EncoderError, QueryError: it cannot be loaded, or is not what it was.
        """
        return self._given or load_own_encoder(self._gallery, self._device)

    @cached_property
    def dense_encoder(self) -> DenseEncoder | None:
        """Makes the local descriptors of a query; None where the gallery has none to compare.

        Raises:
            EncoderError: the network has no local descriptors, or the size does not suit it.
        """
        if not self._gallery.has_local:
            return None
        return load_dense_encoder(
            self.encoder, image_size=self._query_size, selection=self._selection
        )

    def __getstate__(self) -> dict[str, object]:
        loaded = ("encoder", "dense_encoder")
        return {name: value for name, value in vars(self).items() if name not in loaded}
