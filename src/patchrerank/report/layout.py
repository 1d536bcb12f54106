"""The figure of one query: its picture at the left, a row of hits for each method."""

from __future__ import annotations

from collections.abc import Iterator

from PIL import Image, ImageDraw

from patchrerank.report import drawing
from patchrerank.report.content import (
    GROUPS,
    Box,
    ReportColumn,
    ReportHit,
    ReportQuery,
    gain_over,
    is_whole,
)
from patchrerank.report.drawing import (
    Cell,
    Line,
    draw_boxes,
    draw_mark,
    draw_rect,
    paste_cell,
)
from patchrerank.report.figure_style import FigureStyle, Sizes

FRAMES = {
    True: ("✓", drawing.RIGHT, "right"),
    False: ("✗", drawing.WRONG, "wrong"),
    None: ("?", drawing.UNKNOWN, "not known"),
}
"""Mark, colour and name of hits that are right, wrong, or not known to be either."""


def draw_figure(query: ReportQuery, style: FigureStyle) -> Image.Image:
    """Return the figure, RGB.

    Raises:
        ImageError: a picture cannot be read; the message names it, its query and its method.
    """
    figure = _Figure(query, style)
    figure.draw()
    return figure.canvas


class _Figure:
    """One figure while it is drawn."""

    def __init__(self, query: ReportQuery, style: FigureStyle) -> None:
        self.query, self.style = query, style
        self.sizes = Sizes.of(style)
        self.font = style.load_font()
        size = (self.sizes.width, self.sizes.height(len(query.columns)))
        self.canvas = Image.new("RGB", size, drawing.PAPER)
        self.pen = ImageDraw.Draw(self.canvas)
        self.predicted = Line(drawing.PREDICTED, self.sizes.box)
        self.truth = Line(drawing.TRUTH, self.sizes.box, style.pixels(2))
        self.given = Line(drawing.GIVEN, self.sizes.box)

    def draw(self) -> None:
        sizes = self.sizes
        self._draw_query()
        top = 0
        for column in self.query.columns:
            self._draw_row(column, top)
            top += sizes.row + sizes.space
        self._draw_legend(self.canvas.height - sizes.line)

    def _draw_query(self) -> None:
        query, sizes = self.query, self.sizes
        boxes = () if query.box is None else ((query.box, self.given),)
        rim = Line(drawing.ASKED, max(1, sizes.frame // 3))
        cell = Cell(query.image, f"query {query.id!r}", rim, boxes)
        paste_cell(self.canvas, cell, 0, sizes.line, sizes.query)
        self._write(0, 0, "query", drawing.SOFT)
        gain = "" if query.gain is None else f"gain {_signed(query.gain)} AP"
        top = sizes.line + sizes.query + sizes.gap
        self._write(0, top, query.id, drawing.INK, sizes.query)
        group = GROUPS.get(query.group, "")
        notes = [text for text in (gain, group) if text]
        for number, note in enumerate(notes, start=1):
            self._write(0, top + number * sizes.line, note, drawing.SOFT, sizes.query)

    def _draw_row(self, column: ReportColumn, top: int) -> None:
        sizes = self.sizes
        note = self._precision(column)
        room = sizes.width - sizes.indent - self._length(note) - 2 * sizes.space
        end = self._write(sizes.indent, top, column.name, drawing.INK, room)
        self._write(end + 2 * sizes.space, top, note, drawing.SOFT)
        for number, hit in enumerate(column.shown):
            left = sizes.indent + number * (sizes.side + sizes.gap)
            cell = self._cell(hit, column.name)
            paste_cell(self.canvas, cell, left, top + sizes.line, sizes.side)
            self._draw_caption(_verdict(hit), number + 1, left, top + sizes.line + sizes.side)

    def _draw_caption(self, correct: bool | None, rank: int, left: int, top: int) -> None:
        """Draw mark and rank below a hit."""
        side = self.sizes.mark
        mark, colour, _ = FRAMES[correct]
        down = top + (self.sizes.line - side) // 2
        self.canvas.paste(draw_mark(mark, colour, side), (left, down))
        self._write(left + side + self.sizes.gap, top, str(rank), drawing.SOFT)

    def _cell(self, hit: ReportHit, method: str) -> Cell:
        where = f"hit {hit.id!r} of {method!r} for query {self.query.id!r}"
        boxes: list[tuple[Box, Line]] = []
        if hit.predicted is not None and not is_whole(hit.predicted):
            boxes.append((hit.predicted, self.predicted))
        boxes += [((x0, y0, x1, y1), self.truth) for x0, y0, x1, y1 in hit.truths]
        return Cell(hit.image, where, self._frame(_verdict(hit)), tuple(boxes))

    def _frame(self, correct: bool | None) -> Line:
        dash = {True: 0, False: self.style.pixels(4), None: self.style.pixels(1.5)}[correct]
        return Line(FRAMES[correct][1], self.sizes.frame, dash)

    def _precision(self, column: ReportColumn) -> str:
        if column.average_precision is None:
            return ""
        first = self.query.columns[0]
        gain = None if column is first else gain_over(first, column)
        change = "" if gain is None else f" ({_signed(gain)})"
        return f"AP {column.average_precision:.3f}{change}"

    def _draw_legend(self, top: int) -> None:
        """Explain the frames and boxes that occur."""
        left, side = 0, self.sizes.mark
        down = top + (self.sizes.line - side) // 2
        for correct in self._verdicts():
            mark, colour, name = FRAMES[correct]
            draw_rect(self.pen, (left, down, left + 3 * side, down + side), self._frame(correct))
            self.canvas.paste(draw_mark(mark, colour, side), (left, down))
            left = self._name(left + 3 * side, top, name)
        for line, name in self._lines():
            edge = (left, down, left + 2 * side, down + side)
            self.pen.rectangle((left, down, edge[2] - 1, edge[3] - 1), fill=drawing.UNKNOWN)
            draw_boxes(self.pen, [((0.12, 0.2, 0.88, 0.8), line)], edge)
            left = self._name(edge[2], top, name)

    def _name(self, left: int, top: int, name: str) -> int:
        """Write the name of an entry of the legend; return where the next one begins."""
        return self._write(left + self.sizes.gap, top, name, drawing.INK) + 3 * self.sizes.space

    def _verdicts(self) -> list[bool | None]:
        seen = {_verdict(hit) for column in self.query.columns for hit in column.shown}
        return [verdict for verdict in FRAMES if verdict in seen]

    def _lines(self) -> Iterator[tuple[Line, str]]:
        hits = [hit for column in self.query.columns for hit in column.shown]
        if any(hit.predicted is not None and not is_whole(hit.predicted) for hit in hits):
            yield self.predicted, "where the method found it"
        if any(hit.truths for hit in hits):
            yield self.truth, "where it really is"
        if self.query.box is not None:
            yield self.given, "what was asked for"

    def _write(
        self, left: float, top: float, text: str, colour: str, room: float = float("inf")
    ) -> int:
        """Write one line, cut to its room; return where it ends."""
        line = drawing.shortened(self.style.text(text), self.font, room)
        middle = top + self.sizes.line / 2
        self.pen.text((left, middle), line, fill=colour, font=self.font, anchor="lm")
        return round(left + self.font.getlength(line))

    def _length(self, text: str) -> float:
        return self.font.getlength(self.style.text(text))


def _verdict(hit: ReportHit) -> bool | None:
    return None if hit.correct is None else bool(hit.correct)


def _signed(value: float) -> str:
    return f"{value:+.3f}" if value else "0.000"
