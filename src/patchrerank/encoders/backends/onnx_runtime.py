"""The network runs in ONNX Runtime on the CPU; needs the ``onnx`` extra."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from patchrerank.encoders.backends.base import Precision, check_batch_size, check_cpu_fp32
from patchrerank.encoders.preprocessing import Crops
from patchrerank.errors import EncoderError, MissingExtraError, short_reason
from patchrerank.types import Floats

if TYPE_CHECKING:
    from patchrerank.encoders.network import Network

PACKAGES = ("onnxruntime", "onnx")
OPSET = 17


class OnnxRuntime:
    """Runs a network in ONNX Runtime, in float32, one small batch a core at a time.

    The network is exported to memory when it is loaded; no file is written.
    """

    name: ClassVar[str] = "onnx"

    def __init__(
        self,
        network: Network,
        *,
        device: str = "cpu",
        precision: Precision = "fp32",
        batch_size: int | None = None,
    ) -> None:
        check_cpu_fp32(self.name, device, precision)
        runtime = _import_runtime()
        import torch

        from patchrerank.encoders.backends.agreement import Agreement

        self.device, self.precision = device, precision
        self.batch_size = check_batch_size(batch_size, default=4)
        self._threads = torch.get_num_threads()
        agreement = Agreement.of(network, device, precision)
        self._session = _open_session(runtime, network)
        agreement.check(self.name, self._run)

    def __call__(self, batches: Iterable[Crops]) -> Floats:
        """Return float32 ``(N, d)`` for batches of uint8 crops; see ``Backend``."""
        with ThreadPoolExecutor(self._threads) as pool:
            return np.concatenate(list(pool.map(self._run, batches)))

    def _run(self, crops: Crops) -> Floats:
        try:
            found = self._session.run(None, {"crops": np.ascontiguousarray(crops)})[0]
        except Exception as error:
            raise EncoderError(
                f"onnxruntime failed on a batch of {len(crops)} crops "
                f"({short_reason(error)}); load the encoder with a smaller batch_size if memory "
                "ran out"
            ) from error
        return np.ascontiguousarray(found, dtype=np.float32)


def _open_session(runtime: Any, network: Network) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1  # each caller's thread runs a batch of its own
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return runtime.InferenceSession(
            _export(network), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise EncoderError(
            f"onnxruntime cannot take over {network.architecture} ({short_reason(error)}); pass "
            "backend='eager'"
        ) from error


def _export(network: Network) -> bytes:
    """Return the network as an ONNX file that takes any number of crops."""
    import torch

    from patchrerank.encoders.backends.tracing import FromPixels, example_crops, recording

    file = io.BytesIO()
    with recording(), _silent_exporter():
        torch.onnx.export(
            FromPixels(network),
            (example_crops(network),),
            file,  # type: ignore[arg-type]  # torch declares paths only, and takes streams
            dynamo=False,  # the newer exporter takes 7 s instead of 0.3 s, for the same speed
            opset_version=OPSET,
            input_names=["crops"],
            output_names=["vectors"],
            dynamic_axes={"crops": {0: "batch"}, "vectors": {0: "batch"}},
        )
    return file.getvalue()


@contextmanager
def _silent_exporter() -> Iterator[None]:
    """Keep the exporter from printing the graph, hundreds of lines, of what it cannot export.

    It means to do so only when its log is on, and takes it for on at all times.
    """
    import torch

    log = torch._C._jit_onnx_log
    torch._C._jit_onnx_log = lambda *_: None
    try:
        yield
    finally:
        torch._C._jit_onnx_log = log


def _import_runtime() -> Any:
    """Import ONNX Runtime without the usage reports that it otherwise sends over the network.

    It reads the setting once, before anything else; a value that the user has set stands.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnx  # noqa: F401
        import onnxruntime
    except ModuleNotFoundError as error:
        if error.name not in PACKAGES:
            raise _broken(error) from error
        raise MissingExtraError(
            f"backend 'onnx' needs the package {error.name}; install it with: "
            'pip install "patchrerank[onnx]"'
        ) from error
    except ImportError as error:
        raise _broken(error) from error
    return onnxruntime


def _broken(error: ImportError) -> EncoderError:
    return EncoderError(
        f"the packages of backend 'onnx' are installed, but importing them fails: {error}; mend "
        "or reinstall what this names, or pass backend='eager'"
    )
