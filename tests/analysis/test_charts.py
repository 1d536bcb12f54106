from __future__ import annotations

from xml.etree import ElementTree

import pytest

from patchrerank.analysis.charts import Panel, Series, draw, nice_ticks

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
