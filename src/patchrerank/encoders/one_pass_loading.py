"""From a crop encoder to one that pools regions from one pass."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from patchrerank.boxes import WHOLE_IMAGE
from patchrerank.encoders.backends.agreement import LEAST_COSINE, agreement_crops, least_cosine
from patchrerank.encoders.backends.choosing import open_backend
from patchrerank.encoders.backends.torch_eager import TorchEager
from patchrerank.encoders.base import Encoder
from patchrerank.encoders.loading import network_from_module, network_from_spec
from patchrerank.encoders.network import Network, Request
from patchrerank.encoders.normalise import normalise_rows
from patchrerank.encoders.one_pass import Head, MapRunner, OnePassEncoder
from patchrerank.encoders.region_pooling import pool_regions
from patchrerank.encoders.views import OnePass, View
from patchrerank.errors import EncoderError, short_reason
from patchrerank.types import Floats

if TYPE_CHECKING:
    import torch

    from patchrerank.encoders.cell_centres import Placement
    from patchrerank.encoders.feature_maps import MapNetwork

Size = tuple[int, int]


def load_one_pass(
    encoder: Encoder,
    settings: OnePass | str = "448",
    *,
    maps: torch.nn.Module | None = None,
    stride: int = 1,
) -> OnePassEncoder:
    """Return an encoder that pools gallery regions from one pass over the picture, or few.

    It encodes whole crops (queries) as ``encoder`` does, and has its identity. A region's vector
    is what the network would return if its last feature map were averaged over the region only;
    the cells around it have seen beyond its border. Networks fit whose vector is made from the
    mean of that map (``efficientnet_lite0``, most convolutional networks of timm, the ConvNeXts
    of OpenCLIP, transformers that average their tokens); with class tokens or attention pooling
    they do not. Whether one fits is tried on fixed pictures.

    Args:
        encoder: from ``load_encoder``.
        settings: the views and the pooling, or text for :meth:`OnePass.parse`.
        maps: for an encoder made from a module: the module that returns the map ``(B, d, h, w)``
            whose mean is the encoder's vector.
        stride: of ``maps``: the pixels a cell covers, to multiples of which views are rounded.

    Raises:
        EncoderError: the encoder's vectors are not made from the mean of its feature map, or it
            refuses a view's size.
    """
    wanted = OnePass.parse(settings) if isinstance(settings, str) else settings
    from patchrerank.encoders.cell_centres import placement_of
    from patchrerank.encoders.feature_maps import open_map_network

    network = _network(encoder, maps)
    native = open_map_network(network, stride).eval().requires_grad_(False)
    head = _open_head(network)
    _check_fit(encoder, network, native, head)
    placement = placement_of(network, native)
    runners = tuple(_runner(encoder, network, native, placement, view) for view in wanted.views)
    rounded = tuple(
        View(runner.preprocessing.image_size[1], view.tiles)
        for runner, view in zip(runners, wanted.views, strict=True)
    )
    made = replace(wanted, views=rounded)
    return OnePassEncoder(encoder, runners, head, made, load_one_pass)


def _network(encoder: Encoder, maps: torch.nn.Module | None) -> Network:
    if not encoder.architecture.startswith("module:"):
        size = encoder.preprocessing.image_size
        request = Request(
            preprocessing=encoder.preprocessing, image_size=size, pretrained=encoder.pretrained
        )
        return network_from_spec(encoder.spec, request)
    if maps is None:
        raise EncoderError(
            f"{encoder!r} was made from a torch module, which returns vectors; pass maps=, a "
            "module that returns the feature map (B, d, h, w) in front of the mean"
        )
    return network_from_module(maps, encoder.preprocessing, "maps")


def _open_head(network: Network) -> Head:
    """Return the network's head as a function on arrays; it runs where the network's weights are.

    Raises:
        EncoderError: a kind of network whose vector is not made from its map's mean.
    """
    import torch

    from patchrerank.encoders.pooled_head import open_pooled_head

    head = open_pooled_head(network).eval()

    def run(means: Floats) -> Floats:
        weight = next(head.parameters(), torch.empty(0))
        with torch.inference_mode():
            found = head(torch.from_numpy(means).to(weight.device, weight.dtype))
        return np.asarray(found.float().cpu().numpy())

    return run


def _runner(
    encoder: Encoder, network: Network, native: MapNetwork, placement: Placement, view: View
) -> MapRunner:
    own = encoder.preprocessing.image_size
    scale = view.side / (own[0] * own[1]) ** 0.5
    height, width = (
        max(1, int(side * scale / step + 0.5)) * step
        for side, step in zip(own, native.stride, strict=True)
    )
    size = (height, width)
    cells = placement.cells(size, _map_grid(native, size))
    backend = open_backend(
        _flat(network, native, size),
        encoder.backend.name,
        device=encoder.device,
        precision=encoder.precision,
        batch_size=max(1, round(encoder.batch_size * own[0] * own[1] / (height * width))),
        convertible=True,
    )
    return MapRunner(backend, replace(encoder.preprocessing, image_size=size), cells)


def _map_grid(native: MapNetwork, size: Size) -> Size:
    """Return the cells of the map of pictures of that size, (h, w), by making one.

    Raises:
        EncoderError: the network refuses the size, or returns no map.
    """
    import torch

    with torch.no_grad():
        try:
            found = native.at_size(size)(torch.zeros(1, 3, *size))
            _, _, height, width = found.shape
        except EncoderError:
            raise
        except Exception as error:
            raise EncoderError(
                f"the network returns no feature map for pictures of {size[0]} × {size[1]} pixels "
                f"({short_reason(error)}); one pass needs a network that "
                "takes other sizes than its own"
            ) from error
    return int(height), int(width)


def _flat(network: Network, native: MapNetwork, size: Size) -> Network:
    """Return the network that returns its map at that size as one vector, cell by cell."""
    from patchrerank.encoders.feature_maps import FlatMap

    settings = replace(network.preprocessing, image_size=size)
    return replace(network, module=FlatMap(native.at_size(size)), preprocessing=settings)


def _check_fit(encoder: Encoder, network: Network, native: MapNetwork, head: Head) -> None:
    """Compare the head's output for the mean of whole maps with the encoder's own vectors.

    Raises:
        EncoderError: they differ.
    """
    size = encoder.preprocessing.image_size
    crops = agreement_crops(size)
    misfit = (
        f"{encoder.spec}: its vectors are not made from the mean of its last feature map "
        "({}); one pass needs a network that averages it, such as efficientnet_lite0, a ResNet or "
        "a ConvNeXt, not one with a class token or attention pooling. Encode crop by crop"
    )
    try:
        runs = TorchEager(_flat(network, native, size), device="cpu")
        maps = runs([crops]).reshape(len(crops), *_map_grid(native, size), -1)
        means = np.concatenate([pool_regions(found, WHOLE_IMAGE[None]) for found in maps])
        vectors = normalise_rows(head(means), encoder.spec)
        expected = encoder.encode_parts([crops])
    except Exception as error:
        raise EncoderError(misfit.format(f"{type(error).__name__}: {error}")) from error
    shapes = vectors.shape == expected.shape
    cosine = least_cosine(vectors, expected) if shapes else float("nan")
    if not cosine >= LEAST_COSINE["fp16" if encoder.precision == "fp32" else encoder.precision]:
        raise EncoderError(misfit.format(f"cosine {cosine:.4f}" if shapes else "other dimensions"))
