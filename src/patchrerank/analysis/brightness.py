"""A data set made darker or brighter: L of CIELAB scaled in memory while pictures are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from patchrerank.analysis.cielab import lab_from_rgb, lightness, rgb_from_lab
from patchrerank.analysis.evaluation import evaluate
from patchrerank.analysis.measured import Measured
from patchrerank.analysis.settings import EvaluationSettings
from patchrerank.encoders import Encoder, Preprocessing
from patchrerank.errors import SettingError
from patchrerank.images import read_image
from patchrerank.regions import GridPyramid, Regions
from patchrerank.types import Floats

if TYPE_CHECKING:
    from PIL import Image

    from patchrerank.datasets import Dataset
    from patchrerank.encoders.preprocessing import Crops

FACTORS = (0.2, 0.6, 1.0, 1.4, 1.8)
"""Published. Source: Patchify (WACV 2026), supplement."""
STRIP = 1 << 18
"""Pixels that are converted at a time; each takes some hundred bytes meanwhile."""
SAMPLE = 200
"""Pictures whose mean L stands for all."""

Changed = Literal["both", "gallery", "queries"]


def scale_lightness(picture: Image.Image, factor: float) -> Image.Image:
    """Return an RGB picture whose L is multiplied, up to 100; a and b stay.

    Colours that leave sRGB are clipped. Factor 1 returns the very picture.

    Raises:
        SettingError: a factor that is negative or not finite.
    """
    check_factor(factor)
    if factor == 1.0:
        return picture
    from PIL import Image

    pixels = np.array(picture.convert("RGB"))
    rows = max(1, STRIP // pixels.shape[1])
    for top in range(0, len(pixels), rows):
        lab = lab_from_rgb(pixels[top : top + rows])
        lab[..., 0] = (lab[..., 0] * np.float32(factor)).clip(0.0, 100.0)
        pixels[top : top + rows] = rgb_from_lab(lab)
    return Image.fromarray(pixels)


def check_factor(factor: float) -> None:
    """Refuse a factor that is negative or not finite.

    Raises:
        SettingError: it is.
    """
    if not (np.isfinite(factor) and factor >= 0):
        raise SettingError(f"brightness must be a factor of at least 0, got {factor}")


@dataclass(frozen=True)
class ScaledPreprocessing(Preprocessing):
    """A preprocessing that scales a picture's L before it is cut.

    Attributes:
        brightness: the factor on L.
    """

    brightness: float = 1.0

    def prepare(self, image: Image.Image, boxes: npt.ArrayLike) -> Crops:
        """Scale L, then cut and resize; see :meth:`Preprocessing.prepare`."""
        return super().prepare(scale_lightness(image, self.brightness), boxes)


class ScaledEncoder(Encoder):
    """An encoder that sees pictures with another L; its identity stays, as does its space.

    A gallery records the factor with its regions, so that versions are told apart.

    Args:
        encoder: of crops.
        factor: on L, at least 0.
        changed: which pictures are: those of the gallery, the queries, or ``both``.

    Raises:
        SettingError: an impossible factor, an unknown ``changed``, or an encoder that does not
            encode crops.
    """

    def __init__(self, encoder: Encoder, factor: float, changed: Changed = "both") -> None:
        check_factor(factor)
        if changed not in get_args(Changed):
            raise SettingError(f"changed is {changed!r}; use one of {', '.join(get_args(Changed))}")
        if encoder.recorded_regions("grid:0") != "grid:0":
            raise SettingError(f"brightness is changed for encoders of crops only, not {encoder!r}")
        vars(self).update(vars(encoder))
        plain = {f.name: getattr(encoder.preprocessing, f.name) for f in fields(Preprocessing)}
        scaled = ScaledPreprocessing(**plain, brightness=factor)
        self.factor = factor
        self._gallery = encoder.preprocessing if changed == "queries" else scaled
        self.preprocessing = encoder.preprocessing if changed == "gallery" else scaled

    def prepare_regions(self, image: Image.Image, boxes: Floats) -> Any:
        """Scale a gallery picture's L, then cut; see :meth:`Encoder.prepare_regions`."""
        return self._gallery.prepare(image, boxes)

    def recorded_regions(self, spec: str) -> str:
        """Return regions' spec and the factor, such as ``grid:3 brightness:0.2``."""
        if not isinstance(self._gallery, ScaledPreprocessing):
            return spec
        return f"{spec} brightness:{self.factor:g}"

    def describe(self) -> dict[str, object]:
        """Return the encoder's record, with the preprocessing of gallery pictures."""
        return {**super().describe(), "preprocessing": self._gallery.as_dict()}


@dataclass(frozen=True)
class BrightnessRow:
    """One version of the data set, searched one way.

    Attributes:
        factor: on L.
        mean_lightness: of a sample of the version's gallery pictures, 0 to 100.
        regions: what was compared.
        measured: the figures.
    """

    factor: float
    mean_lightness: float
    regions: str
    measured: Measured


def evaluate_brightness(
    dataset: Dataset,
    encoder: Encoder,
    cache: Path,
    *,
    factors: Sequence[float] = FACTORS,
    regions: Sequence[Regions] = (GridPyramid(3), GridPyramid(0)),
    changed: Changed = "both",
    settings: EvaluationSettings | None = None,
) -> list[BrightnessRow]:
    """Evaluate a data set at several brightnesses; nothing but galleries is written to disk.

    Args:
        dataset: its pictures are changed as they are read.
        encoder: of crops.
        cache: galleries of all versions are kept there; factor 1 shares the usual ones.
        factors: on L.
        regions: each is evaluated; the widest first, so that others are copied from it.
        changed: the published text speaks of versions of the data set: gallery and queries.
        settings: everything but the regions.
    """
    base = settings or EvaluationSettings()
    rows = []
    for factor in factors:
        seen = encoder if factor == 1.0 else ScaledEncoder(encoder, factor, changed)
        used = 1.0 if changed == "queries" else factor
        mean = mean_lightness(dataset, used, progress=base.build.progress)
        for where in regions:
            run = evaluate(dataset, seen, replace(base, regions=where), cache)
            rows.append(BrightnessRow(factor, mean, where.spec, run.measured))
    return rows


def mean_lightness(
    dataset: Dataset, factor: float = 1.0, sample: int = SAMPLE, *, progress: bool = False
) -> float:
    """Return the mean L, 0 to 100, of evenly spread gallery pictures with L scaled.

    Args:
        dataset: its gallery pictures are read.
        factor: on L.
        sample: the most pictures read.
        progress: show a bar.
    """
    count = len(dataset.images)
    rows = np.linspace(0, count - 1, min(sample, count)).astype(int) if count else np.zeros(0, int)
    means = []
    for row in tqdm(np.unique(rows), unit="img", desc=f"L × {factor:g}", disable=not progress):
        picture = scale_lightness(read_image(dataset.images[row].file), factor)
        means.append(float(lightness(np.asarray(picture)).mean()))
    return float(np.mean(means)) if means else float("nan")
