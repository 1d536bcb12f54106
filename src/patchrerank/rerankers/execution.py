"""How the networks of learned rerankers are run: device, precision, back end, threads."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from patchrerank.errors import SettingError
from patchrerank.kernels.threads import run_parts

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

ACCELERATOR_TOKENS = 131_072


@dataclass(frozen=True)
class Execution:
    """How a learned reranker's network is run.

    Attributes:
        precision: ``float32``; or ``bfloat16`` for devices that are fast in it (scores then
            differ in the third digit; projections and ELViS' transport stay in float32).
        backend: ``eager`` runs in torch; ``openvino`` in OpenVINO (CPU and float32 alone; needs
            the ``openvino`` extra).
        device: ``cpu``, ``cuda``, ``cuda:<number>``, ``mps``, or ``auto``.
        threads: on the CPU each works on batches of its own; results do not depend on it.
            None: as many as torch would use when scores are asked for (``openvino``: when the
            reranker is made).
        max_tokens: most descriptors of query and candidates, padding included, in one batch
            (a batch has one candidate at least); None: a few thousand on the CPU, as is best for
            the method, and 131,072 elsewhere.
    """

    precision: Literal["float32", "bfloat16"] = "float32"
    backend: Literal["eager", "openvino"] = "eager"
    device: str = "cpu"
    threads: int | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.precision not in ("float32", "bfloat16"):
            raise SettingError(f"precision is {self.precision!r}; use 'float32' or 'bfloat16'")
        if self.backend not in ("eager", "openvino"):
            raise SettingError(f"backend is {self.backend!r}; use 'eager' or 'openvino'")
        if self.backend == "openvino" and (self.device, self.precision) != ("cpu", "float32"):
            raise SettingError(
                "backend 'openvino' runs on device 'cpu' in 'float32' alone, not on "
                f"{self.device!r} in {self.precision!r}; use backend='eager'"
            )
        for name in ("threads", "max_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingError(f"{name} must be at least 1 or None, got {value}")

    @property
    def dtype(self) -> torch.dtype:
        """The precision as torch knows it."""
        import torch

        return torch.float32 if self.precision == "float32" else torch.bfloat16


class Runner(Protocol):
    """Runs a module; safe under concurrent threads."""

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the module's outputs."""
        ...


def open_runner(
    module: nn.Module, examples: Callable[[], Sequence[Sequence[Tensor]]], how: Execution
) -> Runner:
    """Return what runs ``module``, whose inputs and outputs are tensors of varying lengths.

    Args:
        module: in evaluation mode; returns a tensor or a tuple of them.
        examples: makes at least two tuples of inputs of different lengths.
        how: see :class:`Execution`.

    Raises:
        SettingError: the back end cannot run it, or not with the same results.
        MissingExtraError: OpenVINO is absent.
    """
    from patchrerank.rerankers._openvino import OpenVinoRunner, as_tuple

    if how.backend == "eager":
        return lambda *inputs: as_tuple(module(*inputs))
    return OpenVinoRunner(module, examples(), threads_of(how))


def threads_of(how: Execution) -> int:
    """Return how many threads work on batches: 1 where an accelerator does."""
    import torch

    if how.device != "cpu":
        return 1
    return how.threads or torch.get_num_threads()


def tokens_of(how: Execution, on_cpu: int) -> int:
    """Return the most descriptors in a batch; ``on_cpu`` is the method's default there."""
    if how.max_tokens is not None:
        return how.max_tokens
    return on_cpu if how.device == "cpu" else ACCELERATOR_TOKENS


def run_batches(how: Execution, work: Callable[..., Any], jobs: Sequence[tuple[Any, ...]]) -> None:
    """Call ``work(*job)`` for every job, without gradients, on the threads of ``how``.

    On the CPU each call computes on one core, so that cores do not wait for each other at the
    end of every operation; torch's own thread count is put back behind it.
    """
    import torch

    before = torch.get_num_threads()

    def alone(*job: Any) -> None:
        if how.device == "cpu":
            torch.set_num_threads(1)
        with torch.inference_mode():
            work(*job)

    try:
        run_parts(threads_of(how), alone, jobs)
    finally:
        torch.set_num_threads(before)


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Let torch, if it is loaded, work on one thread: what a timing says of one core."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
