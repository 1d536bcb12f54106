"""The first weights of a network. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from patchrerank.encoders.checkpoints import check_finite, load_strictly, read_content, weights_in
from patchrerank.encoders.spectrum import learn_spectrum
from patchrerank.errors import EncoderError, SettingError
from patchrerank.rerankers.networks.ames_network import AmesNetwork
from patchrerank.rerankers.networks.configs import AmesConfig, ElvisConfig
from patchrerank.rerankers.networks.elvis_network import ElvisNetwork
from patchrerank.rerankers.networks.projection import PairNetwork
from patchrerank.rerankers.networks.transformer import Attention, Layer
from patchrerank.rerankers.trained import Trained, trained_in
from patchrerank.training.signs import imitate, itq
from patchrerank.types import Floats

Start = Literal["published", "matching"]
"""How weights are drawn; see :func:`new_network`."""

REMAP = "remap_local."
"""What the names of a projection's weights begin with."""

_PROJECTION = {f"{REMAP}0.weight", f"{REMAP}1.weight"}
"""A full-precision checkpoint has both; a binarised one has the second alone."""

SHARPNESS = 1.2
"""Factor on the orthogonal matrix that projects queries and keys, with ``matching``."""


def new_network(
    config: AmesConfig | ElvisConfig, descriptors: Floats, seed: int = 0, start: Start = "published"
) -> PairNetwork:
    """Return a network in training mode.

    With ``published`` all weights are drawn as the authors draw them, and a binarised network
    gets an ITQ of the descriptors for its projection. With ``matching`` training
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


def start_from(network: PairNetwork, checkpoint: Path, descriptors: Floats, seed: int = 0) -> None:
    """Take over the weights of a checkpoint.

    A binarised network also takes those of a full-precision one: all layers as they are, and for
    the projection signs that imitate it (see :func:`~patchrerank.training.signs.imitate`).

    Args:
        network: its weights are replaced.
        checkpoint: of a network of the same sizes.
        descriptors: float32 ``(n, D0)``, a sample, as in :func:`new_network`.
        seed: of the imitation.

    Raises:
        EncoderError: the file cannot be read, does not fit, was trained with other heads
            or the like, or holds NaN; the descriptors are too few.
    """
    content, origin = read_content(checkpoint), str(checkpoint)
    given = weights_in(content, origin)
    check_finite(given, origin)
    _check_hidden(network, given, trained_in(content, origin))
    if not network.binarized or not given.keys() >= _PROJECTION:
        load_strictly(network, given, origin=origin)
        return
    layers = {key: value for key, value in given.items() if not key.startswith(REMAP)}
    own = {key: v for key, v in network.state_dict().items() if key.startswith(REMAP)}
    load_strictly(network, {**layers, **own}, origin=origin)
    linear, norm = _of_full_precision(network, given, origin)
    imitate(network, linear, norm, descriptors, seed)


def _check_hidden(
    network: PairNetwork, given: Mapping[str, torch.Tensor], trained: Trained
) -> None:
    """Refuse weights that were trained with, say, other heads than the network has."""
    if trained.config is None:
        return
    own: Any = network
    known = trained.complete(type(own.config).of_state(given, trained.origin))
    for name in known.HIDDEN:
        was, now = getattr(known, name), getattr(own.config, name)
        if was != now:
            raise EncoderError(
                f"{trained.origin} does not fit: trained with {name} {was}, not {now}"
            )


def _of_full_precision(
    network: PairNetwork, given: Mapping[str, torch.Tensor], origin: str
) -> tuple[torch.nn.Linear, torch.nn.LayerNorm]:
    """Return a full-precision projection from the weights of a checkpoint."""
    linear = torch.nn.Linear(network.local_dim, network.model_dim)
    norm = torch.nn.LayerNorm(network.model_dim)
    projection = torch.nn.Sequential(linear, norm)
    state = {k.removeprefix(REMAP): v for k, v in given.items() if k.startswith(REMAP)}
    load_strictly(projection, state, origin=origin)
    return linear, norm


def _whiten(network: PairNetwork, descriptors: Floats) -> None:
    """Let the projection begin as a PCA-whitening of unit descriptors."""
    found = learn_spectrum(descriptors, shrinkage=0.0).whitening(network.model_dim)
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
