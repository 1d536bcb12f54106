"""Who made imported vectors, as a manifest records it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from patchrerank.errors import GalleryError, SettingError, described
from patchrerank.gallery.identity import IMPORTED
from patchrerank.gallery.manifest import WhiteningRecord

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder, Whitening


@dataclass(frozen=True)
class Origin:
    """What made vectors.

    Attributes:
        encoder: its record, as in a manifest.
        identity: what a query's encoder must match.
        dim: dimensions of its vectors; None: not known.
        whitening: that is applied behind it; None: there is none, or nobody has it.
        learned: how; None: there is none, or nobody recorded it.
    """

    encoder: Mapping[str, object]
    identity: str
    dim: int | None = None
    whitening: Whitening | None = None
    learned: WhiteningRecord | None = None

    def check(self, dim: int) -> None:
        """Refuse vectors of another length than it makes.

        Raises:
            GalleryError: names both.
        """
        if self.whitening is not None and self.whitening.dim != dim:
            raise GalleryError(
                f"the vectors have {dim} dimensions, their whitening makes {self.whitening.dim}"
            )
        if self.dim not in (None, dim):
            raise GalleryError(
                f"the vectors have {dim} dimensions, those of {self.encoder.get('spec')} have "
                f"{self.dim}; name what made them, in words if it is no encoder of ours"
            )


def origin_of(encoder: str | Encoder | Origin) -> Origin:
    """Return what made vectors.

    Args:
        encoder: what ``load_encoder`` returned; the spec of one, which is loaded; or any other
            text, which says whose vectors they are.

    Raises:
        SettingError: none of these, or an empty text.
        EncoderError: the spec's encoder cannot be loaded.
    """
    if isinstance(encoder, Origin):
        return encoder
    if isinstance(encoder, str):
        if not encoder.strip():
            raise SettingError("encoder is empty; say what made the vectors, as a spec or in words")
        if not _is_spec(encoder):
            said = {"spec": encoder, "architecture": IMPORTED, "precision": "unknown"}
            return Origin(said, encoder)
        from patchrerank.encoders import load_encoder

        encoder = load_encoder(encoder)
    if not hasattr(encoder, "fingerprint"):
        raise SettingError(
            f"the encoder is {described(encoder)}; say what made the vectors: what load_encoder(…) "
            "returned, its spec, or any text"
        )
    return Origin(dict(encoder.describe()), encoder.fingerprint, encoder.dim)


def _is_spec(text: str) -> bool:
    """Tell the name of an encoder of ours from a free text."""
    from patchrerank.encoders import PRESETS
    from patchrerank.encoders.loading import LOADERS

    return text in PRESETS or text.partition(":")[0].partition("?")[0] in LOADERS
