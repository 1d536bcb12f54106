"""Region strategies of Patchify's supplement, run again."""

from __future__ import annotations

import math
from collections.abc import Sequence

from patchrerank.analysis.charts import Panel, Series
from patchrerank.analysis.published_tables import PUBLISHED_ENCODER
from patchrerank.analysis.reproduce_request import Request, lacking
from patchrerank.analysis.reproduction import MEASURED, Line, Reproduction, Value
from patchrerank.analysis.strategies import StrategyRow, StrategySettings, evaluate_strategies

SHOWN = ("mAP", "LocScore")


def regions(request: Request) -> Reproduction:
    """Region strategies: metrics, boxes, bytes and seconds an image."""
    _, encoder = request.only()
    settings = StrategySettings(
        request.cache, request.strategies, request.views, request.rounds, request.build
    )
    rows, left_out = evaluate_strategies(request.dataset, encoder, settings)
    lines = [_line(row) for row in rows]
    missing = [*lacking(request, [PUBLISHED_ENCODER]), *left_out]
    if not any(row.regions.startswith("grounding_dino") for row in rows):
        missing.append(
            "Grounding DINO was not measured: --regions grounding_dino:20:PROMPT:CHECKPOINT"
        )
    return Reproduction(
        "regions",
        "region strategies, Patchify alone on the full list, percent",
        ("regions",),
        tuple(lines),
        settings=request.settings(),
        notes=(
            "Published finding: sliding windows with stride 0.25 are best in mAP and LocScore, at "
            "higher cost; no numbers of it are at hand.",
            "s/image: decoding, cutting and the network, one after another, medians of turns.",
        ),
        missing=tuple(missing),
        panels=tuple(_cost_panel(rows, metric) for metric in SHOWN),
    )


def _line(row: StrategyRow) -> Line:
    seconds = row.seconds_per_image
    values: dict[str, Value] = {
        **{name: row.metrics[name] for name in (*SHOWN, "mLocScore")},
        "boxes/image": f"{row.boxes_per_image:.1f}",
        "bytes/image": f"{row.bytes_per_image:,.0f}",
        "s/image": "–" if math.isnan(seconds) else f"{seconds:.3f}",
    }
    return Line((row.regions,), MEASURED, values)


def _cost_panel(rows: Sequence[StrategyRow], metric: str) -> Panel:
    """Draw a metric over the boxes an image, a line for each family of strategies."""
    families: dict[str, list[StrategyRow]] = {}
    for row in rows:
        families.setdefault(_family(row.regions), []).append(row)
    series = []
    for name, own in families.items():
        ordered = sorted(own, key=lambda row: row.boxes_per_image)
        series.append(
            Series(
                name,
                tuple(math.log10(max(row.boxes_per_image, 1.0)) for row in ordered),
                tuple(row.metrics[metric] for row in ordered),
                joined=not name.startswith("one-pass"),
            )
        )
    most = max((row.boxes_per_image for row in rows), default=1.0)
    counts = [n for n in (1, 3, 10, 30, 100, 300, 1000) if n <= most * 1.2]
    ticks = tuple((math.log10(count), str(count)) for count in counts)
    return Panel(metric, "boxes an image", f"{metric}, %", ticks, tuple(series))


def _family(name: str) -> str:
    plain, _, pooled = name.partition(" ")
    if pooled:
        return pooled
    kind, *parts = plain.split(":")
    return f"{kind} {parts[1]}" if kind == "sliding" and len(parts) > 1 else kind
