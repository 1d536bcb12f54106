"""On what stages were tuned, and whether another gallery gives scores on the same scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from patchrerank.encoders import QueryPart
from patchrerank.gallery.identity import (
    encoder_identity,
    index_options,
    is_imported,
    is_module,
    settings_of,
)
from patchrerank.records import check_within
from patchrerank.types import QueryCrop, QueryViews

if TYPE_CHECKING:
    from patchrerank.encoders import DenseEncoder
    from patchrerank.gallery import Gallery


@dataclass(frozen=True)
class TunedLocal:
    """Which local descriptors were compared.

    Attributes:
        fingerprint: of the dense encoder of the gallery's; empty if nobody knows.
        image_size: (height, width) in pixels of the gallery's pictures; None if nobody knows.
        query_image_size: of the query pictures.
        query_part: which part of them was searched for
            (:class:`patchrerank.encoders.Selection`).
    """

    fingerprint: str
    image_size: tuple[int, int] | None
    query_image_size: tuple[int, int]
    query_part: QueryPart

    def other_queries(self, dense_encoder: DenseEncoder) -> Iterator[str]:
        """Say how the queries' descriptors differ from those it was tuned with."""
        part = dense_encoder.selection.query_part
        if tuple(dense_encoder.image_size) != self.query_image_size or part != self.query_part:
            yield (
                f"tuned with the queries' local descriptors ({self.query_part}) at "
                f"{self.query_image_size} pixels, but the dense encoder makes them ({part}) at "
                f"{tuple(dense_encoder.image_size)}"
            )


@dataclass(frozen=True)
class TunedOn:
    """What the stages were tuned on, and so where they hold.

    Attributes:
        dataset: fingerprint of the data set.
        encoder: spec of the gallery's encoder.
        identity: of what made the gallery's vectors before any whitening: encoder, weights, image
            size, precision.
        regions: spec of the gallery's regions.
        store: how its patch vectors are stored.
        query_crop: what was done with the queries' boxes.
        candidates: how many the first stage gave for each query.
        local: the local descriptors; None if no stage compares any.
        query_views: how the queries' objects were composed on backgrounds; None: they were not.
        whiten: to how many dimensions the gallery was whitened; None: it was not.
    """

    dataset: str
    encoder: str
    identity: str
    regions: str
    store: str
    query_crop: QueryCrop
    candidates: int
    local: TunedLocal | None = None
    query_views: QueryViews | None = None
    whiten: int | None = None

    def __post_init__(self) -> None:
        check_within(1, float("inf"), candidates=self.candidates)

    @classmethod
    def of(
        cls,
        gallery: Gallery,
        dataset: str,
        candidates: int,
        query_crop: QueryCrop = "none",
        dense_encoder: DenseEncoder | None = None,
        query_views: QueryViews | None = None,
    ) -> TunedOn:
        """Describe a gallery.

        Args:
            gallery: that was tuned on.
            dataset: fingerprint of the data set.
            candidates: of each query's shortlist.
            query_crop: what was done with the queries' boxes.
            dense_encoder: made the local descriptors of the queries; None: no stage used any.
            query_views: how their objects were composed on backgrounds; None: they were not.
        """
        made = gallery.manifest
        return cls(
            dataset=dataset,
            encoder=str(made.encoder.get("spec", "")),
            identity=encoder_identity(made),
            regions=made.regions,
            store=made.store,
            query_crop=query_crop,
            candidates=candidates,
            local=None if dense_encoder is None else _local(gallery, dense_encoder),
            query_views=query_views,
            whiten=_whitened(gallery),
        )

    def other_scale(self, gallery: Gallery, dense_encoder: DenseEncoder | None) -> Iterator[str]:
        """Say what makes scores lie on another scale here than where the stages were tuned."""
        made, identity = gallery.manifest, encoder_identity(gallery.manifest)
        if identity != self.identity:
            spec = made.encoder.get("spec")
            yield (
                f"tuned with the encoder {self.encoder!r} ({self.identity[:12]}…), but the gallery "
                f"{gallery.folder} is of {spec!r} ({identity[:12]}…), with other weights or "
                f"settings ({settings_of(gallery.manifest)})"
            )
        else:
            yield from self._other_whitening(gallery)
        if self.local is None:
            return
        if gallery.has_local and self.local.fingerprint != gallery.local.manifest.fingerprint:
            yield (
                f"tuned with local descriptors of {self.local.image_size} pixels "
                f"({self.local.fingerprint[:12]}…), but those of the gallery {gallery.folder} are "
                f"others ({gallery.local.manifest.fingerprint[:12]}…)"
            )
        if dense_encoder is not None:
            yield from self.local.other_queries(dense_encoder)

    def _other_whitening(self, gallery: Gallery) -> Iterator[str]:
        """Say whether a gallery of the same encoder is whitened otherwise, and what mends it.

        Dimensions must agree, matrices need not: each is learned on its own gallery's pictures,
        and the one tuned on is of the benchmark, never of the pictures searched. Either makes its
        own pictures' patches vary alike in every direction, so that cosines of what does not match
        lie around 0 within about 1 / √D; without whitening, or with another D, they lie elsewhere.
        """
        made, here = gallery.manifest, _whitened(gallery)
        if here == self.whiten:
            return
        fitting = f"{_option(self.whiten)} --store {self.store}".strip()
        plain = here is None and made.store in ("float32", "float16")
        if plain or is_module(made.encoder) or is_imported(made.encoder):
            command = f"compress {gallery.folder if plain else 'PLAIN_GALLERY'} FOLDER {fitting}"
        else:
            encoder = index_options(made.encoder)
            command = f"index PICTURES FOLDER {encoder} --regions {made.regions} {fitting}"
        yield (
            f"tuned on a gallery {_in_words(self.whiten)}, but {gallery.folder} is "
            f"{_in_words(here)}; make a gallery that fits: `patchrerank {command}`; or tune for "
            f"this one: `patchrerank tune … {f'{_option(here)} --store {made.store}'.strip()}`"
        )

    def other_regions(self, gallery: Gallery) -> Iterator[str]:
        """Say what else differs: scores shift a little."""
        made = gallery.manifest
        for name, here in (("regions", made.regions), ("store", made.store)):
            if here != getattr(self, name):
                yield f"tuned with {name} {getattr(self, name)}, the gallery has {here}"


def _whitened(gallery: Gallery) -> int | None:
    return gallery.manifest.dim if gallery.manifest.whitened else None


def _option(whiten: int | None) -> str:
    return "" if whiten is None else f"--whiten {whiten}"


def _in_words(whiten: int | None) -> str:
    return "not whitened" if whiten is None else f"whitened to {whiten} dimensions"


def _local(gallery: Gallery, dense_encoder: DenseEncoder) -> TunedLocal:
    made = gallery.local.manifest
    sizes = cast("list[list[int]]", made.encoder.get("sizes") or [])
    height, width = dense_encoder.image_size
    return TunedLocal(
        fingerprint=made.fingerprint,
        image_size=(sizes[0][0], sizes[0][1]) if sizes else None,
        query_image_size=(height, width),
        query_part=dense_encoder.selection.query_part,
    )
