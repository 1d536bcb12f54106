from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from patchrerank.analysis import strategies
from patchrerank.analysis.levels import Quantiser
from patchrerank.analysis.published_tables import (
    BACKBONES,
    PRETRAINED,
    PublishedRow,
    pretraining_scale,
)
from patchrerank.analysis.reproduce import (
    NAMES,
    TABLES,
    check_name,
    encoders_at_hand,
    encoders_of,
    reproduce,
)
from patchrerank.analysis.reproduce_request import Request, lacking, published_name
from patchrerank.analysis.reproduce_tables import (
    _pretraining_label,
    _pretraining_panel,
    level_panel,
)
from patchrerank.analysis.reproduction import Line, beside, whole_paper_dataset
from patchrerank.datasets import DatasetImage, DatasetQuery, load_dataset, write_index
from patchrerank.encoders.presets import PRESETS
from patchrerank.errors import SettingError
from patchrerank.gallery import BuildOptions

QUIET = BuildOptions(progress=False, backgrounds=4)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Three objects: noise tiles, pasted into grey pictures at several sizes and places."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    queries, images = [], []
    for number in range(3):
        tile = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((60, 60))
        tile.save(root / f"q{number}.png")
        queries.append(DatasetQuery(f"q{number}", root / f"q{number}.png", number))
        for place, side in enumerate((15, 30, 60)):
            picture = Image.new("RGB", (60, 60), (120, 130, 140))
            picture.paste(tile.resize((side, side)), (60 - side, 60 - side))
            name = f"p{number}{place}"
            picture.save(root / f"{name}.png")
            start = 1 - side / 60
            box = np.array([[start, start, 1, 1]], np.float32)
            images.append(DatasetImage(name, root / f"{name}.png", number, box))
    write_index(root, queries, images, {})
    return load_dataset(root)


@pytest.fixture(scope="module")
def request_(dataset, tiny_encoder, tmp_path_factory):
    return Request(
        dataset,
        {"tiny": tiny_encoder},
        tmp_path_factory.mktemp("cache"),
        quantiser=Quantiser(m=4, nbits=3),
        factors=(0.2, 1.0),
        strategies=("grid:0", "grid:1", "sliding:1:0.5", "no_such:3"),
        views=("64",),
        rounds=0,
        build=QUIET,
    )


def measured(found):
    return [line for line in found.lines if line.source == "measured"]


@pytest.mark.parametrize("name", NAMES)
def test_each_runs(name, request_):
    found = reproduce(name, request_)
    assert found.name == name
    assert measured(found) or name == "table7"
    record = found.as_dict()
    assert len(record["lines"]) == len(found.lines)
    assert found.figure().startswith("<svg")
    if name != "table7":
        assert any("not one of the paper's" in sentence for sentence in found.missing)
        assert found.compared_with is None
        assert (found.checked, found.differing) == (0, 0)


def test_levels_beside_the_published_ones(request_):
    found = reproduce("table8", request_)
    own = measured(found)
    assert [line.labels for line in own] == [("tiny", f"L{level}") for level in range(4)]
    assert own[1].values["mAP"] > own[0].values["mAP"]
    printed = [line for line in found.lines if line.source != "measured"]
    assert len(printed) == 32
    assert {line.source for line in printed} == {"published INSTRE", "published ILIAS"}
    assert any("vgg16 was not measured" in sentence for sentence in found.missing)
    assert "of other data" in " ".join(found.notes)


def by_level(request):
    return {line.labels[1]: line.values for line in measured(reproduce("table8", request))}


def test_pretraining_scale_is_measured_on_whole_pictures_and_on_patches(request_):
    levels = by_level(request_)
    found = {line.labels[-1]: line.values for line in measured(reproduce("table4", request_))}
    assert found["global"]["mAP"] == levels["L0"]["mAP"]
    assert found["local"]["mAP"] == levels["L3"]["mAP"] != levels["L0"]["mAP"]


def test_quantised_levels_stand_beside_the_plain_ones(request_):
    levels = by_level(request_)
    found = reproduce("table5", request_)
    rows = {line.labels: line.values for line in measured(found)}
    names = [f"L{level}" for level in range(4)]
    for level in names:
        assert rows[level, "no"]["mAP"] == pytest.approx(levels[level]["mAP"])
    panel = found.panels[0]
    assert [line.name for line in panel.series] == ["float32", "quantised"]
    for series, label in zip(panel.series, ("no", "yes"), strict=True):
        own = [name for name in names if (name, label) in rows]
        assert series.y == tuple(rows[name, label]["mAP"] for name in own)
        assert series.x == tuple(float(name[1:]) for name in own)
    assert "(of the level itself)" in " ".join(found.notes)
    other = reproduce("table5", replace(request_, train_on="L0"))
    assert "(of the level itself)" not in " ".join(other.notes)


