"""Figures are looked at pixel by pixel: boxes, frames, marks, files and their index."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from patchrerank.errors import ImageError, SettingError
from patchrerank.report import (
    FigureStyle,
    ReportColumn,
    ReportHit,
    ReportQuery,
    write_figures,
)
from patchrerank.report.drawing import (
    GIVEN,
    PREDICTED,
    RIGHT,
    TRUTH,
    UNKNOWN,
    WRONG,
    Cell,
    Line,
    draw_boxes,
    draw_mark,
    draw_rect,
    paste_cell,
    placed,
    printable,
    shortened,
)
from patchrerank.report.figure_style import Sizes
from patchrerank.report.figures import figure_name
from patchrerank.report.layout import draw_figure

SMALL = FigureStyle(width=4, dpi=100)
BLACK = Image.new("RGB", (60, 40))


def hit(name="h", correct=True, predicted=None, truths=(), image=BLACK):
    return ReportHit(name, image, 0.5, correct, predicted, truths)


def query(*rows, name="q", box=None, group=""):
    columns = tuple(ReportColumn(f"method {n}", 0.25 + n / 4, row) for n, row in enumerate(rows))
    return ReportQuery(name, BLACK, box, columns, group)


def where(picture, colour):
    """Left, top, right, bottom (outside) of the pixels of a colour."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    rows, columns = np.nonzero((np.asarray(picture) == wanted).all(axis=-1))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def count(picture, colour):
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.asarray(picture) == wanted).all(axis=-1).sum())


@pytest.mark.parametrize("size", [(60, 40), (40, 60), (900, 30)])
@pytest.mark.parametrize("box", [(0.25, 0.1, 0.75, 0.6), (0.0, 0.0, 1.0, 1.0), (0.5, 0.5, 0.51, 1)])
def test_boxes_lie_where_they_belong(size, box):
    canvas = Image.new("RGB", (400, 300), "white")
    cell = Cell(Image.new("RGB", size), "here", Line(RIGHT, 3), ((box, Line(PREDICTED, 2)),))
    area = paste_cell(canvas, cell, 50, 20, 200)
    width, height = area[2] - area[0], area[3] - area[1]
    assert max(width, height) == 194, "as large as the frame leaves room"
    assert abs(width / height - size[0] / size[1]) < 0.2 * size[0] / size[1]
    assert where(canvas, RIGHT) == (50, 20, 250, 220)
    x0, y0, x1, y1 = where(canvas, PREDICTED)
    expected = (area[0] + box[0] * width, area[1] + box[1] * height)
    np.testing.assert_allclose((x0, y0), expected, atol=0.51)
    expected = (area[0] + box[2] * width, area[1] + box[3] * height)
    np.testing.assert_allclose((x1, y1), expected, atol=1)
    assert placed(box, area) == (x0, y0, x1, y1)


def test_a_picture_is_shown_upright_and_unchanged():
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Image.new("RGB", (40, 20), (10, 200, 30))
    turned.getexif().update(exif)
    canvas = Image.new("RGB", (110, 110), "white")
    area = paste_cell(canvas, Cell(turned, "here", Line(RIGHT, 1)), 0, 0, 102)
    assert area == (26, 1, 76, 101)
    assert canvas.getpixel((50, 50)) == (10, 200, 30)


