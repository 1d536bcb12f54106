"""Line charts as SVG: axes, markers and a legend that can be told apart without colour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from patchrerank.files import SVG_MARK

WIDTH, HEIGHT = 380, 250
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 30, 64
TICK_ROW, TICK_ROWS, LETTER = 12, 3, 6
"""Labels that are too wide for one row below the axis take turns on up to three."""
LEGEND_ROW, LEGEND_COLUMN = 18, 190
COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#7a6a00",
)  # fmt: skip
"""For readers who confuse red and green, too. Source: Okabe and Ito, Color Universal Design."""
MARKS = ("circle", "square", "triangle", "diamond")
TICKS = 5
LEVEL_TICKS = tuple((float(level), f"L{level}") for level in range(4))
"""An x axis of grid levels."""


@dataclass(frozen=True)
class Series:
    """One line.

    Attributes:
        name: in the legend; the same name has the same colour in all panels.
        x: places.
        y: values; those that are not finite leave a gap.
        dashed: for figures that somebody else published.
        joined: draw lines between the points.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    dashed: bool = False
    joined: bool = True


@dataclass(frozen=True)
class Panel:
    """One chart.

    Attributes:
        title: above it.
        x_label: below it.
        y_label: beside it.
        ticks: places on the x axis with their labels.
        series: the lines.
        log: logarithmic y axis; values must be positive.
    """

    title: str
    x_label: str
    y_label: str
    ticks: tuple[tuple[float, str], ...]
    series: tuple[Series, ...]
    log: bool = False


def draw(panels: Sequence[Panel], columns: int = 2) -> str:
    """Return an SVG document with the panels in rows, and one legend below them."""
    names = list(dict.fromkeys(line.name for panel in panels for line in panel.series))
    across = min(columns, max(1, len(panels)))
    width = across * WIDTH
    rows = math.ceil(len(panels) / across)
    per_row = max(1, width // LEGEND_COLUMN)
    height = rows * HEIGHT + LEGEND_ROW * math.ceil(len(names) / per_row) + 8
    parts = [f'<rect width="{width}" height="{height}" fill="white"/>']
    for number, panel in enumerate(panels):
        down, right = divmod(number, across)
        parts.append(f'<g transform="translate({right * WIDTH},{down * HEIGHT})">')
        parts += [*_panel(panel, names), "</g>"]
    for number, name in enumerate(names):
        down, right = divmod(number, per_row)
        place = (14 + right * LEGEND_COLUMN, rows * HEIGHT + 8 + down * LEGEND_ROW)
        dashed = all(s.dashed for panel in panels for s in panel.series if s.name == name)
        parts += _legend(number, name, place, dashed=dashed)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="Helvetica, Arial, sans-serif" font-size="11" '
        f'fill="#222">{SVG_MARK}{"".join(parts)}</svg>\n'
    )


def nice_ticks(low: float, high: float) -> list[float]:
    """Return round numbers, evenly spaced, the first at most ``low``, the last at least ``high``.

    Raises:
        ValueError: ``high`` is below ``low``.
    """
    if high < low:
        raise ValueError(f"no range from {low} to {high}")
    span = (high - low) or abs(high) or 1.0
    rough = span / TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def _panel(panel: Panel, names: list[str]) -> list[str]:
    ticks = _y_ticks(panel)
    low, high = _scaled(panel, ticks[0]), _scaled(panel, ticks[-1])
    places = [*(x for x, _ in panel.ticks), *(x for s in panel.series for x in s.x)] or [0.0]
    first, last = min(places), max(places)
    margin = 0.06 * ((last - first) or 1.0)

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - first + margin) / (last - first + 2 * margin)
        up = (_scaled(panel, y) - low) / (high - low)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (
            HEIGHT - TOP - BOTTOM
        )

    parts = _axes(panel, [(at(first, tick)[1], _shown(tick)) for tick in ticks])
    turns = _tick_rows(panel)
    for number, (place, label) in enumerate(panel.ticks):
        x, row = at(place, ticks[0])[0], number % turns
        parts.append(f'<path d="M{x:.1f},{HEIGHT - BOTTOM}v4" stroke="#222"/>')
        half = LETTER * len(label) / 2
        inside = min(max(x, half), WIDTH - half)
        parts.append(_text(inside, HEIGHT - BOTTOM + 15 + row * TICK_ROW, label, "middle"))
    for line in panel.series:
        number = names.index(line.name)
        points = zip(line.x, line.y, strict=True)
        good = [at(x, y) if _is_drawn(panel, y) else None for x, y in points]
        parts += _line(number, good, line)
    return parts


