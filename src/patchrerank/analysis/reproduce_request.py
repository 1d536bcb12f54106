"""What a published table is run again with, and what that lacks to be the paper's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from patchrerank.analysis.brightness import FACTORS, Changed
from patchrerank.analysis.levels import Quantiser
from patchrerank.analysis.measurable import described
from patchrerank.analysis.measured import Measured
from patchrerank.analysis.measuring import dataset_convention
from patchrerank.analysis.published_tables import PUBLISHED_ENCODER, preset_of
from patchrerank.analysis.reproduction import FOREIGN, whole_paper_dataset
from patchrerank.analysis.strategies import STRATEGIES
from patchrerank.encoders.presets import PRESETS
from patchrerank.errors import SettingError
from patchrerank.gallery import BuildOptions

if TYPE_CHECKING:
    from patchrerank.datasets import Dataset
    from patchrerank.encoders import Encoder

TOLERANCE = 0.5


@dataclass(frozen=True)
class Request:
    """What is measured.

    Attributes:
        dataset: its queries are asked.
        encoders: name or spec as given → encoder.
        cache: galleries are kept there.
        tolerance: points of percent from which a figure is marked as different.
        quantiser: of tables 5 and 6.
        train_on: what the quantiser of table 5 is trained on.
        changed: which pictures figure S2 makes darker or brighter.
        factors: by how much.
        strategies: the region strategies.
        views: one-pass views among them; None: two that suit the encoder.
        rounds: of the timings of region strategies; 0: none.
        build: how galleries are built.
    """

    dataset: Dataset
    encoders: Mapping[str, Encoder]
    cache: Path
    tolerance: float = TOLERANCE
    quantiser: Quantiser = field(default_factory=Quantiser)
    train_on: str = "all"
    changed: Changed = "both"
    factors: Sequence[float] = FACTORS
    strategies: Sequence[str] = STRATEGIES
    views: Sequence[str] | None = None
    rounds: int = 5
    build: BuildOptions = field(default_factory=BuildOptions)

    def __post_init__(self) -> None:
        if not self.encoders:
            raise SettingError("there is no encoder to measure with; name one with --encoder")
        if not self.tolerance >= 0:
            raise SettingError(f"tolerance must be at least 0, got {self.tolerance}")

    def only(self) -> tuple[str, Encoder]:
        """Return the name and the encoder, where a table takes one.

        Raises:
            SettingError: there are several.
        """
        if len(self.encoders) > 1:
            raise SettingError(
                f"this table is of one encoder, got {', '.join(self.encoders)}; name one"
            )
        return next(iter(self.encoders.items()))

    @property
    def compared_with(self) -> str | None:
        """The published data set that this one is, or None."""
        return whole_paper_dataset(self.dataset)[0]

    def settings(self) -> dict[str, str]:
        """Return what all figures depend on, as text."""
        data = self.dataset
        return {
            "dataset": described(data),
            "encoders": ", ".join(f"{e.spec} at {_size(e)}" for e in self.encoders.values()),
            "query_crop": data.query_crop,
            "AP": str(dataset_convention(data)),
        }


def published_name(name: str, encoder: Encoder, known: Mapping[str, str]) -> str | None:
    """Return what the tables call an encoder, if it is theirs: weights and input size too.

    Args:
        name: as given.
        encoder: what was loaded.
        known: preset → name in the table.
    """
    preset = preset_of(name)
    if preset is None or preset not in known or not encoder.pretrained:
        return None
    same = encoder.preprocessing.image_size == (PRESETS[preset].image_size,) * 2
    return known[preset] if same else None


def shown_name(name: str, encoder: Encoder) -> str:
    """Return how lines name an encoder that is not the tables'."""
    return name if encoder.pretrained else f"{name} (random weights)"


def is_published_encoder(name: str, encoder: Encoder) -> bool:
    """Return whether it is the one behind the tables and figures that name none."""
    return published_name(name, encoder, {PUBLISHED_ENCODER: "it"}) is not None


def notes_on(request: Request, compared_with: str | None) -> tuple[str, ...]:
    """Return how printed figures stand beside the measured ones."""
    if compared_with is not None:
        return (f"≠ marks a figure more than {request.tolerance:g} points from the printed one.",)
    if request.compared_with is not None:
        return ("The published figures are of another encoder; nothing is marked.",)
    return (FOREIGN,)


def lacking(request: Request, wanted: Iterable[str]) -> list[str]:
    """Return what the data set and the encoders lack, a sentence each.

    Args:
        request: what is measured.
        wanted: presets of the table's encoders.
    """
    found = list(whole_paper_dataset(request.dataset)[1])
    measured = {preset_of(name): encoder for name, encoder in request.encoders.items()}
    for name, encoder in request.encoders.items():
        if not encoder.pretrained:
            found.append(f"{name} has random weights: leave out --random-weights")
    for preset in wanted:
        if preset not in measured:
            found.append(f"{preset} was not measured: --encoder {preset} ({_weights(preset)})")
        elif published_name(preset, measured[preset], {preset: preset}) is None:
            own = PRESETS[preset].image_size
            if measured[preset].preprocessing.image_size != (own, own):
                found.append(f"{preset} ran at {_size(measured[preset])}, not its own {own} pixels")
    return found


def _weights(preset: str) -> str:
    if PRESETS[preset].weights_at_hand() is not None:
        return "its weights are at hand"
    return f"its weights, {PRESETS[preset].repository}, are not at hand and would be fetched"


def _size(encoder: Encoder) -> str:
    return " x ".join(map(str, encoder.preprocessing.image_size))


def figures(measured: Measured, names: Iterable[str]) -> dict[str, float | str | None]:
    """Return some of the metrics of an evaluation, in percent."""
    return {name: measured.metrics[name] for name in names}