def test_a_figure_shows_every_hit_with_frame_and_box():
    first = tuple(hit(f"a{n}", correct=n % 2 == 0) for n in range(12))
    second = (hit("b", True, (0.1, 0.1, 0.5, 0.5), ((0.2, 0.2, 0.9, 0.9),)), hit("c", None))
    figure = draw_figure(query(first, second, box=(0.2, 0.2, 0.8, 0.8)), SMALL)
    sizes = Sizes.of(SMALL)
    assert figure.size == (400, sizes.height(2))
    step = sizes.side + sizes.gap
    rows = [sizes.line, sizes.line + sizes.row + sizes.space]
    for column in range(10):
        left = sizes.indent + column * step
        cell = figure.crop((left, rows[0], left + sizes.side, rows[0] + sizes.side))
        shown, other = (RIGHT, WRONG) if column % 2 == 0 else (WRONG, RIGHT)
        assert where(cell, shown) == (0, 0, sizes.side, sizes.side)
        assert count(cell, other) == 0
        below = rows[0] + sizes.side
        mark = figure.crop((left, below, left + sizes.mark, below + sizes.line))
        assert count(mark, shown) > 0.15 * sizes.mark**2 and count(mark, other) == 0
    assert sizes.indent + 9 * step + sizes.side == figure.width
    found = figure.crop((sizes.indent, rows[1], sizes.indent + sizes.side, rows[1] + sizes.side))
    assert count(found, PREDICTED) and count(found, TRUTH)
    left = sizes.indent + step
    unknown = figure.crop((left, rows[1], left + sizes.side, rows[1] + sizes.side))
    assert count(unknown, UNKNOWN) and not count(unknown, RIGHT)
    asked = figure.crop((0, 0, sizes.query, figure.height - sizes.line))
    assert count(asked, GIVEN)


def test_wrong_frames_are_dashed_and_right_ones_are_not():
    sizes = Sizes.of(FigureStyle())
    figure = draw_figure(query((hit(correct=True), hit(correct=False))), FigureStyle())
    bottom = sizes.line + sizes.side - 1
    edge = np.asarray(figure)[bottom, sizes.indent : sizes.indent + sizes.side]
    assert (edge == [0, 0x9E, 0x73]).all()
    left = sizes.indent + sizes.side + sizes.gap
    edge = np.asarray(figure)[bottom, left : left + sizes.side]
    coloured = (edge == [0xD5, 0x5E, 0]).all(axis=-1)
    assert 0.4 < coloured.mean() < 0.7
    assert coloured[0] and coloured[-1]


@pytest.mark.parametrize("dpi", [100, 150, 300])
def test_marks_stand_in_the_middle_of_their_line_and_cover_no_picture(dpi):
    style = FigureStyle(width=4, dpi=dpi)
    sizes = Sizes.of(style)
    figure = draw_figure(query((hit(correct=True),)), style)
    for top in (sizes.line + sizes.side, figure.height - sizes.line):  # caption, legend
        left = sizes.indent if top == sizes.line + sizes.side else 0
        line = figure.crop((left, top, left + sizes.mark, top + sizes.line))
        x0, y0, x1, y1 = where(line, RIGHT)
        assert (x0, x1, y1 - y0) == (0, sizes.mark, sizes.mark)
        assert sizes.line - y1 - y0 in (0, 1)
    cell = figure.crop((sizes.indent, sizes.line, sizes.indent + sizes.side, figure.height))
    frame = sizes.frame
    inside = cell.crop((frame, frame, sizes.side - frame, sizes.side - frame))
    assert count(inside, RIGHT) == 0