def _tick_rows(panel: Panel) -> int:
    longest = max((len(label) for _, label in panel.ticks), default=0)
    needed = LETTER * (longest + 1) * len(panel.ticks)
    return min(TICK_ROWS, max(1, math.ceil(needed / (WIDTH - LEFT - RIGHT))))


def _axes(panel: Panel, ticks: list[tuple[float, str]]) -> list[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    below = bottom + 20 + TICK_ROW * _tick_rows(panel)
    parts = [_text(LEFT, TOP - 12, panel.title, "start", bold=True)]
    for y, label in ticks:
        parts.append(f'<path d="M{LEFT},{y:.1f}H{right}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 6, y + 4, label, "end"))
    parts.append(f'<path d="M{LEFT},{TOP}V{bottom}H{right}" fill="none" stroke="#222"/>')
    parts.append(_text((LEFT + right) / 2, below, panel.x_label, "middle"))
    middle = (TOP + bottom) / 2
    parts.append(
        f'<g transform="rotate(-90 14 {middle})">{_text(14, middle, panel.y_label, "middle")}</g>'
    )
    return parts


def _y_ticks(panel: Panel) -> list[float]:
    values = [y for line in panel.series for y in line.y if _is_drawn(panel, y)]
    if not values:
        return [1.0, 10.0] if panel.log else [0.0, 1.0]
    if panel.log:
        powers = [math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))]
        return [10.0**power for power in range(powers[0], max(powers[1], powers[0] + 1) + 1)]
    return nice_ticks(min(0.0, *values), max(values))


def _is_drawn(panel: Panel, value: float) -> bool:
    return math.isfinite(value) and (value > 0 or not panel.log)


def _scaled(panel: Panel, value: float) -> float:
    return math.log10(value) if panel.log else value


def _line(number: int, points: Sequence[tuple[float, float] | None], line: Series) -> list[str]:
    colour, parts = COLOURS[number % len(COLOURS)], []
    dash = ' stroke-dasharray="5 3"' if line.dashed else ""
    run: list[str] = []
    for point in (*points, None):
        if point is not None:
            run.append(f"{point[0]:.1f},{point[1]:.1f}")
            continue
        if len(run) > 1 and line.joined:
            parts.append(
                f'<polyline points="{" ".join(run)}" fill="none" stroke="{colour}" '
                f'stroke-width="1.6"{dash}/>'
            )
        run = []
    marks = [_mark(number, *point, hollow=line.dashed) for point in points if point is not None]
    return [*parts, *marks]


def _mark(number: int, x: float, y: float, *, hollow: bool) -> str:
    colour = COLOURS[number % len(COLOURS)]
    style = f'fill="{"white" if hollow else colour}" stroke="{colour}"'
    kind = MARKS[number % len(MARKS)]
    if kind == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.4" {style}/>'
    path = {
        "square": "m-3,-3h6v6h-6z",
        "triangle": "m0,-4l4,7h-8z",
        "diamond": "m0,-4l4,4l-4,4l-4,-4z",
    }
    return f'<path d="M{x:.1f},{y:.1f}{path[kind]}" {style}/>'


def _legend(number: int, name: str, place: tuple[float, float], *, dashed: bool) -> list[str]:
    x, y = place
    dash = ' stroke-dasharray="5 3"' if dashed else ""
    colour = COLOURS[number % len(COLOURS)]
    return [
        f'<path d="M{x},{y}h22" stroke="{colour}" stroke-width="1.6"{dash}/>',
        _mark(number, x + 11, y, hollow=dashed),
        _text(x + 28, y + 4, name, "start"),
    ]


def _text(x: float, y: float, text: str, anchor: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"
