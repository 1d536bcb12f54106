"""Encoders: an image becomes vectors. Importing this package does not import torch."""

from __future__ import annotations

from patchrerank.encoders.base import Encoder
from patchrerank.encoders.loading import load_encoder
from patchrerank.encoders.network import Network
from patchrerank.encoders.preprocessing import Preprocessing
from patchrerank.encoders.whitening import Whitening, learn_whitening

__all__ = [
    "Encoder",
    "Network",
    "Preprocessing",
    "Whitening",
    "learn_whitening",
    "load_encoder",
]