@pytest.mark.parametrize("dash", [0, 3])
@pytest.mark.parametrize("width", [1, 2, 3, 50])
@pytest.mark.parametrize("rect", [(4, 5, 9, 16), (4, 5, 16, 8), (4, 5, 5, 6), (0, 0, 20, 20)])
def test_an_outline_lies_inside_and_leaves_the_middle_of_the_shorter_side(rect, width, dash):
    canvas = Image.new("RGB", (20, 20), "white")
    draw_rect(ImageDraw.Draw(canvas), rect, Line(RIGHT, width, dash))
    assert where(canvas, RIGHT) == rect, "to the ends of every side, dashed or not"
    left, top, right, bottom = rect
    thick = min(width, max(1, min(right - left, bottom - top) // 2))
    coloured = (np.asarray(canvas) != 255).any(axis=-1)
    assert not coloured[top + thick : bottom - thick, left + thick : right - thick].any()
    if dash == 0:
        hole = max(0, right - left - 2 * thick) * max(0, bottom - top - 2 * thick)
        assert coloured.sum() == (right - left) * (bottom - top) - hole


@pytest.mark.parametrize("box", [(0, 0, 1, 1), (0.3, 0.3, 0.7, 0.7), (0.9, 0, 1, 0.1)])
def test_boxes_and_their_rims_stay_on_their_picture(box):
    canvas = Image.new("RGB", (60, 50), "white")
    draw_boxes(ImageDraw.Draw(canvas), [(box, Line(PREDICTED, 4))], (10, 10, 50, 40))
    ground = np.asarray(canvas).copy()
    assert (ground[10:40, 10:50] != 255).any()
    ground[10:40, 10:50] = 255
    assert (ground == 255).all()


def test_the_query_keeps_clear_of_the_hits_at_every_size():
    for width, dpi in ((3, 72), (4, 100), (7, 300), (7, 301)):
        sizes = Sizes.of(FigureStyle(width=width, dpi=dpi))
        assert 0 < sizes.query < sizes.indent
        assert sizes.indent + 10 * sizes.side + 9 * sizes.gap == sizes.width
        assert sizes.mark <= sizes.line and 2 * sizes.frame < sizes.side


@pytest.mark.parametrize("mark", "✓✗?")
def test_signs_stand_in_the_middle_of_their_marks(mark):
    sign = np.asarray(draw_mark(mark, "#000000", 64).convert("L")) > 128
    rows, columns = np.nonzero(sign)
    for ends in ((rows.min(), rows.max()), (columns.min(), columns.max())):
        assert ends[0] > 5 and ends[1] < 58
        assert abs(sum(ends) - 63) <= 4


def test_the_legend_names_what_occurs_alone():
    plain = draw_figure(query((hit(),)), SMALL)
    assert not count(plain, WRONG) and not count(plain, PREDICTED) and not count(plain, TRUTH)
    mixed = draw_figure(query((hit(), hit(correct=False, predicted=(0, 0, 0.5, 1)))), SMALL)
    legend = mixed.crop((0, mixed.height - Sizes.of(SMALL).line, *mixed.size))
    assert count(legend, WRONG) and count(legend, RIGHT) and count(legend, PREDICTED)
    assert not count(legend, TRUTH)


def test_methods_make_a_figure_taller_and_none_is_fine():
    sizes = Sizes.of(SMALL)
    assert sizes.height(6) - sizes.height(5) == sizes.row + sizes.space
    assert draw_figure(query(), SMALL).height == sizes.height(0)


def test_files_and_index(tmp_path):
    names = ["shoe/12 .jpg", "../../etc/passwd", "查询", "é" * 300, "", "CON", "a\nb\udc80"]
    queries = [query((hit(),), name=name) for name in names]
    queries[0] = query((hit("x"),), (hit("y"),), name=names[0], group="gains")
    paths = write_figures(tmp_path / "new" / "f", queries, SMALL)
    assert [path.name for path in paths] == [
        "001-gains-shoe_12_jpg.png", "002-etc_passwd.png", "003.png", f"004-{'e' * 60}.png",
        "005.png", "006-CON.png", "007-a_b.png",
    ]  # fmt: skip
    assert all(path.parent == tmp_path / "new" / "f" for path in paths)
    index = json.loads((tmp_path / "new" / "f" / "figures.json").read_text("utf-8"))["figures"]
    assert [record["file"] for record in index] == [path.name for path in paths]
    assert [record["query"] for record in index] == names
    assert index[0]["group"] == "largest gains" and index[1]["group"] is None
    assert index[0]["gain"] == 0.25
    assert index[0]["average_precision"] == {"method 0": 0.25, "method 1": 0.5}
    assert index[0]["hits"] == {"method 0": ["x"], "method 1": ["y"]}
    with Image.open(paths[0]) as figure:
        assert figure.format == "PNG" and figure.mode == "RGB"
        np.testing.assert_allclose(figure.info["dpi"], (100, 100), atol=0.1)


def test_default_figures_are_seven_inches_at_300_dpi(tmp_path):
    (path,) = write_figures(tmp_path, [query((hit(),))])
    with Image.open(path) as figure:
        assert figure.width == 2100
        np.testing.assert_allclose(figure.info["dpi"], (300, 300), atol=0.1)


def test_the_same_input_gives_the_same_bytes(tmp_path):
    asked = [query((hit(predicted=(0, 0, 0.5, 0.5)),))]
    (one,), (two,) = (write_figures(tmp_path / name, asked, SMALL) for name in "ab")
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("name", ["002-q.png", "figures.json"])
def test_files_of_others_stay_and_nothing_is_drawn_over_them(tmp_path, name):
    asked = [query((hit(),), name=name) for name in ("p", "q")]
    for _ in range(2):  # our own are replaced
        paths = write_figures(tmp_path, asked, SMALL)
    assert [path.name for path in paths] == ["001-p.png", "002-q.png"]
    (tmp_path / name).write_bytes(b"\x89PNG of somebody")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(SettingError, match=rf"{name}: is there already and is not a"):
        write_figures(tmp_path, asked, SMALL)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_missing_picture_is_named(tmp_path):
    bad = query((hit("h1", image=tmp_path / "absent.png"),), name="q7")
    with pytest.raises(ImageError, match=r"hit 'h1' of 'method 0' for query 'q7': .*absent\.png"):
        write_figures(tmp_path / "f", [bad], SMALL)
    with pytest.raises(ImageError, match=r"query 'q8': .*gone\.jpg"):
        write_figures(tmp_path / "f", [ReportQuery("q8", tmp_path / "gone.jpg", None, ())], SMALL)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SettingError, match="cannot be written"):
        write_figures(tmp_path / "file", [query((hit(),))], SMALL)


@pytest.mark.parametrize(
    "setting", [{"width": 0}, {"dpi": 10}, {"points": 99}, {"width": float("nan")}]
)
def test_impossible_styles(setting):
    with pytest.raises(SettingError, match=next(iter(setting))):
        FigureStyle(**setting)


def test_a_font_that_is_none(tmp_path):
    (tmp_path / "x.ttf").write_bytes(b"no font")
    with pytest.raises(SettingError, match=r"x\.ttf: cannot be read"):
        FigureStyle(font=tmp_path / "x.ttf")


def test_own_fonts_are_used(tmp_path):
    data = ImageFont.load_default(10).font_bytes
    (tmp_path / "own.ttf").write_bytes(data)
    style = FigureStyle(width=4, dpi=100, font=tmp_path / "own.ttf")
    assert style.text("é查") == "é查"
    assert style.load_font().getname() == ("Aileron", "Regular")
    figure = draw_figure(query((hit(),), name="é"), style)
    assert figure.size == draw_figure(query((hit(),)), SMALL).size


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("café λ=0.3", "cafe lam=0.3"),
        ("a\n b\t", "a b"),
        ("查 –", "? -"),
        ("a\udc80", "a?"),
        ("ﬁn", "fin"),
    ],
)
def test_text_that_the_default_font_can_draw(text, shown):
    assert printable(text, ascii_only=True) == shown


def test_long_text_is_cut_to_its_room():
    font = ImageFont.load_default(20)
    assert shortened("short", font, 500) == "short"
    cut = shortened("a long name " * 1000, font, 100)
    assert cut.endswith("...") and font.getlength(cut) <= 100
    assert font.getlength(cut[:-3] + "mm...") > 100


@pytest.mark.parametrize(("group", "name"), [("", "-q"), ("losses", "-losses-q")])
def test_names_carry_the_group(group, name):
    assert figure_name(query(name="q", group=group)) == name
