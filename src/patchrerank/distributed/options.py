"""How work is spread over a Ray cluster."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from patchrerank.errors import SettingError
from patchrerank.gallery import LocalOptions

if TYPE_CHECKING:
    from patchrerank.encoders import DenseEncoder, Encoder


@dataclass(frozen=True)
class RayOptions:
    """How work is spread over a Ray cluster.

    Attributes:
        address: of the cluster, such as ``auto`` or ``ray://head:10001``; None: the one that this
            process is connected to, else one on this machine that ends with the build.
        workers: processes, each with an encoder of its own; None: as many as the cluster has room
            for when the build begins.
        cpus_per_worker: processors that a worker takes in Ray's book-keeping; its threads, too.
        gpus_per_worker: accelerators likewise; a fraction lets several workers share one.
        block: images of a block, rounded up to a multiple of what is encoded together; None: an
            eighth of a worker's share, at most 4,096.
        attempts: how often a block may end its worker before the build stops and names it.
    """

    address: str | None = None
    workers: int | None = None
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0
    block: int | None = None
    attempts: int = 3

    def __post_init__(self) -> None:
        for name in ("workers", "block", "attempts"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingError(f"{name} must be at least 1, got {value}")
        if not (math.isfinite(self.cpus_per_worker) and self.cpus_per_worker > 0):
            raise SettingError(f"cpus_per_worker must be above 0, got {self.cpus_per_worker}")
        if not (math.isfinite(self.gpus_per_worker) and self.gpus_per_worker >= 0):
            raise SettingError(f"gpus_per_worker must be at least 0, got {self.gpus_per_worker}")

    @property
    def threads(self) -> int:
        """Threads of a worker."""
        return max(1, math.ceil(self.cpus_per_worker))


@dataclass(frozen=True)
class LocalWork:
    """Local descriptors that each worker makes of its blocks, too.

    Attributes:
        load: makes the dense encoder, of the encoder of crops; called once a worker.
        options: how they are stored.
    """

    load: Callable[[Encoder], DenseEncoder]
    options: LocalOptions = field(default_factory=LocalOptions)
