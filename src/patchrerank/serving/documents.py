"""Pictures as documents: encoded as the gallery's own were, and kept for the next request."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from patchrerank.encoders import load_one_pass
from patchrerank.gallery import Gallery
from patchrerank.gallery.own_encoder import own_regions
from patchrerank.gallery.preparing import prepare_image
from patchrerank.gallery.region_vectors import chunk_rows
from patchrerank.images import PictureBytes
from patchrerank.integrations.stores.evidence import Evidence
from patchrerank.integrations.stores.records import Record
from patchrerank.pipeline import Cascade, make_cascade
from patchrerank.serving.loaded import Loaded
from patchrerank.serving.refusals import RequestError
from patchrerank.types import Floats, Rows

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder, Whitening
    from patchrerank.gallery.backgrounds import Backgrounds
    from patchrerank.gallery.local_manifest import LocalManifest
    from patchrerank.gallery.manifest import Manifest

NAME = "the pictures that were sent"


@dataclass
class SentPictures:
    """What stands in a store's place: pictures that nobody keeps."""

    space: Manifest
    whitening: Whitening | None
    records: Mapping[str, Record]
    name: str = NAME
    backgrounds: Backgrounds | None = None
    local_manifest: LocalManifest | None = None
    holds_local: ClassVar[bool] = False

    @property
    def local_sample(self) -> Floats:
        """No local descriptors are made of them."""
        return np.zeros((0, 0), dtype=np.float32)

    def keys_of(self, ids: Sequence[Any]) -> list[str]:
        """Return the keys of ids, which are themselves."""
        return list(ids)

    def held(self, keys: Sequence[str]) -> set[str]:
        """Return which are there: all."""
        return set(keys)

    def fetched(self, keys: Sequence[str]) -> Mapping[str, Record]:
        """Return the pictures that are encoded."""
        return self.records

    def fetched_local(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """Return no local descriptors."""
        return {}


class SentGallery(Evidence):
    """Pictures that were sent, as rerankers look at a gallery; ids are their digests.

    Args:
        loaded: the gallery whose encoder encoded them.
        keys: digests, in the order of rows.
        found: their vectors; none while they are not encoded.
    """

    def __init__(self, loaded: Loaded, keys: Sequence[str], found: Mapping[str, Record]) -> None:
        space = replace(loaded.gallery.manifest, id_type="text")
        super().__init__(SentPictures(space, loaded.gallery.whitening, found), keys)
        self._rows = {key: row for row, key in enumerate(keys)}

    def rows_of(self, ids: Sequence[Any], *, strict: bool = True) -> Rows:
        """Return the rows of digests, int64 ``(n,)``, all of which are there."""
        return np.array([self._rows[key] for key in ids], dtype=np.int64)


class PictureVectors:
    """Vectors of pictures, the last ones kept; for one thread.

    Args:
        most: bytes that are kept.
        max_pixels: of a picture.
    """

    def __init__(self, most: int, max_pixels: int) -> None:
        self._most, self._max_pixels = most, max_pixels
        self._kept: OrderedDict[tuple[str, str, str], Record] = OrderedDict()
        self.nbytes = 0

    def cascade(
        self, loaded: Loaded, pictures: Mapping[str, PictureBytes], until: float
    ) -> Cascade:
        """Return a service's stages on pictures in place of its gallery.

        Args:
            loaded: whose encoder, regions and stages are used.
            pictures: by their digests.
            until: when, as ``time.monotonic()`` counts, there is no use in going on.

        Raises:
            RequestError: a stage needs more than patches; or time is up.
            ImageError: a picture cannot be read; it is named.
            QueryError: the gallery was imported, with vectors that only its owner can make.
        """
        if loaded.local_stages:
            raise RequestError(
                f"pictures as documents are compared by their patches; this service has the stage "
                f"{loaded.local_stages[0]}, which needs local descriptors: send ids of the gallery"
            )
        found = {key: self._record(loaded, key, pictures[key], until) for key in pictures}
        evidence = SentGallery(loaded, list(pictures), found)
        recipe = loaded.recipe
        return make_cascade(
            recipe.stages,
            cast(Gallery, evidence),
            query_crop=recipe.query_crop,
            images=pictures,
            calibration=recipe.calibration,
        ).with_query_views(recipe.query_views)

    def _record(self, loaded: Loaded, key: str, picture: PictureBytes, until: float) -> Record:
        made = loaded.gallery.manifest
        known = (made.identity, made.regions, key)
        if known in self._kept:
            self._kept.move_to_end(known)
            return self._kept[known]
        if time.monotonic() > until:
            raise RequestError("there was no time left to encode all pictures", 503, 1)
        record = self._encoded(loaded, key, picture)
        self._kept[known] = record
        self.nbytes += record.nbytes
        while self.nbytes > self._most:
            self.nbytes -= self._kept.popitem(last=False)[1].nbytes
        return record

    def _encoded(self, loaded: Loaded, key: str, picture: PictureBytes) -> Record:
        encoder, whitening = index_encoder(loaded), loaded.gallery.whitening
        regions = own_regions(loaded.gallery)
        item = prepare_image(encoder, regions, picture.name, picture, self._max_pixels)

        def encode(cuts: Any) -> Any:
            vectors = encoder.encode_regions(cuts)
            return vectors if whitening is None else whitening.apply(vectors)

        (row,), _ = chunk_rows([item], [item.cuts], encode, skip=False)
        return Record(key, row.global_vector, row.patches, row.boxes, row.size)


def index_encoder(loaded: Loaded) -> Encoder:
    """Return the encoder of a gallery's own pictures, which pools as it did.

    Raises:
        EncoderError, QueryError: it cannot be loaded.
    """
    encoder = loaded.reranker.query_encoder()
    assert encoder is not None, "a cascade of load_reranker has one, or raises why not"
    views = loaded.gallery.manifest.encoder.get("one_pass")
    return encoder if views is None else load_one_pass(encoder, str(views).partition(":")[2])
