"""How large the measured jobs are."""

from __future__ import annotations

from dataclasses import dataclass

from patchrerank.errors import SettingError
from patchrerank.file_bounds import check_memory

LARGEST = 1_000_000
"""Of each size; more is no benchmark that ends."""


@dataclass(frozen=True)
class Sizes:
    """How large the jobs are.

    Attributes:
        candidates: length K of a shortlist.
        patches: patches an image.
        dim: dimensions d of a patch vector or descriptor.
        parts: bytes a row of the product quantiser.
        queries: queries of a batch.
        descriptors: descriptors of a query, and of a candidate.
        store_mib: size of each store in MiB; make it much larger than the processor's caches.
        rounds: how often each contestant runs.
        images: pictures that are indexed, on a device.
    """

    candidates: int = 400
    patches: int = 30
    dim: int = 768
    parts: int = 64
    queries: int = 32
    descriptors: int = 100
    store_mib: int = 600
    rounds: int = 15
    images: int = 64

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 1 <= value <= LARGEST:
                raise SettingError(f"{name} must be at least 1 and at most {LARGEST}, got {value}")
        if self.dim % self.parts:
            raise SettingError(f"dim {self.dim} does not divide into {self.parts} parts")
        held = max(self.patches, self.descriptors, self.queries) * self.candidates * self.dim
        check_memory((self.store_mib << 20) + 4 * held, "these sizes", SettingError)
