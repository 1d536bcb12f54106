from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

import pytest

from patchrerank.analysis.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    LETTER,
    LEVEL_TICKS,
    RIGHT,
    TOP,
    WIDTH,
    Panel,
    Series,
    draw,
    nice_ticks,
)

SVG = "{http://www.w3.org/2000/svg}"
TICKS = ((0.0, "L0"), (1.0, "L1 & <up>"), (2.0, "L2"))


def elements(text, kind):
    return list(ElementTree.fromstring(text).iter(f"{SVG}{kind}"))


def test_axes_labels_and_legend():
    lines = (Series("local", (0, 1, 2), (10, 20, 40)), Series("global", (0, 1, 2), (5, 5, 5), True))
    text = draw([Panel("mAP", "level", "mAP, %", TICKS, lines)] * 3)
    words = [one.text for one in elements(text, "text")]
    for word in ("mAP", "level", "mAP, %", "L0", "L1 & <up>", "local", "global", "0", "40"):
        assert word in words, word
    assert words.count("local") == 1, "one legend for all panels"
    assert len(elements(text, "polyline")) == 6
    root = ElementTree.fromstring(text)
    assert root.get("viewBox").split()[2] == "760", "two panels in a row"


def test_points_lie_where_they_should():
    text = draw([Panel("t", "x", "y", TICKS, (Series("a", (0, 1, 2), (0, 50, 100)),))])
    (line,) = elements(text, "polyline")
    points = [tuple(map(float, point.split(","))) for point in line.get("points").split()]
    assert points[1][0] == pytest.approx((points[0][0] + points[2][0]) / 2, abs=0.2)
    assert points[1][1] == pytest.approx((points[0][1] + points[2][1]) / 2, abs=0.2)
    assert points[0][1] > points[2][1], "up is more"


def test_unknown_values_leave_a_gap():
    nan = float("nan")
    text = draw([Panel("t", "x", "y", TICKS, (Series("a", (0, 1, 2), (1, nan, 3)),))])
    assert len(elements(text, "polyline")) == 0
    assert len(elements(text, "circle")) == 3, "two points and the legend"
    empty = draw([Panel("t", "x", "y", TICKS, (Series("a", (0, 1), (nan, nan)),))])
    assert "nan" not in empty


def test_logarithmic_axis():
    line = Series("a", (0, 1, 2), (1, 100, 10_000))
    text = draw([Panel("t", "x", "MB", TICKS, (line,), log=True)])
    assert {"1", "10", "100", "1,000", "10,000"} <= {one.text for one in elements(text, "text")}


@pytest.mark.parametrize(("low", "high"), [(0, 100), (0, 0.37), (3, 3), (0, 0), (-2, 41), (0, 1e5)])
def test_nice_ticks(low, high):
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low + 1e-9
    assert ticks[-1] >= high - 1e-9
    assert 2 <= len(ticks) <= 8
    with pytest.raises(ValueError, match="no range"):
        nice_ticks(1, 0)


def path_points(described):
    """Corners of a path of straight lines, absolute."""
    x = y = 0.0
    found = []
    for command, rest in re.findall(r"([MmLlHhVv])([^A-Za-z]*)", described):
        numbers = [float(n) for n in re.findall(r"-?[\d.]+", rest)]
        start = (0.0, 0.0) if command.isupper() else (x, y)
        if command in "MmLl":
            x, y = start[0] + numbers[0], start[1] + numbers[1]
        elif command in "Hh":
            x = start[0] + numbers[0]
        else:
            y = start[1] + numbers[0]
        found.append((x, y))
    return found


