from __future__ import annotations

import pytest

from patchrerank.analysis import published_tables as published
from patchrerank.analysis.storage_table import published_storage
from patchrerank.encoders.presets import PRESETS


def test_encoders_by_level():
    rows = published.backbones_by_level("S8") + published.backbones_by_level("S9")
    assert len(rows) == 64
    first = rows[0]
    assert (first.dataset, first.labels) == ("INSTRE", ("VGG16", "L0"))
    assert first.figures["LocScore(0.3)"] == 10.928
    assert rows[1].figures["LocScore(0.5)"] is None, "unreadable in the source"
    for row in rows:
        parts = [row.figures[f"LocScore({delta})"] for delta in (0.3, 0.4, 0.5)]
        if None not in parts:
            assert row.figures["mLocScore"] == pytest.approx(sum(parts) / 3, abs=2e-3), row.labels


def test_every_encoder_has_its_preset():
    rows = published.backbones_by_level("S8") + published.backbones_by_level("S9")
    assert set(published.BACKBONES.values()) == {row.labels[0] for row in rows}
    scale = {(row.labels[0], row.labels[2]) for row in published.pretraining_scale()}
    assert set(published.PRETRAINED.values()) == scale
    assert set(published.BACKBONES) == set(published.PRETRAINED)
    assert all(PRESETS[name].published_as for name in published.BACKBONES)


def test_the_same_figures_in_several_tables():
    """L0 to L3 of SigLIP stand in tables 4, 5 and 9: one encoder, rounded."""
    rows = {
        (row.dataset, row.labels[1]): row.figures["mAP"]
        for row in published.backbones_by_level("S9")
        if row.labels[0] == "SigLIP"
    }
    for row in published.pq_by_level():
        if row.labels[1] == "no":
            assert row.figures["mAP"] == pytest.approx(rows[row.dataset, row.labels[0]], abs=0.01)
    known = {"global": "L0", "local": "L3"}
    for row in published.pretraining_scale():
        if row.labels[2] == "SigLIP":
            assert row.figures["mAP"] == pytest.approx(
                rows[row.dataset, known[row.labels[3]]], abs=0.01
            )


def test_training_features_and_storage():
    trained = {row.labels[0]: row.figures["mAP"] for row in published.pq_training_features()}
    assert trained == {"L0": 60.19, "L1": 55.8, "L2": 55.53, "L3": 53.13, "boxes": 65.07}
    printed = {row["level"]: row for row in published.storage_mb()}
    for row in published_storage():
        own = printed[f"L{row.level}"]
        assert own[f"{row.dataset}_raw"] == row.printed_raw
        assert own[f"{row.dataset}_quantised"] == row.printed_quantised
        assert own[f"{row.dataset}_ratio"] == row.printed_ratio


def test_presets_by_name_and_spec():
    assert published.preset_of("vgg16") == "vgg16"
    assert published.preset_of("timm:vgg16.tv_in1k") == "vgg16"
    assert published.preset_of("timm:resnet50") is None
