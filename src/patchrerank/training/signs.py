"""First projections of binarised networks: ITQ, and signs that imitate a full-precision one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from patchrerank.errors import EncoderError
from patchrerank.rerankers.networks.projection import PairNetwork
from patchrerank.types import Floats

Doubles = npt.NDArray[np.float64]

ITERATIONS = 50
"""Of ITQ."""


def itq(descriptors: Floats, dim: int, seed: int = 0, through: Doubles | None = None) -> Floats:
    """Return a projection to ``dim`` bits by iterative quantisation, float32 ``(D0, dim)``.

    PCA, then a rotation that brings the projected descriptors near to their signs. A projection
    without an offset cannot subtract the mean, so it ignores the mean's direction instead.

    Source: Gong & Lazebnik, "Iterative Quantization: A Procrustean Approach to Learning Binary
    Codes", CVPR 2011.

    Args:
        descriptors: float32 ``(n, D0)``; n above D0.
        dim: at most D0 − 1.
        seed: of the first rotation.
        through: float64 ``(D0, d)``, a projection to begin with, d at least ``dim``; None: none.

    Raises:
        EncoderError: too few descriptors, or fewer directions than ``dim``.
    """
    vectors = np.asarray(descriptors, dtype=np.float64)
    if dim >= vectors.shape[1] or len(vectors) <= dim:
        raise EncoderError(
            f"ITQ to {dim} bits needs more dimensions and more descriptors than that, got "
            f"{vectors.shape}"
        )
    vectors, mean = _unit(vectors)
    away = mean / max(float(np.linalg.norm(mean)), 1e-12)
    first = np.eye(vectors.shape[1]) if through is None else through
    first = first - np.outer(away, away @ first)
    vectors = vectors @ first
    _, directions = np.linalg.eigh(vectors.T @ vectors)
    basis = directions[:, ::-1][:, :dim]
    projected = vectors @ basis
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))[0]
    for _ in range(ITERATIONS):
        left, _, right = np.linalg.svd(np.sign(projected @ rotation).T @ projected)
        rotation = (left @ right).T
    return np.ascontiguousarray(first @ basis @ rotation, dtype=np.float32)


def imitate(
    network: PairNetwork,
    linear: torch.nn.Linear,
    norm: torch.nn.LayerNorm,
    descriptors: Floats,
    seed: int = 0,
) -> None:
    """Let a binarised network's projection begin near to that of a full-precision one.

    Signs are taken of what the layer norm lets through, rotated by ITQ; the linear layer behind
    them restores, by least squares, what came out of ``linear``.

    Args:
        network: binarised; its projection is replaced.
        linear: D0 → D.
        norm: the layer norm behind it.
        descriptors: float32 ``(n, D0)``, a sample; n well above D0.
        seed: of the rotation.

    Raises:
        EncoderError: too few descriptors.
    """
    weight = linear.weight.detach().double().numpy()
    scale = norm.weight.detach().double().numpy()
    shown = ((weight - weight.mean(axis=0)) * scale[:, None]).T
    signs = itq(descriptors, network.model_dim, seed, shown)
    vectors, _ = _unit(np.asarray(descriptors, dtype=np.float64))
    wanted = vectors @ weight.T + linear.bias.detach().double().numpy()
    known = np.column_stack([np.sign(vectors @ signs), np.ones(len(vectors))])
    found = np.linalg.lstsq(known, wanted, rcond=None)[0]
    state = {
        "0.W": signs,
        "1.weight": found[:-1].T,
        "1.bias": found[-1],
        **{f"2.{name}": value.detach().numpy() for name, value in norm.named_parameters()},
    }
    network.remap_local.load_state_dict(
        {name: torch.tensor(value, dtype=torch.float32) for name, value in state.items()}
    )


def _unit(vectors: Doubles) -> tuple[Doubles, Doubles]:
    """Return vectors of length 1, and their mean."""
    unit: Doubles = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit, unit.mean(axis=0)
