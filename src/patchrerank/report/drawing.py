"""What figures are drawn of: frames, boxes, marks and text, in pixels.

Colours are those of Okabe and Ito, which colour-blind readers tell apart; frames and boxes differ
in their dashes and frames in their mark as well.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from patchrerank.errors import ImageError
from patchrerank.images import read_image
from patchrerank.report.content import Box

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import ImageFont

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

Rect = tuple[int, int, int, int]
"""Left, top, right, bottom, in pixels; right and bottom are outside."""

INK, SOFT, PAPER, MAT, HALO = "#000000", "#555555", "#ffffff", "#f0f0f0", "#1a1a1a"
RIGHT, WRONG, UNKNOWN, ASKED = "#009e73", "#d55e00", "#888888", "#bbbbbb"
PREDICTED, TRUTH, GIVEN = "#f0e442", "#56b4e9", "#56b4e9"
FINE = 4
"""Marks are drawn so many times larger and reduced, for smooth slopes."""
LONGEST = 400
"""Signs of a line at most."""
SIGNS = {"−": "-", "–": "-", "…": "...", "×": "x", "λ": "lam", "γ": "gamma", "→": "->"}
"""What stands for signs that Pillow's own font lacks."""


@dataclass(frozen=True)
class Line:
    """How a rectangle is drawn.

    Attributes:
        colour: as Pillow knows it.
        width: pixels, towards the inside.
        dash: pixels drawn and left out in turn; 0 for a whole line.
    """

    colour: str
    width: int
    dash: int = 0


@dataclass(frozen=True)
class Cell:
    """A picture in a square.

    Attributes:
        picture: path or picture object.
        where: how an error names it.
        frame: around the square.
        boxes: drawn in this order, relative to the picture, each with its line.
    """

    picture: Path | Image.Image
    where: str
    frame: Line
    boxes: tuple[tuple[Box, Line], ...] = ()


def paste_cell(canvas: Image.Image, cell: Cell, left: int, top: int, side: int) -> Rect:
    """Draw a cell with its top left corner there; return where the picture itself lies.

    Args:
        canvas: RGB.
        cell: what to draw.
        left: pixels.
        top: pixels.
        side: of the square, in pixels.

    Raises:
        ImageError: the picture cannot be read; the message begins with ``cell.where``.
    """
    pen = ImageDraw.Draw(canvas)
    pen.rectangle((left, top, left + side - 1, top + side - 1), fill=MAT)
    room = side - 2 * cell.frame.width
    picture = _fitted(cell, room)
    x = left + (side - picture.width) // 2
    y = top + (side - picture.height) // 2
    canvas.paste(picture, (x, y))
    area = (x, y, x + picture.width, y + picture.height)
    draw_boxes(pen, cell.boxes, area)
    draw_rect(pen, (left, top, left + side, top + side), cell.frame)
    return area


def _fitted(cell: Cell, room: int) -> Image.Image:
    """Return the picture, as large as fits in a square."""
    try:
        picture = read_image(cell.picture, min_size=(2 * room, 2 * room))
    except ImageError as error:
        raise ImageError(f"{cell.where}: {error}") from error
    scale = room / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def placed(box: Sequence[float], area: Rect) -> Rect:
    """Return where a box in [0, 1] of a picture lies, if the picture lies at ``area``."""
    left, top, right, bottom = area
    x0, x1 = (left + round(float(x) * (right - left)) for x in (box[0], box[2]))
    y0, y1 = (top + round(float(y) * (bottom - top)) for y in (box[1], box[3]))
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)


def draw_boxes(pen: ImageDraw.ImageDraw, boxes: Sequence[tuple[Box, Line]], area: Rect) -> None:
    """Draw boxes, each on a dark rim; all rims lie below all boxes."""
    for box, line in boxes:
        x0, y0, x1, y1 = placed(box, area)
        rim = max(1, line.width // 2)
        outer = (
            max(x0 - rim, area[0]),
            max(y0 - rim, area[1]),
            min(x1 + rim, area[2]),
            min(y1 + rim, area[3]),
        )
        draw_rect(pen, outer, Line(HALO, line.width + 2 * rim))
    for box, line in boxes:
        draw_rect(pen, placed(box, area), line)


def draw_rect(pen: ImageDraw.ImageDraw, rect: Rect, line: Line) -> None:
    """Draw the outline of a rectangle inside it."""
    x0, y0, x1, y1 = rect
    width = min(line.width, max(1, min(x1 - x0, y1 - y0) // 2))
    for start, end in _dashes(x0, x1, line.dash):
        pen.rectangle((start, y0, end - 1, y0 + width - 1), fill=line.colour)
        pen.rectangle((start, y1 - width, end - 1, y1 - 1), fill=line.colour)
    for start, end in _dashes(y0, y1, line.dash):
        pen.rectangle((x0, start, x0 + width - 1, end - 1), fill=line.colour)
        pen.rectangle((x1 - width, start, x1 - 1, end - 1), fill=line.colour)


def _dashes(start: int, end: int, dash: int) -> Iterator[tuple[int, int]]:
    """Yield an odd number of equal parts, every other one: both ends are drawn."""
    count = 1 if dash == 0 else 2 * ((end - start) // (2 * dash)) + 1
    edges = [start + round(n * (end - start) / count) for n in range(count + 1)]
    for first, second in zip(edges[::2], edges[1::2], strict=True):
        yield first, max(second, first + 1)


def draw_mark(mark: str, colour: str, side: int) -> Image.Image:
    """Return a square of ``colour`` with a white sign in it: ``✓``, ``✗``, or a bar for ``?``."""
    size = side * FINE
    square = Image.new("RGB", (size, size), colour)
    pen = ImageDraw.Draw(square)
    strokes = {
        "✓": [(0.22, 0.54), (0.42, 0.74), (0.78, 0.28)],
        "✗": [(0.27, 0.27), (0.73, 0.73), (0.5, 0.5), (0.73, 0.27), (0.27, 0.73)],
        "?": [(0.25, 0.5), (0.75, 0.5)],
    }[mark]
    points = [(x * size, y * size) for x, y in strokes]
    pen.line(points, fill=PAPER, width=max(1, size // 8), joint="curve")
    return square.resize((side, side), Image.Resampling.LANCZOS)


def printable(text: str, *, ascii_only: bool) -> str:
    """Return text on one line that a font can draw.

    Args:
        text: anything.
        ascii_only: the font knows no other signs: accents are left out, signs are written out,
            what is left becomes ``?``.
    """
    line = " ".join(text.split()).encode("utf-8", "replace").decode("utf-8")
    if not ascii_only:
        return line
    written = "".join(SIGNS.get(sign, sign) for sign in line)
    folded = (sign for sign in unicodedata.normalize("NFKD", written))
    return "".join(s if s.isascii() else "?" for s in folded if not unicodedata.combining(s))


def shortened(text: str, font: Font, width: float) -> str:
    """Return text that is at most ``width`` pixels long; what is left out shows as three dots."""
    if font.getlength(text) <= width:
        return text
    kept = min(len(text), LONGEST)
    while kept and font.getlength(f"{text[:kept]}...") > width:
        kept -= 1
    return f"{text[:kept]}..."