def test_printed_figures_of_another_encoder_mark_nothing(request_, monkeypatch):
    monkeypatch.setattr(Request, "compared_with", property(lambda self: "ILIAS"))
    found = reproduce("table6", request_)
    assert found.compared_with is None and found.checked == 0
    assert "of another encoder; nothing is marked" in " ".join(found.notes)
    for panel, metric in zip(found.panels, ("mAP", "LocScore"), strict=True):
        shown = [(label, line.values[metric]) for line in measured(found) for label in line.labels]
        (series,) = panel.series
        assert [(dict(panel.ticks)[x], y) for x, y in zip(series.x, series.y, strict=True)] == shown


def test_size_and_distance(request_):
    found = reproduce("figS1", request_)
    lines = measured(found)
    assert len(lines) == 2 * 5 * 2
    assert [line.labels[4] for line in lines[:10:2]] == ["2", "2", "2", "2", "1"]
    assert lines[0].labels[2:4] == ("0.062", "0.062")
    by_label = {(line.labels[0], line.labels[1], line.labels[6]): line for line in lines}
    small = by_label["size", "1", "L3"], by_label["size", "1", "global"]
    assert small[0].values["mAP"] > small[1].values["mAP"]
    assert any(note.startswith("Here, by size") for note in found.notes)


def test_regions_that_cannot_be_used_are_named(request_):
    found = reproduce("regions", request_)
    assert [line.labels for line in found.lines] == [("grid:0",), ("grid:1",), ("sliding:1:0.5",)]
    assert [line.values["boxes/image"] for line in found.lines] == ["1.0", "5.0", "10.0"]
    said = " ".join(found.missing)
    for part in ("no_such:3 is left out", "one-pass:64 is left out", "Grounding DINO"):
        assert part in said


def test_seconds_are_measured(request_):
    some = replace(request_, strategies=("grid:0",), views=(), rounds=1)
    (line,) = reproduce("regions", some).lines
    assert float(line.values["s/image"]) >= 0


def test_quantised_by_an_index(request_):
    found = reproduce("table6", replace(request_, quantiser=Quantiser(index="PQ4x3")))
    assert [line.labels[0] for line in measured(found)] == ["L0", "L1", "L2", "L3", "boxes"]
    assert not any("inverted file" in sentence for sentence in found.missing)


def test_one_encoder_where_one_is_wanted(request_, tiny_encoder):
    two = replace(request_, encoders={"a": tiny_encoder, "b": tiny_encoder})
    with pytest.raises(SettingError, match=r"one encoder, got a, b"):
        reproduce("figS1", two)
    assert len(measured(reproduce("table4", two))) == 4


def test_unknown_names():
    assert check_name("FIGs1") == "figS1"
    with pytest.raises(SettingError, match="did you mean table4"):
        check_name("tabel4")
    with pytest.raises(SettingError, match="needs a data set"):
        reproduce("table4")
    assert set(TABLES) | {"table7"} == set(NAMES)
    with pytest.raises(SettingError, match="no encoder"):
        Request(None, {}, Path())
    with pytest.raises(SettingError, match="bits 1 to 8"):
        Quantiser(nbits=9)


def test_table7_equals_the_printed_one():
    found = reproduce("table7")
    assert len(found.lines) == 16
    assert (found.checked, found.differing) == (40, 0)
    for ours, theirs in zip(found.lines[::2], found.lines[1::2], strict=True):
        assert (ours.source, theirs.source) == ("computed", "published")
        assert ours.values == theirs.values


def test_what_differs_is_marked():
    ours = [
        Line(("E", "L0"), "measured", {"mAP": 10.4, "LocScore": 3.0, "bytes": "9"}),
        Line(("E", "L1"), "measured", {"mAP": float("nan"), "LocScore": 1.0}),
        Line(("mine", "L0"), "measured", {"mAP": 99.0}),
    ]
    printed = [
        PublishedRow("ILIAS", ("E", "L0"), {"mAP": 10.0, "LocScore": 2.0}),
        PublishedRow("INSTRE", ("E", "L0"), {"mAP": 50.0}),
        PublishedRow("ILIAS", ("E", "L1"), {"mAP": 5.0, "LocScore": None}),
        PublishedRow("ILIAS", ("F", "L0"), {"mAP": 7.0}),
    ]
    found = beside(ours, printed, "ILIAS", 0.5)
    assert found[0].checked == ("mAP", "LocScore")
    assert found[2].checked == ("mAP",), "nothing was printed for the other"
    assert [(line.labels[0], line.source, line.differs) for line in found] == [
        ("E", "measured", ("LocScore",)),
        ("E", "published ILIAS", ()),
        ("E", "measured", ("mAP",)),
        ("E", "published ILIAS", ()),
        ("mine", "measured", ()),
        ("F", "published ILIAS", ()),
    ]
    foreign = beside(ours, printed, None, 0.5)
    assert not any(line.differs or line.checked for line in foreign)
    assert [line.source for line in foreign[:3]] == [
        "measured", "published ILIAS", "published INSTRE",
    ]  # fmt: skip