def box(element):
    """Left, top, right, bottom of what is drawn; letters are LETTER wide at most."""
    kind, get = element.tag.removeprefix(SVG), element.get
    if kind == "text":
        x, y, long = float(get("x")), float(get("y")), LETTER * len(element.text)
        left = x - {"start": 0, "middle": long / 2, "end": long}[get("text-anchor")]
        return left, y - 8, left + long, y + 2
    if kind == "circle":
        x, y, r = (float(get(name)) for name in ("cx", "cy", "r"))
        return x - r, y - r, x + r, y + r
    if kind == "rect":
        return 0.0, 0.0, float(get("width")), float(get("height"))
    if kind == "polyline":
        points = [tuple(map(float, point.split(","))) for point in get("points").split()]
    else:
        points = path_points(get("d"))
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def drawn(text):
    """Each thing drawn: its element and its box, and the panel it stands in (-1: none)."""
    root = ElementTree.fromstring(text)
    found, panel = [], -1
    for element in root:
        if element.tag != f"{SVG}g":
            found += [(element, box(element), -1)] if element.tag != f"{SVG}metadata" else []
            continue
        panel += 1
        right, down = map(float, re.findall(r"[\d.]+", element.get("transform")))
        for child in element:
            if child.tag == f"{SVG}g":  # the label of the y axis, upwards
                left, top, end, bottom = box(child[0])
                x, y = map(float, child.get("transform")[:-1].split()[1:])
                half = (end - left) / 2
                placed = (x - (y - top), y - half, x + (bottom - y), y + half)
                child = child[0]
            else:
                placed = box(child)
            placed = tuple(
                side + move for side, move in zip(placed, (right, down) * 2, strict=True)
            )
            found.append((child, placed, panel))
    return found


LONG = tuple((float(n), f"a rather long label {n}") for n in range(6))
WIDE = tuple((float(n), f"a label that is wider still, {n}") for n in range(2))
CHARTS = {
    "one": (LEVEL_TICKS, 1, 1),
    "three": (LEVEL_TICKS, 3, 5),
    "long labels": (LONG, 2, 3),
    "wide labels": (WIDE, 2, 2),
    "one tick": (((2.0, "the only label"),), 1, 2),
}


def chart(ticks, panels, lines, columns=2):
    places = tuple(x for x, _ in ticks)
    series = tuple(
        Series(f"line {n}", places, tuple(37.0 * (n + 1) + x for x in places), n % 2 == 1)
        for n in range(lines)
    )
    return draw([Panel("a title", "what", "how much, %", ticks, series)] * panels, columns)


@pytest.mark.parametrize("name", CHARTS)
def test_everything_is_drawn_inside_the_picture_and_inside_its_panel(name):
    text = chart(*CHARTS[name])
    width, height = map(float, ElementTree.fromstring(text).get("viewBox").split()[2:])
    panels, _ = CHARTS[name][1:]
    assert width == WIDTH * min(panels, 2), "no empty column"
    for element, (left, top, right, bottom), panel in drawn(text):
        assert 0 <= left <= right <= width and 0 <= top <= bottom <= height, element.attrib
        if panel >= 0:
            assert left >= panel % 2 * WIDTH and right <= (panel % 2 + 1) * WIDTH, element.attrib
            assert top >= panel // 2 * HEIGHT and bottom <= (panel // 2 + 1) * HEIGHT
        elif element.tag != f"{SVG}rect":
            assert top >= HEIGHT * -(-panels // 2), "the legend is below the panels"


@pytest.mark.parametrize("name", CHARTS)
def test_no_text_covers_another_or_the_plot(name):
    texts = [(e.text, b, p) for e, b, p in drawn(chart(*CHARTS[name])) if e.tag == f"{SVG}text"]
    for (one, a, _), (two, b, _) in itertools.combinations(texts, 2):
        apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
        assert apart, (one, two)
    for word, (left, top, right, bottom), panel in texts:
        x, y = left % WIDTH, top % HEIGHT
        beside = x + right - left <= LEFT or y + bottom - top <= TOP or y >= HEIGHT - BOTTOM
        assert panel < 0 or beside, word


@pytest.mark.parametrize("name", CHARTS)
def test_points_keep_the_same_room_to_both_ends_of_the_axis(name):
    ticks, _, lines = CHARTS[name]
    marks = [
        path_points(e.get("d"))[0]
        for e, _, panel in drawn(chart(ticks, 1, lines))
        if e.tag == f"{SVG}path" and e.get("d").endswith("v4")
    ]
    assert len(marks) == len(ticks), "a tick each"
    assert {y for _, y in marks} == {HEIGHT - BOTTOM}
    xs = [x for x, _ in marks]
    assert xs[0] - LEFT == pytest.approx(WIDTH - RIGHT - xs[-1], abs=0.2)
    assert xs[0] - LEFT > 10
