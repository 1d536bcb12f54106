"""Patchify's published figures, as printed; shipped as CSV files beside this module.

Source: Patchify (WACV 2026), supplement. Percent; a cell that could not be read is None.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from patchrerank.encoders.presets import PRESETS

FOLDER = "published"
DATASETS = ("INSTRE", "ILIAS")

METRICS = {
    "mAP": "mAP",
    "LocScore": "LocScore",
    "mLocScore": "mLocScore",
    "LocScore(0.3)": "LocScore_0.3",
    "LocScore(0.4)": "LocScore_0.4",
    "LocScore(0.5)": "LocScore_0.5",
}
"""Our name of a metric → its column."""

BACKBONES = {
    "vgg16": "VGG16",
    "resnet101": "ResNet101",
    "inception_v4": "Inception",
    "convnext_base_in1k": "ConvNeXt_IN1k",
    "dinov2_large": "DINOv2",
    "openclip_vit_l14": "OpenCLIP",
    "convnext_large_laion2b": "ConvNeXt_LAION2B",
    "siglip_large_384": "SigLIP",
}
"""Preset → its name in the tables of encoders by level."""

PRETRAINED = {
    "vgg16": ("ImageNet-1K", "VGG16"),
    "resnet101": ("ImageNet-1K", "ResNet101"),
    "inception_v4": ("ImageNet-1K", "Inception"),
    "convnext_base_in1k": ("ImageNet-1K", "ConvNeXt"),
    "dinov2_large": ("LVD-142M", "DINOv2"),
    "openclip_vit_l14": ("LAION-400M", "CLIP"),
    "convnext_large_laion2b": ("LAION-2B", "ConvNeXt"),
    "siglip_large_384": ("WebLI", "SigLIP"),
}
"""Preset → pretraining data and name in the table of pretraining scale."""

PUBLISHED_ENCODER = "siglip_large_384"
"""The encoder of the tables and figures that name none (its L0 to L3 figures are theirs)."""

Figures = Mapping[str, float | None]


@dataclass(frozen=True)
class PublishedRow:
    """One printed row.

    Attributes:
        dataset: ``INSTRE`` or ``ILIAS``.
        labels: what the row is of, such as ``("VGG16", "L3")``.
        figures: our name of a metric → the printed figure.
    """

    dataset: str
    labels: tuple[str, ...]
    figures: Figures


def backbones_by_level(table: str) -> list[PublishedRow]:
    """Return ``(encoder, level)`` rows of table ``S8`` or ``S9``."""
    return [
        PublishedRow(
            row["dataset"],
            (row["encoder"], row["level"]),
            {name: _number(row[column]) for name, column in METRICS.items()},
        )
        for row in _rows("backbones_by_level")
        if row["table"] == table
    ]


def pretraining_scale() -> list[PublishedRow]:
    """Return ``(pretraining, images, encoder, global or local)`` rows of table 4."""
    return [
        PublishedRow(
            dataset,
            (row["pretraining"], row["images"], row["encoder"], row["type"]),
            {"mAP": _number(row[f"{dataset}_mAP"])},
        )
        for dataset in DATASETS
        for row in _rows("pretraining_scale")
    ]


def pq_by_level() -> list[PublishedRow]:
    """Return ``(level, quantised: no or yes)`` rows of table 5."""
    return [
        PublishedRow(
            dataset,
            (row["level"], row["pq"]),
            {name: _number(row[f"{dataset}_{name}"]) for name in ("mAP", "LocScore")},
        )
        for dataset in DATASETS
        for row in _rows("pq_by_level")
    ]


def pq_training_features() -> list[PublishedRow]:
    """Return ``(what the quantiser is trained on,)`` rows of table 6, which names no data set.

    Its figures lie where table 5's of ILIAS do, so they are taken for ILIAS.
    """
    return [
        PublishedRow("ILIAS", (_trained_on(row["training_features"]),), {"mAP": float(row["mAP"])})
        for row in _rows("pq_training_features")
    ]


def storage_mb() -> list[dict[str, str]]:
    """Return table 7 as printed, a row each level; its units are mixed."""
    return _rows("storage_mb")


def preset_of(spec: str) -> str | None:
    """Return the preset that a name or a spec stands for, or None."""
    if spec in PRESETS:
        return spec
    return next((name for name, preset in PRESETS.items() if preset.spec == spec), None)


def _trained_on(name: str) -> str:
    return "boxes" if name == "ground_truth_boxes" else name


def _rows(name: str) -> list[dict[str, str]]:
    text = files("patchrerank.analysis").joinpath(FOLDER, f"{name}.csv").read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))


def _number(text: str) -> float | None:
    return float(text) if text else None
