"""Figures S1 and S2 of Patchify's supplement, run again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from patchrerank.analysis.bins import (
    BinMeasured,
    centre_distance,
    equal_bins,
    measure_bins,
    object_size,
)
from patchrerank.analysis.brightness import BrightnessRow, evaluate_brightness
from patchrerank.analysis.charts import Panel, Series
from patchrerank.analysis.evaluation import evaluate
from patchrerank.analysis.measured import Run
from patchrerank.analysis.published_tables import PUBLISHED_ENCODER
from patchrerank.analysis.reproduce_request import Request, figures, lacking
from patchrerank.analysis.reproduction import MEASURED, Line, Reproduction
from patchrerank.analysis.settings import EvaluationSettings
from patchrerank.regions import GridPyramid

RUNS = {"L3": GridPyramid(3), "global": GridPyramid(0)}
"""The widest first: the other is copied from it."""
SHOWN = ("mAP", "LocScore")
PROPERTIES = {"size": object_size, "distance": centre_distance}
AXES = {
    "size": "object's share of the image, %",
    "distance": "distance from the centre, relative",
}
NO_FIGURES = "The source shows a figure without numbers, so nothing stands beside the measured ones"


def figure_s1(request: Request) -> Reproduction:
    """Metrics by object size and by distance from the centre."""
    _, encoder = request.only()
    common = EvaluationSettings(build=request.build)
    runs = {
        name: evaluate(request.dataset, encoder, replace(common, regions=where), request.cache)
        for name, where in RUNS.items()
    }
    lines: list[Line] = []
    panels, findings = [], []
    for kind in PROPERTIES:
        found = _binned(request, runs, kind)
        lines += _bin_lines(kind, found)
        panels += [_bin_panel(kind, metric, found) for metric in SHOWN]
        findings.append(_who_leads(kind, found))
    return Reproduction(
        "figS1",
        "by object size and distance from the centre, five bins of equal count, percent",
        ("by", "bin", "from", "to", "positives", "queries", "compared"),
        tuple(lines),
        settings=request.settings(),
        notes=(
            "Published finding: global wins only where the object fills most of the image; local "
            "is steadier off-centre.",
            *findings,
        ),
        missing=(*lacking(request, [PUBLISHED_ENCODER]), NO_FIGURES),
        panels=tuple(panels),
    )


Binned = dict[str, list[BinMeasured]]


def _binned(request: Request, runs: dict[str, Run], kind: str) -> Binned:
    bins = equal_bins(request.dataset, PROPERTIES[kind])
    return {name: measure_bins(runs[name], request.dataset, bins) for name in ("global", "L3")}


def _bin_lines(kind: str, found: Binned) -> list[Line]:
    return [
        Line(
            (
                kind,
                str(number + 1),
                _end(part.low),
                _end(part.high),
                str(part.positives),
                str(part.queries),
                name,
            ),
            MEASURED,
            {metric: part.metrics[metric] for metric in (*SHOWN, "mLocScore")},
        )
        for number in range(len(found["global"]))
        for name, parts in found.items()
        for part in parts[number : number + 1]
    ]


def _bin_panel(kind: str, metric: str, found: Binned) -> Panel:
    scale, digits = (100, 0) if kind == "size" else (1, 2)
    ticks = tuple(
        (float(number), _range(part.low * scale, part.high * scale, digits))
        for number, part in enumerate(found["global"])
    )
    places = tuple(place for place, _ in ticks)
    series = tuple(
        Series(name, places, tuple(part.metrics[metric] for part in parts))
        for name, parts in found.items()
    )
    return Panel(f"{metric} by {kind}", AXES[kind], f"{metric}, %", ticks, series)


def _end(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _range(low: float, high: float, digits: int) -> str:
    return "empty" if math.isnan(low) else f"{low:.{digits}f}–{high:.{digits}f}"


def _who_leads(kind: str, found: Binned) -> str:
    pairs = list(zip(found["global"], found["L3"], strict=True))
    ahead = [
        str(number)
        for number, (whole, local) in enumerate(pairs, 1)
        if whole.metrics["mAP"] > local.metrics["mAP"]
    ]
    known = any(not math.isnan(whole.metrics["mAP"]) for whole, _ in pairs)
    if not known:
        return f"Here, by {kind}: no positive has a box, so there are no bins."
    spread = ", ".join(
        f"{name} from {min(values):.1f} to {max(values):.1f}"
        for name, parts in found.items()
        for values in [[p.metrics["mAP"] for p in parts if not math.isnan(p.metrics["mAP"])]]
    )
    where = f"in bin {', '.join(ahead)}" if ahead else "in no bin"
    return f"Here, by {kind}: global is ahead of L3 in mAP {where}; mAP of {spread}."


def figure_s2(request: Request) -> Reproduction:
    """Metrics of five versions of the data set, darker to brighter."""
    _, encoder = request.only()
    rows = evaluate_brightness(
        request.dataset,
        encoder,
        request.cache,
        factors=request.factors,
        regions=tuple(RUNS.values()),
        changed=request.changed,
        settings=EvaluationSettings(build=request.build),
    )
    named = {where.spec: name for name, where in RUNS.items()}
    lines = [
        Line(
            (f"{row.factor:g}", f"{row.mean_lightness:.1f}", named[row.regions]),
            MEASURED,
            figures(row.measured, (*SHOWN, "mLocScore")),
        )
        for row in rows
    ]
    which = {"both": "gallery and query pictures", "gallery": "gallery pictures"}
    return Reproduction(
        "figS2",
        "versions of the data set with L of CIELAB scaled, percent",
        ("factor", "mean L", "compared"),
        tuple(lines),
        settings={
            **request.settings(),
            "changed": which.get(request.changed, "query pictures"),
        },
        notes=(
            "Mean L: of a sample of the version's gallery pictures. L is cut off at 100, colours "
            "at the border of sRGB.",
            "Published finding: both drop at the extremes of brightness.",
        ),
        missing=(*lacking(request, [PUBLISHED_ENCODER]), NO_FIGURES),
        panels=tuple(_brightness_panel(rows, metric) for metric in SHOWN),
    )


def _brightness_panel(rows: Sequence[BrightnessRow], metric: str) -> Panel:
    series = []
    for name, where in RUNS.items():
        own = sorted((row for row in rows if row.regions == where.spec), key=_factor)
        values = tuple(row.measured.metrics[metric] for row in own)
        series.append(Series(name, tuple(map(_factor, own)), values))
    ticks = tuple((factor, f"{factor:g}") for factor in sorted({row.factor for row in rows}))
    return Panel(metric, "factor on L of CIELAB", f"{metric}, %", ticks, tuple(series))


def _factor(row: BrightnessRow) -> float:
    return row.factor
