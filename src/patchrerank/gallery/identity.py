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
    return combined_identity(encoder.fingerprint, whitening)


def combined_identity(identity: str, whitening: Whitening) -> str:
    """Return the identity of vectors that are whitened after ``identity`` made them."""
    return hashlib.sha256(f"{identity}+{whitening.fingerprint}".encode()).hexdigest()
