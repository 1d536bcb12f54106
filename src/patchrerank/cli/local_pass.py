"""The second pass of ``patchrerank index --local``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from patchrerank.errors import SettingError

if TYPE_CHECKING:
    from patchrerank.encoders import DenseEncoder, Encoder
    from patchrerank.gallery import BuildOptions, Gallery, LocalOptions, LocalStore


@dataclass(frozen=True)
class LocalPass:
    """The second pass, over the local descriptors, as it was asked for."""

    image_size: int
    scales: str
    count: int | None
    store: str

    def __post_init__(self) -> None:
        from patchrerank.encoders import Selection
        from patchrerank.gallery import LocalOptions

        LocalOptions(store=self.store)
        Selection(self.count)
        self.factors()

    def factors(self) -> list[float]:
        """Parse the scales."""
        try:
            return [float(part) for part in self.scales.split(",")]
        except ValueError:
            raise SettingError(
                f"--local-scales is {self.scales!r}; give numbers with commas, such as 0.7071,1"
            ) from None

    def encoder_of(self, encoder: Encoder) -> DenseEncoder:
        """Return the dense encoder with the network of one of crops."""
        from patchrerank.encoders import Selection, load_dense_encoder

        return load_dense_encoder(
            encoder,
            image_size=self.image_size,
            scales=self.factors(),
            selection=Selection(self.count),
        )

    def run(self, gallery: Gallery, dense: DenseEncoder, how: BuildOptions) -> LocalStore:
        """Store the local descriptors of a gallery's images."""
        from patchrerank.gallery import build_local

        return build_local(gallery, dense, self.options(how))

    def options(self, how: BuildOptions) -> LocalOptions:
        """Return how they are stored."""
        from patchrerank.gallery import LocalOptions

        return LocalOptions(
            store=self.store,
            on_error=how.on_error,
            workers=how.workers,
            max_pixels=how.max_pixels,
            progress=how.progress,
        )
