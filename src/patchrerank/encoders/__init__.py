"""Encoders: an image becomes vectors. Importing this package does not import torch."""

from __future__ import annotations

from patchrerank.encoders.base import Encoder
from patchrerank.encoders.composing import ComposedViews, compose_views
from patchrerank.encoders.dense_encoder import DenseEncoder
from patchrerank.encoders.dense_loading import load_dense_encoder
from patchrerank.encoders.detector import QueryPart, Selection
from patchrerank.encoders.foreground import foreground_mask
from patchrerank.encoders.loading import load_encoder
from patchrerank.encoders.mask_pooling import MaskPooling, mask_pooling_of
from patchrerank.encoders.network import Network
from patchrerank.encoders.one_pass import OnePassEncoder
from patchrerank.encoders.one_pass_loading import load_one_pass
from patchrerank.encoders.picking import restrict, salient_part
from patchrerank.encoders.preprocessing import Preprocessing
from patchrerank.encoders.presets import PRESETS, Preset
from patchrerank.encoders.query_object import QueryObject, find_object
from patchrerank.encoders.spectrum import Spectrum, learn_spectrum
from patchrerank.encoders.text_encoder import TextEncoder, encode_texts
from patchrerank.encoders.views import OnePass, View
from patchrerank.encoders.whitening import Whitening

__all__ = [
    "PRESETS",
    "ComposedViews",
    "DenseEncoder",
    "Encoder",
    "MaskPooling",
    "Network",
    "OnePass",
    "OnePassEncoder",
    "Preprocessing",
    "Preset",
    "QueryObject",
    "QueryPart",
    "Selection",
    "Spectrum",
    "TextEncoder",
    "View",
    "Whitening",
    "compose_views",
    "encode_texts",
    "find_object",
    "foreground_mask",
    "learn_spectrum",
    "load_dense_encoder",
    "load_encoder",
    "load_one_pass",
    "mask_pooling_of",
    "restrict",
    "salient_part",
]
