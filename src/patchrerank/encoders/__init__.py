"""Encoders: an image becomes vectors. Importing this package does not import torch."""

from __future__ import annotations

from patchrerank.encoders.base import Encoder
from patchrerank.encoders.dense_encoder import DenseEncoder
from patchrerank.encoders.dense_loading import load_dense_encoder
from patchrerank.encoders.detector import QueryPart, Selection
from patchrerank.encoders.foreground import foreground_mask
from patchrerank.encoders.loading import load_encoder
from patchrerank.encoders.network import Network
from patchrerank.encoders.one_pass import OnePassEncoder
from patchrerank.encoders.one_pass_loading import load_one_pass
from patchrerank.encoders.picking import restrict, salient_part
from patchrerank.encoders.preprocessing import Preprocessing
from patchrerank.encoders.presets import PRESETS, Preset
from patchrerank.encoders.spectrum import Spectrum, learn_spectrum
from patchrerank.encoders.text_encoder import TextEncoder, encode_texts
from patchrerank.encoders.views import OnePass, View
from patchrerank.encoders.whitening import Whitening

__all__ = [
    "PRESETS",
    "DenseEncoder",
    "Encoder",
    "Network",
    "OnePass",
    "OnePassEncoder",
    "Preprocessing",
    "Preset",
    "QueryPart",
    "Selection",
    "Spectrum",
    "TextEncoder",
    "View",
    "Whitening",
    "encode_texts",
    "foreground_mask",
    "learn_spectrum",
    "load_dense_encoder",
    "load_encoder",
    "load_one_pass",
    "restrict",
    "salient_part",
]
