"""Tables 4, 5, 6, 8 and 9 of Patchify's supplement, run again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from patchrerank.analysis import published_tables as published
from patchrerank.analysis.charts import LEVEL_TICKS, Panel, Series
from patchrerank.analysis.levels import (
    LevelSettings,
    QuantisedRow,
    evaluate_levels,
    evaluate_quantised,
    evaluate_training,
)
from patchrerank.analysis.reproduce_request import (
    Request,
    figures,
    is_published_encoder,
    lacking,
    notes_on,
    published_name,
    shown_name,
)
from patchrerank.analysis.reproduction import MEASURED, Line, Reproduction, Value, beside


def table4(request: Request) -> Reproduction:
    """Global and local mAP of encoders by the scale of their pretraining."""
    lines = []
    settings = LevelSettings(request.cache, (0, 3), request.build)
    for name, encoder in request.encoders.items():
        found = evaluate_levels(request.dataset, encoder, settings)
        label = _pretraining_label(request, name)
        for kind, level in (("global", 0), ("local", 3)):
            lines.append(Line((*label, kind), MEASURED, figures(found[level], ["mAP"])))
    printed = published.pretraining_scale()
    return Reproduction(
        "table4",
        "mAP by pretraining scale, percent",
        ("pretraining", "images", "encoder", "type"),
        beside(lines, printed, request.compared_with, request.tolerance),
        request.tolerance,
        request.compared_with,
        request.settings(),
        notes_on(request, request.compared_with),
        tuple(lacking(request, published.PRETRAINED)),
        (_pretraining_panel(lines, request.dataset.name),),
    )


def _pretraining_panel(lines: Sequence[Line], title: str) -> Panel:
    """Draw mAP over encoders, whose lines come in pairs."""
    names = [" ".join(dict.fromkeys((line.labels[2], line.labels[0]))) for line in lines[::2]]
    ticks = tuple((float(place), name.removesuffix(" –")) for place, name in enumerate(names))
    places = tuple(place for place, _ in ticks)
    series = (
        Series("global (L0)", places, _numbers(lines[::2], "mAP"), joined=False),
        Series("local (L3)", places, _numbers(lines[1::2], "mAP"), joined=False),
    )
    return Panel(title, "encoder", "mAP, %", ticks, series)


def _pretraining_label(request: Request, name: str) -> tuple[str, str, str]:
    encoder = request.encoders[name]
    known = {preset: preset for preset in published.PRETRAINED}
    preset = published_name(name, encoder, known)
    if preset is None:
        return "–", "–", shown_name(name, encoder)
    data, called = published.PRETRAINED[preset]
    rows = (row.labels for row in published.pretraining_scale())
    images = next(labels[1] for labels in rows if labels[0] == data)
    return data, images, called


def table8(request: Request) -> Reproduction:
    """Encoders trained on ImageNet, by level."""
    return _by_level(request, "table8", "S8")


def table9(request: Request) -> Reproduction:
    """Encoders of large-scale pretraining, by level."""
    return _by_level(request, "table9", "S9")


def _by_level(request: Request, name: str, table: str) -> Reproduction:
    printed = published.backbones_by_level(table)
    theirs = {row.labels[0] for row in printed}
    known = {preset: called for preset, called in published.BACKBONES.items() if called in theirs}
    lines = []
    settings = LevelSettings(request.cache, build=request.build)
    for given, encoder in request.encoders.items():
        label = published_name(given, encoder, known) or shown_name(given, encoder)
        for level, found in evaluate_levels(request.dataset, encoder, settings).items():
            values = figures(found, published.METRICS)
            lines.append(Line((label, f"L{level}"), MEASURED, values))
    shown = beside(lines, printed, request.compared_with, request.tolerance)
    return Reproduction(
        name,
        "mAP and LocScore by level, percent",
        ("encoder", "level"),
        shown,
        request.tolerance,
        request.compared_with,
        request.settings(),
        notes_on(request, request.compared_with),
        tuple(lacking(request, known)),
        tuple(level_panel(shown, metric) for metric in ("mAP", "LocScore", "mLocScore")),
    )


def level_panel(lines: Sequence[Line], metric: str) -> Panel:
    """Draw a metric over the level, a line for each encoder that was measured.

    Dashed beside it, what was printed of the same encoder, where that was compared.
    """
    measured = {line.labels[0] for line in lines if line.source == MEASURED}
    compared = {line.labels[0] for line in lines if line.checked}
    series = []
    for name, source in dict.fromkeys((line.labels[0], line.source) for line in lines):
        printed = source != MEASURED
        if name not in (compared if printed else measured):
            continue
        own = [line for line in lines if (line.labels[0], line.source) == (name, source)]
        places = tuple(float(line.labels[1][1:]) for line in own)
        label = f"{name}, published" if printed else name
        series.append(Series(label, places, _numbers(own, metric), dashed=printed))
    return Panel(metric, "level", f"{metric}, %", LEVEL_TICKS, tuple(series))


def table5(request: Request) -> Reproduction:
    """Plain and quantised patch vectors, by level."""
    _, encoder = request.only()
    settings = LevelSettings(request.cache, build=request.build)
    rows = evaluate_quantised(
        request.dataset, encoder, settings, request.quantiser, request.train_on
    )
    lines = [
        Line((f"L{row.level}", "yes" if row.trained_on else "no"), MEASURED, _quantised(row))
        for row in rows
    ]
    panels = []
    for metric in ("mAP", "LocScore"):
        series = []
        for label, called in (("no", "float32"), ("yes", "quantised")):
            own = [line for line in lines if line.labels[1] == label]
            places = tuple(float(line.labels[0][1:]) for line in own)
            series.append(Series(called, places, _numbers(own, metric)))
        panels.append(Panel(metric, "level", f"{metric}, %", LEVEL_TICKS, tuple(series)))
    how = f"Quantised here: {request.quantiser}, trained on {request.train_on}"
    each = " (of the level itself)" if request.train_on == "all" else ""
    return _quantised_table(
        request,
        "table5",
        "patch vectors plain and quantised, by level, percent",
        ("level", "PQ"),
        (lines, published.pq_by_level()),
        (f"{how}{each}.", "What the printed table's quantiser was trained on is not said."),
        panels,
    )


def table6(request: Request) -> Reproduction:
    """What a quantiser is trained on."""
    _, encoder = request.only()
    settings = LevelSettings(request.cache, build=request.build)
    rows = evaluate_training(request.dataset, encoder, settings, request.quantiser)
    lines = [Line((row.trained_on,), MEASURED, _quantised(row)) for row in rows]
    ticks = tuple((float(place), line.labels[0]) for place, line in enumerate(lines))
    places = tuple(place for place, _ in ticks)
    panels = [
        Panel(m, "trained on", f"{m}, %", ticks, (Series(m, places, _numbers(lines, m)),))
        for m in ("mAP", "LocScore")
    ]
    return _quantised_table(
        request,
        "table6",
        "what the quantiser of L3 is trained on, percent",
        ("trained on",),
        (lines, published.pq_training_features()),
        (
            f"Quantised here: {request.quantiser}. Training on boxes uses the data set's labels.",
            "The printed table names no data set; its figures are taken for ILIAS.",
        ),
        panels,
    )


def _quantised_table(
    request: Request,
    name: str,
    title: str,
    labels: tuple[str, ...],
    lines: tuple[list[Line], list[published.PublishedRow]],
    notes: Iterable[str],
    panels: Iterable[Panel],
) -> Reproduction:
    theirs = is_published_encoder(*request.only())
    compared = request.compared_with if theirs else None
    missing = lacking(request, [published.PUBLISHED_ENCODER])
    if request.quantiser.index is None:
        missing.append(
            "The printed figures are of an inverted file: --index IVF4096,PQ64 searches one (with "
            "fewer than some 160,000 patches its 4,096 lists are badly trained)"
        )
    return Reproduction(
        name,
        title,
        labels,
        beside(*lines, compared, request.tolerance),
        request.tolerance,
        compared,
        request.settings(),
        (*notes_on(request, compared), *notes),
        tuple(missing),
        tuple(panels),
    )


def _quantised(row: QuantisedRow) -> dict[str, Value]:
    values: dict[str, Value] = {name: row.metrics[name] for name in ("mAP", "LocScore")}
    return {**values, "bytes/image": f"{row.bytes_per_image:,.0f}"}


def _numbers(lines: Iterable[Line], name: str) -> tuple[float, ...]:
    values = (line.values[name] for line in lines)
    return tuple(value if isinstance(value, float) else float("nan") for value in values)
