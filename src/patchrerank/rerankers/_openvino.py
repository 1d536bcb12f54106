"""Runs the scoring part of a learned reranker in OpenVINO; needs the ``openvino`` extra."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from patchrerank.encoders.backends import openvino as engine
from patchrerank.errors import SettingError, short_reason

if TYPE_CHECKING:
    from torch import Tensor, nn

TOLERANCE = 1e-4
"""Largest difference from torch, relative to the largest output (or 1), on the examples."""


class OpenVinoRunner:
    """Runs a module in OpenVINO in float32, one stream a thread.

    The module is recorded on its first example, then compared with torch on all of them.

    Args:
        module: takes tensors, returns one or a tuple of them.
        examples: tuples of inputs of different lengths.
        threads: how many calls run at a time, each on one core.

    Raises:
        SettingError: OpenVINO cannot take it over, or disagrees with torch.
        MissingExtraError: the package is absent.
    """

    def __init__(
        self, module: nn.Module, examples: Sequence[Sequence[Tensor]], threads: int
    ) -> None:
        compiled = _compile(module, examples[0], threads)
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(threads):
            self._requests.put(compiled.create_infer_request())
        self._check(module, examples)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the module's outputs."""
        import torch

        arrays = {number: np.ascontiguousarray(part.numpy()) for number, part in enumerate(inputs)}
        request = self._requests.get()
        try:
            request.infer(arrays)
            found = [
                torch.from_numpy(np.array(request.get_output_tensor(number).data))
                for number in range(len(request.model_outputs))
            ]
        except RuntimeError as error:
            raise SettingError(
                f"openvino failed on a batch ({short_reason(error)}); pass backend='eager'"
            ) from error
        finally:
            self._requests.put(request)
        return tuple(found)

    def _check(self, module: nn.Module, examples: Sequence[Sequence[Tensor]]) -> None:
        import torch

        for inputs in examples:
            with torch.inference_mode():
                expected = as_tuple(module(*inputs))
            for ours, theirs in zip(self(*inputs), expected, strict=True):
                scale = max(1.0, float(theirs.abs().max()))
                apart = float((ours - theirs).abs().max()) if ours.shape == theirs.shape else None
                if apart is None or not apart <= TOLERANCE * scale:
                    raise SettingError(
                        f"backend 'openvino' disagrees with torch ({apart}); pass backend='eager'"
                    )


def _compile(module: nn.Module, example: Sequence[Tensor], threads: int) -> Any:
    from patchrerank.encoders.backends.tracing import record

    openvino = engine.import_openvino()
    try:
        recorded = record(module, tuple(example))
        shapes = [[-1] * part.ndim for part in example]
        model = openvino.convert_model(recorded, example_input=tuple(example), input=shapes)
        settings = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": threads,
        }
        return openvino.Core().compile_model(model, "CPU", settings)
    except Exception as error:
        raise SettingError(
            f"openvino cannot take over the network ({short_reason(error)}); pass backend='eager'"
        ) from error


def as_tuple(found: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the one output, or the outputs, of a module as a tuple."""
    return found if isinstance(found, tuple) else (found,)
