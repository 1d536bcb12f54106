"""From a spec, or a torch module, to a ready encoder."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from patchrerank.encoders.backends.base import Precision
from patchrerank.encoders.backends.choosing import open_backend
from patchrerank.encoders.base import Encoder
from patchrerank.encoders.efficientnet_lite import load_efficientnet_lite0
from patchrerank.encoders.network import Network, Request, hash_weights
from patchrerank.encoders.openclip_encoder import load_open_clip
from patchrerank.encoders.preprocessing import Preprocessing, check_image_size
from patchrerank.encoders.presets import PRESETS, resolve
from patchrerank.encoders.spec_names import shown
from patchrerank.encoders.text_encoder import TextEncoder, TextTower
from patchrerank.encoders.timm_models import load_timm
from patchrerank.errors import EncoderError, near_matches

if TYPE_CHECKING:
    import torch

LOADERS: dict[str, Callable[[Request], Network]] = {
    "efficientnet_lite0": load_efficientnet_lite0,
    "open_clip": load_open_clip,
    "timm": load_timm,
}
"""Prefix of a spec → loader."""


def load_encoder(
    spec: str | torch.nn.Module,
    *,
    preprocessing: Preprocessing | None = None,
    image_size: int | tuple[int, int] | None = None,
    device: str = "auto",
    precision: Precision = "fp32",
    batch_size: int | None = None,
    pretrained: bool = True,
    name: str | None = None,
    backend: str = "auto",
    text: TextTower | None = None,
) -> Encoder:
    """Load an encoder.

    Args:
        spec: one of

            - the name of a preset, such as ``dinov2_large`` (``patchrerank encoders`` lists them);
            - ``efficientnet_lite0``: ImageNet weights from the ``demo`` extra, 1,280-d;
            - ``open_clip:<model>/<tag or checkpoint file>``, ``open_clip:hf-hub:<org>/<name>``;
            - ``timm:<model>[.<tag>][?pool=<pooling>][/<checkpoint file>]``,
              ``timm:hf-hub:<org>/<name>``; the pooling is ``token`` (class token), ``avg`` or
              ``map`` (attention pooling), by default timm's own for that model;
            - a ``torch.nn.Module`` that maps float32 ``(B, 3, H, W)``, normalised, to ``(B, d)``.
              A copy is taken: training or moving the module later does not change the encoder.

            What stands behind a model's first slash is the tag or file, so a path may hold more.
        preprocessing: replaces the model's own; required for a module.
        image_size: side, or (height, width), of the network's input in pixels; replaces the one
            of the model and of ``preprocessing``.
        device: ``auto`` (CUDA, else MPS, else CPU), ``cpu``, ``cuda``, ``cuda:<number>``, ``mps``.
        precision: of weights and activations; vectors are float32 in any case.
        batch_size: the most crops in one batch; by default what was fastest for the back end: 16
            for eager torch on the CPU and 256 on an accelerator, 6 for ``openvino``, 4 for
            ``onnx`` (each core then runs a batch of its own).
        pretrained: False gives random weights (the same ones every time) and fetches nothing,
            except that a checkpoint file in the spec is loaded all the same.
        name: for a module, what to call it in records; it becomes part of its identity.
        backend: what runs the network.

            - ``eager``: torch, operation by operation; every device and precision;
            - ``compile``: ``torch.compile``, which takes seconds to minutes to load;
            - ``openvino`` and ``onnx`` (ONNX Runtime): the CPU in fp32, from the extras of the
              same names;
            - ``auto``: on the CPU in fp32 the first of ``openvino``, ``onnx`` that is installed
              and can run the network, else ``eager``; always ``eager`` for a module.

            All but ``eager`` are compared with it when loaded, on fixed crops.
        text: for a module, what makes vectors of words in the same space: a list of n prompts in,
            ``(n, d)`` out. Models of open_clip have their own.

    Raises:
        EncoderError: the spec, file, device or a setting does not work, or the back end's
            vectors are not those of eager torch; the message says why.
        MissingExtraError: the spec or the back end needs an optional package.
    """
    size = None if image_size is None else check_image_size(image_size)
    if preprocessing is not None:
        size = size or preprocessing.image_size
        preprocessing = replace(preprocessing, image_size=size)
    if isinstance(spec, str):
        if text is not None:
            raise EncoderError(
                f"text= belongs to a torch module; {shown(spec)} has its own, or none"
            )
        label = resolve(spec.strip())
        network = network_from_spec(label, Request("", preprocessing, size, pretrained))
    else:
        network = network_from_module(spec, preprocessing, name)
        network = replace(network, text=None if text is None else TextEncoder.of(text))
        label = network.architecture
    runs = open_backend(
        network,
        backend,
        device=device,
        precision=precision,
        batch_size=batch_size,
        convertible=isinstance(spec, str),
    )
    return Encoder(label, network, runs, load_encoder)


def network_from_spec(spec: str, request: Request) -> Network:
    """Return the network that a spec names; the request says everything but the name."""
    prefix, _, rest = resolve(spec).partition(":")
    if prefix.partition("?")[0] == "efficientnet_lite0" and "?" in prefix:
        raise EncoderError(f"efficientnet_lite0 pools in one way, not as {shown(spec)} asks")
    loader = LOADERS.get(prefix)
    if loader is None:
        raise EncoderError(
            f"unknown encoder {shown(spec)}; use efficientnet_lite0, open_clip:<model>/<tag or "
            "file>, timm:<model>, a preset (patchrerank encoders), or pass a torch module"
            f"{_meant(prefix, rest)}"
        )
    if prefix != "efficientnet_lite0" and not rest:
        raise EncoderError(f"encoder {shown(spec)} names no model; use {prefix}:<model>")
    network = loader(replace(request, name=rest))
    return replace(network, pretrained=request.pretrained)


def _meant(prefix: str, rest: str) -> str:
    """Return which name may be meant: a library's model without its prefix, or a similar one."""
    import open_clip
    import timm

    model, slash, tag = prefix.partition("/")
    if not rest and timm.is_model(model.partition("?")[0].partition(".")[0]):
        return f"; did you mean timm:{prefix}?"
    if not rest and model in open_clip.list_models():
        return f"; did you mean open_clip:{model}/{tag if slash else '<tag or file>'}?"
    plain = prefix.lower().replace("-", "_")
    return near_matches(plain, [*LOADERS, *PRESETS])


def network_from_module(
    module: torch.nn.Module, preprocessing: Preprocessing | None, name: str | None
) -> Network:
    """Return a copy of a module as a network."""
    import torch

    kind = type(module).__qualname__
    if not isinstance(module, torch.nn.Module):
        raise EncoderError(f"an encoder is loaded from a spec or a torch module, not {module!r}")
    if preprocessing is None:
        raise EncoderError(
            f"the module {kind} needs preprocessing=Preprocessing(image_size=…, mean=…, std=…); "
            "only you know what it was trained with"
        )
    try:
        own = copy.deepcopy(module).cpu().float().eval()
    except Exception as error:
        raise EncoderError(f"the module {kind} cannot be copied: {error}") from error
    return Network(
        architecture=f"module:{name or kind}",
        module=own,
        preprocessing=preprocessing,
        weights=hash_weights(own.state_dict()),
        channels_last=False,
    )
