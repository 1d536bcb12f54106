"""Which back end runs a network."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from patchrerank.encoders.backends.base import Backend, Precision
from patchrerank.encoders.backends.onnx_runtime import OnnxRuntime
from patchrerank.encoders.backends.openvino import OpenVino
from patchrerank.encoders.backends.torch_compile import TorchCompile
from patchrerank.encoders.backends.torch_eager import TorchEager, choose_device
from patchrerank.errors import EncoderError, MissingExtraError, near_matches

if TYPE_CHECKING:
    from patchrerank.encoders.network import Network

BACKENDS: dict[str, type[Backend]] = {
    "eager": TorchEager,
    "compile": TorchCompile,
    "openvino": OpenVino,
    "onnx": OnnxRuntime,
}
"""Name → back end; ``auto`` is one of them."""

FASTEST_ON_CPU = {"openvino": "openvino", "onnx": "onnxruntime"}
"""Back end → package, fastest first. EfficientNet-Lite0 on two cores, milliseconds a crop of 224
and of 128 pixels: openvino 3.7 and 1.3, onnx 4.2 and 1.4, eager 10.8 and 3.5."""

logger = logging.getLogger(__name__)


def open_backend(
    network: Network,
    name: str,
    *,
    device: str,
    precision: Precision,
    batch_size: int | None,
    convertible: bool,
) -> Backend:
    """Return the back end of that name, or the best for ``auto``, running the network.

    Args:
        network: is taken over.
        name: a key of ``BACKENDS``, or ``auto``.
        device: as in ``load_encoder``.
        precision: as in ``load_encoder``.
        batch_size: as in ``load_encoder``.
        convertible: whether ``auto`` may record the network and run it outside of torch. What is
            recorded is one way through the module's Python code; of a user's own module nobody
            knows whether it has others.

    Raises:
        EncoderError: unknown name, or the back end cannot run the network.
        MissingExtraError: the back end's package is absent.
    """
    if name != "auto" and name not in BACKENDS:
        known = ", ".join(["auto", *BACKENDS])
        raise EncoderError(
            f"backend {name!r} is unknown; use one of {known}{near_matches(str(name), BACKENDS)}"
        )
    where = choose_device(device)

    def opened(name: str) -> Backend:
        return BACKENDS[name](network, device=where, precision=precision, batch_size=batch_size)

    if name != "auto":
        return opened(name)
    for candidate in _candidates(where, precision) if convertible else ():
        try:
            backend = opened(candidate)
        except MissingExtraError as error:  # other packages bring a part of it along
            logger.info("backend %s is not whole: %s", candidate, error)
            continue
        except EncoderError as error:
            logger.warning("backend %s passed over: %s", candidate, error)
            continue
        logger.info("%s runs on the backend %s", network.architecture, candidate)
        return backend
    logger.info("%s runs on the backend eager", network.architecture)
    return opened("eager")


def _candidates(device: str, precision: str) -> Sequence[str]:
    if device != "cpu" or precision != "fp32":
        return ()
    return [name for name, package in FASTEST_ON_CPU.items() if _installed(package)]


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # imported by something that gave it no spec
        return True
