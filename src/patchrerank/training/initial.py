"""The first weights of a network. Imports torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch

from patchrerank.encoders.checkpoints import load_strictly, read_checkpoint
from patchrerank.encoders.whitening import learn_whitening
from patchrerank.errors import EncoderError, SettingError
from patchrerank.rerankers.networks.ames_network import AmesNetwork
from patchrerank.rerankers.networks.configs import AmesConfig, ElvisConfig
from patchrerank.rerankers.networks.elvis_network import ElvisNetwork
from patchrerank.rerankers.networks.projection import PairNetwork
from patchrerank.rerankers.networks.transformer import Attention, Layer
from patchrerank.types import Floats

Start = Literal["published", "matching"]
"""How weights are drawn; see :func:`new_network`."""

SHARPNESS = 1.2
"""Factor on the orthogonal matrix that projects queries and keys, with ``matching``."""

ITERATIONS = 50
"""Of ITQ."""


def new_network(
    config: AmesConfig | ElvisConfig, descriptors: Floats, seed: int = 0, start: Start = "published"
) -> PairNetwork:
    """Return a network in training mode.

    With ``published`` all weights are drawn as the authors draw them, and a binarised network
    gets an ITQ of the descriptors (:func:`itq`) for its projection. With ``matching`` training
    begins nearer to its end: a full-precision projection to fewer dimensions is a PCA-whitening
    of the descriptors, and in AMES each attention begins to read what is alike, since queries
    and keys are projected alike.

    Args:
        config: the architecture.
        descriptors: float32 ``(n, D0)``, a sample; n well above D0.
        seed: equal seeds, equal weights; torch's own generator is left as it is.
        start: see above.

    Raises:
        SettingError: an unknown start.
        EncoderError: the descriptors are too few, or span too few directions.
    """
    if start not in get_args(Start):
        raise SettingError(f"start is {start!r}; use one of {', '.join(get_args(Start))}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: PairNetwork = (
            AmesNetwork(config) if isinstance(config, AmesConfig) else ElvisNetwork(config)
        )
        with torch.no_grad():
            if config.binarized:
                rotated = itq(descriptors, config.model_dim, seed)
                _parameter(network.remap_local[0], "W").copy_(torch.from_numpy(rotated))
            elif start == "matching" and config.model_dim < config.local_dim:
                _whiten(network, descriptors)
            if start == "matching" and isinstance(network, AmesNetwork):
                for layer in network.decoder.stack:
                    _match(layer)
    return network.train()


def start_from(network: PairNetwork, checkpoint: Path, keep: tuple[str, ...] = ()) -> None:
    """Take over the weights of a checkpoint, all but those whose names begin with ``keep``.

    Raises:
        EncoderError: the file cannot be read, or does not fit.
    """
    given = read_checkpoint(checkpoint)
    own = network.state_dict()
    state = {key: value for key, value in given.items() if not key.startswith(keep or ("\0",))}
    kept = {key: value for key, value in own.items() if keep and key.startswith(keep)}
    load_strictly(network, {**state, **kept}, origin=str(checkpoint))


def itq(descriptors: Floats, dim: int, seed: int = 0) -> Floats:
    """Return a projection to ``dim`` bits by iterative quantisation, float32 ``(D0, dim)``.

    PCA, then a rotation that brings the projected descriptors near to their signs. A projection
    without an offset cannot subtract the mean, so it ignores the mean's direction instead.

    Source: Gong & Lazebnik, "Iterative Quantization: A Procrustean Approach to Learning Binary
    Codes", CVPR 2011.

    Args:
        descriptors: float32 ``(n, D0)``; n above D0.
        dim: at most D0 − 1.
        seed: of the first rotation.

    Raises:
        EncoderError: too few descriptors, or fewer directions than ``dim``.
    """
    vectors = np.asarray(descriptors, dtype=np.float64)
    if dim >= vectors.shape[1] or len(vectors) <= dim:
        raise EncoderError(
            f"ITQ to {dim} bits needs more dimensions and more descriptors than that, got "
            f"{vectors.shape}"
        )
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    mean = vectors.mean(axis=0)
    away = mean / max(float(np.linalg.norm(mean)), 1e-12)
    vectors = vectors - np.outer(vectors @ away, away)
    _, directions = np.linalg.eigh(vectors.T @ vectors)
    basis = directions[:, ::-1][:, :dim]
    projected = vectors @ basis
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))[0]
    for _ in range(ITERATIONS):
        left, _, right = np.linalg.svd(np.sign(projected @ rotation).T @ projected)
        rotation = (left @ right).T
    return np.ascontiguousarray(basis @ rotation, dtype=np.float32)


def _whiten(network: PairNetwork, descriptors: Floats) -> None:
    """Let the projection begin as a PCA-whitening of unit descriptors."""
    found = learn_whitening(descriptors, network.model_dim)
    matrix = torch.from_numpy(found.matrix)
    _parameter(network.remap_local[0], "weight").copy_(matrix.T)
    _parameter(network.remap_local[0], "bias").copy_(-torch.from_numpy(found.mean) @ matrix)


def _match(layer: Layer) -> None:
    """Let queries and keys of both attentions be projected by one matrix each."""
    dim = layer.self_attn.out_proj.in_features
    for attention in (layer.self_attn, layer.cross_attn):
        weights = attention.in_proj_weight
        weights[dim : 2 * dim] = weights[:dim]
    turned = nn_orthogonal(dim) * SHARPNESS
    _both(layer.cross_attn, turned)


def nn_orthogonal(dim: int) -> torch.Tensor:
    """Return a random orthogonal matrix ``(dim, dim)`` from torch's generator."""
    return torch.nn.init.orthogonal_(torch.empty(dim, dim))


def _both(attention: Attention, matrix: torch.Tensor) -> None:
    dim = matrix.shape[0]
    attention.in_proj_weight[:dim] = matrix
    attention.in_proj_weight[dim : 2 * dim] = matrix


def _parameter(module: torch.nn.Module, name: str) -> torch.Tensor:
    found = module.get_parameter(name)
    return found