def test_printed_lines_are_dashed_in_the_figure():
    ours = [Line(("E", f"L{n}"), "measured", {"mAP": 10.0 + n}) for n in range(4)]
    printed = [PublishedRow("ILIAS", (e, f"L{n}"), {"mAP": 11.0}) for e in "EF" for n in range(4)]
    panel = level_panel(beside(ours, printed, "ILIAS", 0.5), "mAP")
    assert [(line.name, line.dashed) for line in panel.series] == [
        ("E", False), ("E, published", True),
    ]  # fmt: skip
    assert panel.series[0].y == (10, 11, 12, 13)
    foreign = level_panel(beside(ours, printed, None, 0.5), "mAP")
    assert [line.name for line in foreign.series] == ["E"]


def test_the_figure_of_pretraining_names_encoder_and_data():
    labels = [("WIT", "400M", "CLIP"), ("–", "–", "mine"), ("ImageNet", "1.2M", "ImageNet")]
    lines = [
        Line((*label, kind), "measured", {"mAP": 10.0 * place + step})
        for place, label in enumerate(labels)
        for step, kind in enumerate(("global", "local"))
    ]
    panel = _pretraining_panel(lines, "INSTRE")
    assert panel.ticks == ((0.0, "CLIP WIT"), (1.0, "mine"), (2.0, "ImageNet"))
    assert [(line.name, line.x, line.y) for line in panel.series] == [
        ("global (L0)", (0.0, 1.0, 2.0), (0.0, 10.0, 20.0)),
        ("local (L3)", (0.0, 1.0, 2.0), (1.0, 11.0, 21.0)),
    ]


def named(name, layout, queries, images):
    blank = [None] * max(queries, images)
    return SimpleNamespace(
        name=name, args={"layout": layout}, queries=blank[:queries], images=blank[:images]
    )


def test_which_data_set_is_the_papers():
    assert whole_paper_dataset(named("x", "ilias", 1232, 5000)) == ("ILIAS", [])
    assert whole_paper_dataset(named("INSTRE", None, 1250, 27_293)) == ("INSTRE", [])
    found, lacks = whole_paper_dataset(named("mini", "instre", 10, 20))
    assert found is None
    assert "1250 queries and 27293 images" in lacks[0]
    found, lacks = whole_paper_dataset(named("mine", "", 10, 20))
    assert found is None
    assert "not one of the paper's" in lacks[0]


def seen(pretrained=True, size=224):
    return SimpleNamespace(
        pretrained=pretrained, preprocessing=SimpleNamespace(image_size=(size, size)), spec="s"
    )


def test_which_encoder_is_the_papers(request_):
    assert published_name("vgg16", seen(), BACKBONES) == "VGG16"
    assert published_name("timm:vgg16.tv_in1k", seen(), BACKBONES) == "VGG16"
    assert published_name("vgg16", seen(pretrained=False), BACKBONES) is None
    assert published_name("vgg16", seen(size=128), BACKBONES) is None
    assert published_name("efficientnet_lite0", seen(), BACKBONES) is None
    sizes = SimpleNamespace(dataset=request_.dataset, encoders={"vgg16": seen(False, 128)})
    said = " ".join(lacking(sizes, ["vgg16", "resnet101"]))
    for part in ("vgg16 has random weights", "vgg16 ran at 128 x 128", "resnet101 was not"):
        assert part in said


def test_encoders_of_the_pretraining_table_are_named_as_printed():
    printed = {row.labels[:3] for row in pretraining_scale()}
    theirs = {name: seen(size=PRESETS[name].image_size) for name in PRETRAINED}
    request = SimpleNamespace(encoders={**theirs, "mine": seen(), "random": seen(False)})
    assert {_pretraining_label(request, name) for name in theirs} == printed
    assert _pretraining_label(request, "vgg16") == ("ImageNet-1K", "1M", "VGG16")
    assert _pretraining_label(request, "mine") == ("–", "–", "mine")
    assert _pretraining_label(request, "random") == ("–", "–", "random (random weights)")


def test_encoders_of_the_tables(monkeypatch):
    assert len(encoders_of("table4")) == 8
    assert encoders_of("table8") == ["vgg16", "resnet101", "inception_v4", "convnext_base_in1k"]
    assert encoders_of("figS2") == ["siglip_large_384"]
    assert encoders_of("table7") == []
    monkeypatch.setenv("HF_HUB_CACHE", "/nowhere")
    assert encoders_at_hand("table9") == ["efficientnet_lite0"]


def test_views_suit_the_encoder():
    assert strategies.default_views(seen(size=224)) == ["448:p2", "224,288x2:p2"]
