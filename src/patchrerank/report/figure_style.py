"""How figures are printed, and the lengths that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from patchrerank.errors import SettingError
from patchrerank.report.content import SHOWN_HITS
from patchrerank.report.drawing import printable

if TYPE_CHECKING:
    from PIL import ImageFont

QUERY_SHARE = 1.75
"""How many times the side of a hit the side of the query picture is."""


@dataclass(frozen=True)
class FigureStyle:
    """How figures are printed.

    Attributes:
        width: inches; the default is that of a page with two columns.
        dpi: pixels an inch.
        points: size of the text.
        font: a TrueType or OpenType file; None: Pillow's own font, which knows the letters,
            digits and signs of ASCII alone.

    Raises:
        SettingError: a size that leaves no room, or a font that cannot be read.
    """

    width: float = 7.0
    dpi: int = 300
    points: float = 7.0
    font: Path | None = None

    def __post_init__(self) -> None:
        sides = {"width": (2, 40), "dpi": (50, 1200), "points": (4, 24)}
        for name, (low, high) in sides.items():
            if not low <= getattr(self, name) <= high:
                raise SettingError(f"{name} of figures must lie in {low}…{high}")
        self.load_font()

    def text(self, text: str) -> str:
        """Return text as the font can draw it."""
        return printable(text, ascii_only=self.font is None)

    def pixels(self, points: float) -> int:
        """Return a length in printer's points (1/72 inch) as pixels, at least 1."""
        return max(1, round(points * self.dpi / 72))

    def load_font(self) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        """Return the font in its size."""
        from PIL import ImageFont

        size = self.pixels(self.points)
        if self.font is None:
            return ImageFont.load_default(size)
        try:
            return ImageFont.truetype(str(self.font), size)
        except OSError as error:
            raise SettingError(
                f"font {self.font}: cannot be read ({error}); use a .ttf or .otf file"
            ) from error


@dataclass(frozen=True)
class Sizes:
    """Lengths of a figure in pixels.

    Attributes:
        width: of the figure.
        side: of a hit.
        query: side of the query picture.
        gap: between hits.
        indent: where the first hit begins.
        line: height of a line of text.
        space: above the legend, and between rows.
        frame: width of frames.
        box: width of boxes.
        mark: side of marks.
    """

    width: int
    side: int
    query: int
    gap: int
    indent: int
    line: int
    space: int
    frame: int
    box: int
    mark: int

    @classmethod
    def of(cls, style: FigureStyle) -> Sizes:
        """Fit ten hits beside the query picture."""
        width, gap, between = round(style.width * style.dpi), style.pixels(3), style.pixels(9)
        side = int((width - between - (SHOWN_HITS - 1) * gap) / (SHOWN_HITS + QUERY_SHARE))
        indent = width - SHOWN_HITS * side - (SHOWN_HITS - 1) * gap
        return cls(
            width=width,
            side=side,
            query=indent - between,
            gap=gap,
            indent=indent,
            line=style.pixels(1.4 * style.points),
            space=style.pixels(5),
            frame=style.pixels(1.4),
            box=style.pixels(0.9),
            mark=style.pixels(6.5),
        )

    @property
    def row(self) -> int:
        """Height of a method: its name, the hits, and their marks."""
        return self.side + 2 * self.line

    def height(self, rows: int) -> int:
        """Return that of a figure with so many methods."""
        left = self.query + 4 * self.line + self.gap
        right = rows * self.row + max(rows - 1, 0) * self.space
        return max(left, right) + self.space + self.line
