"""Who made a vector: the identity that queries and galleries must share."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder, Whitening


def identity_of(encoder: Encoder, whitening: Whitening | None = None) -> str:
    """Return a digest of encoder (weights, preprocessing, precision) and whitening."""
    if whitening is None:
        return encoder.fingerprint
    return hashlib.sha256(f"{encoder.fingerprint}+{whitening.fingerprint}".encode()).hexdigest()
