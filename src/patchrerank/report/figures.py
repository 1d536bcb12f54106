"""Figures for print: one PNG a query, and an index of them."""

from __future__ import annotations

import io
import json
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from patchrerank.report.content import GROUPS, ReportQuery
from patchrerank.report.figure_style import FigureStyle
from patchrerank.report.files import write_whole
from patchrerank.report.layout import draw_figure

if TYPE_CHECKING:
    from PIL import Image

INDEX = "figures.json"
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
        folder: made if it is missing; files of the same names are replaced.
        queries: as :func:`patchrerank.report.write_report` takes them.
        style: size, resolution and font.
        progress: show a progress bar.

    Raises:
        ImageError: a picture cannot be read; the message names it, its query and its method.
        SettingError: a file cannot be written, or the style's font cannot be read.
    """
    style = style or FigureStyle()
    target, records, paths = Path(folder), [], []
    digits = max(3, len(str(len(queries))))
    shown = tqdm(queries, desc="figures", unit="figure", disable=not progress)
    for number, query in enumerate(shown, start=1):
        path = target / f"{number:0{digits}d}{figure_name(query)}.png"
        write_whole(path, _png(draw_figure(query, style), style.dpi))
        paths.append(path)
        records.append(_record(query, path.name))
    index = json.dumps({"figures": records}, indent=1)
    write_whole(target / INDEX, index.encode("ascii") + b"\n")
    return paths


def figure_name(query: ReportQuery) -> str:
    """Return group and id as part of a file name, each behind a dash: ASCII letters and digits."""
    plain = unicodedata.normalize("NFKD", query.id).encode("ascii", "ignore").decode("ascii")
    clean = re.sub(r"[^A-Za-z0-9]+", "_", plain)[:LONGEST_NAME].strip("_")
    return "".join(f"-{part}" for part in (query.group, clean) if part)


def _png(picture: Image.Image, dpi: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", dpi=(dpi, dpi), optimize=True)
    return buffer.getvalue()


def _record(query: ReportQuery, name: str) -> dict[str, object]:
    return {
        "file": name,
        "query": query.id,
        "group": GROUPS.get(query.group),
        "gain": query.gain,
        "average_precision": {column.name: column.average_precision for column in query.columns},
        "hits": {column.name: [hit.id for hit in column.shown] for column in query.columns},
    }
