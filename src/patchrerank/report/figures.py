"""Figures for print: one PNG a query, and an index of them."""

from __future__ import annotations

import io
import json
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL.PngImagePlugin import PngInfo
from tqdm import tqdm

from patchrerank.files import Ours, check_target, json_with, marked, write_whole
from patchrerank.report.content import GROUPS, ReportQuery
from patchrerank.report.figure_style import FigureStyle
from patchrerank.report.layout import draw_figure

if TYPE_CHECKING:
    from PIL import Image

INDEX = "figures.json"
SOFTWARE, NAME = "Software", "patchrerank"
FIGURE = marked("a figure", f"{SOFTWARE}\0{NAME}".encode("ascii"))
INDEX_FILE = json_with("an index of figures", "figures")
LONGEST_NAME = 60


def write_figures(
    folder: str | Path,
    queries: Sequence[ReportQuery],
    style: FigureStyle | None = None,
    *,
    progress: bool = False,
) -> list[Path]:
    """Write one PNG a query and ``figures.json``, which says what each shows; return the PNGs.

    Files are numbered in the order of the queries and carry as much of a query's id as any file
    system takes: ``003-losses-shoe_12.png``. The same input gives the same bytes.

    Args:
        folder: made if it is missing; earlier figures of the same names are replaced.
        queries: as :func:`patchrerank.report.write_report` takes them.
        style: size, resolution and font.
        progress: show a progress bar.

    Raises:
        ImageError: a picture cannot be read; the message names it, its query and its method.
        SettingError: a file cannot be written or holds something else, or the style's font
            cannot be read.
    """
    style = style or FigureStyle()
    target = Path(folder)
    digits = max(3, len(str(len(queries))))
    paths = [
        target / f"{number:0{digits}d}{figure_name(query)}.png"
        for number, query in enumerate(queries, start=1)
    ]
    for path, ours in ((target / INDEX, INDEX_FILE), *((path, FIGURE) for path in paths)):
        check_target(path, ours, make_folder=True)
    shown = tqdm(queries, desc="figures", unit="figure", disable=not progress)
    for query, path in zip(shown, paths, strict=True):
        _write(path, _png(draw_figure(query, style), style.dpi), FIGURE)
    records = [_record(query, path.name) for query, path in zip(queries, paths, strict=True)]
    index = json.dumps({"figures": records}, indent=1)
    _write(target / INDEX, index.encode("ascii") + b"\n", INDEX_FILE)
    return paths


def figure_name(query: ReportQuery) -> str:
    """Return group and id as part of a file name, each behind a dash: ASCII letters and digits."""
    plain = unicodedata.normalize("NFKD", query.id).encode("ascii", "ignore").decode("ascii")
    clean = re.sub(r"[^A-Za-z0-9]+", "_", plain)[:LONGEST_NAME].strip("_")
    return "".join(f"-{part}" for part in (query.group, clean) if part)


def _png(picture: Image.Image, dpi: int) -> bytes:
    buffer = io.BytesIO()
    told = PngInfo()
    told.add_text(SOFTWARE, NAME)
    picture.save(buffer, "PNG", dpi=(dpi, dpi), optimize=True, pnginfo=told)
    return buffer.getvalue()


def _write(path: Path, content: bytes, ours: Ours) -> None:
    write_whole(path, content, ours, make_folder=True)


def _record(query: ReportQuery, name: str) -> dict[str, object]:
    return {
        "file": name,
        "query": query.id,
        "group": GROUPS.get(query.group),
        "gain": query.gain,
        "average_precision": {column.name: column.average_precision for column in query.columns},
        "hits": {column.name: [hit.id for hit in column.shown] for column in query.columns},
    }
