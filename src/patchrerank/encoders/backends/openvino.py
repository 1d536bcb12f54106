"""The network runs in OpenVINO on the CPU; needs the ``openvino`` extra."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from patchrerank.encoders.backends.base import Precision, check_batch_size, check_cpu_fp32
from patchrerank.encoders.preprocessing import Crops
from patchrerank.errors import EncoderError, MissingExtraError, short_reason
from patchrerank.types import Floats

if TYPE_CHECKING:
    from patchrerank.encoders.network import Network

TELEMETRY = "openvino_telemetry"


class OpenVino:
    """Runs a network in OpenVINO, in float32, several small batches at a time.

    One core then works on one batch of few crops, whose activations stay in its cache, and no
    core waits for another at the end of a layer. Full batches run in a form of the network
    compiled for exactly that shape, the rest in one of any shape; each is compared with torch
    when it is made, at its first use.
    """

    name: ClassVar[str] = "openvino"

    def __init__(
        self,
        network: Network,
        *,
        device: str = "cpu",
        precision: Precision = "fp32",
        batch_size: int | None = None,
    ) -> None:
        check_cpu_fp32(self.name, device, precision)
        self._openvino = import_openvino()
        from patchrerank.encoders.backends.agreement import Agreement

        self.device, self.precision = device, precision
        self.batch_size = check_batch_size(batch_size, default=6)
        self._agreement = Agreement.of(network, device, precision)
        self._model = self._convert(network)
        self._lock = threading.Lock()
        self._queues: dict[int | None, Any] = {None: self._compile(None)}

    def __call__(self, batches: Iterable[Crops]) -> Floats:
        """Return float32 ``(N, d)`` for batches of uint8 crops; see ``Backend``."""
        vectors: list[Floats] = []
        with self._lock:
            try:
                for crops in batches:
                    vectors.append(self._start(self._queue_for(len(crops)), crops))
            finally:
                self._wait()
        return np.concatenate(vectors)

    def _convert(self, network: Network) -> Any:
        from patchrerank.encoders.backends.tracing import trace

        shape = (-1, *network.preprocessing.image_size, 3)
        try:
            return self._openvino.convert_model(trace(network), input=[(shape, np.uint8)])
        except Exception as error:
            raise EncoderError(
                f"openvino cannot take over {network.architecture} ({short_reason(error)}); pass "
                "backend='eager'"
            ) from error

    def _compile(self, batch: int | None) -> Any:
        """Return a queue of infer requests for batches of that size, or of any size (None)."""
        import torch

        model = self._model.clone()
        try:
            if batch is not None:
                model.reshape([batch, *self._agreement.crops.shape[1:]])
            settings = {
                "PERFORMANCE_HINT": "THROUGHPUT",
                "INFERENCE_PRECISION_HINT": "f32",
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            }
            compiled = self._openvino.Core().compile_model(model, "CPU", settings)
            requests = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
            queue = self._openvino.AsyncInferQueue(compiled, requests)
        except RuntimeError as error:
            raise EncoderError(
                f"openvino cannot compile the network ({short_reason(error)}); pass backend='eager'"
            ) from error
        queue.set_callback(_copy_out)
        self._check(queue, len(self._agreement.crops) if batch is None else batch)
        return queue

    def _queue_for(self, count: int) -> Any:
        if count not in self._queues and count == self.batch_size:
            self._queues[count] = self._compile(count)
        return self._queues.get(count, self._queues[None])

    def _start(self, queue: Any, crops: Crops) -> Floats:
        """Start a batch, once a request is free; returns the array that will hold its vectors."""
        given = np.ascontiguousarray(crops)
        vectors = np.empty((len(crops), self._agreement.vectors.shape[1]), dtype=np.float32)
        with _readable_errors(len(crops)):
            queue.start_async({0: given}, (vectors, given), share_inputs=True)
        return vectors

    def _wait(self) -> None:
        for queue in self._queues.values():
            with _readable_errors(self.batch_size):
                queue.wait_all()

    def _check(self, queue: Any, batch: int) -> None:
        def run(crops: Crops) -> Floats:
            vectors = self._start(queue, crops)
            with _readable_errors(batch):
                queue.wait_all()
            return vectors

        self._agreement.check(self.name, run, batch)


@contextmanager
def _readable_errors(count: int) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise EncoderError(
            f"openvino failed on a batch of {count} crops ({short_reason(error)}); load the "
            "encoder with a smaller batch_size if memory ran out"
        ) from error


def _copy_out(request: Any, kept: tuple[Floats, Crops]) -> None:
    kept[0][:] = request.get_output_tensor(0).data


def import_openvino() -> Any:
    """Import openvino without its telemetry; says which extra to install if it is absent."""
    try:
        with _without_telemetry():
            import openvino
    except ModuleNotFoundError as error:
        if error.name != "openvino":
            raise _broken(error) from error
        raise MissingExtraError(
            "backend 'openvino' needs the package openvino; install it with: "
            'pip install "patchrerank[openvino]"'
        ) from error
    except ImportError as error:
        raise _broken(error) from error
    return openvino


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Import OpenVINO as if its telemetry package were absent.

    With it, the first import and every conversion report to a server on the network, unless the
    user has opted out. Where something else imported OpenVINO before, its choice stands.
    """
    if "openvino" in sys.modules:
        yield
        return
    known = sys.modules.get(TELEMETRY)
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if known is None:
            del sys.modules[TELEMETRY]
        else:
            sys.modules[TELEMETRY] = known


def _broken(error: ImportError) -> EncoderError:
    return EncoderError(
        f"openvino is installed, but importing it fails: {error}; mend or reinstall what this "
        "names, or pass backend='eager'"
    )
