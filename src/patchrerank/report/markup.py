"""The HTML of a report's parts; every text that comes in is escaped."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape

from patchrerank.report.content import (
    GROUPS,
    ReportColumn,
    ReportHit,
    ReportQuery,
    ReportTable,
    gain_over,
    is_whole,
)
from patchrerank.report.pictures import PictureSheet

VERDICTS = {True: ("right", "✓"), False: ("wrong", "✗"), None: ("unknown", "?")}
"""The class and the sign of a hit that is right, wrong, or not known to be either."""

OPENING_HITS = 5
"""How many hits of each method the page opens with."""

KEY = (
    "Green frame: right; red: wrong. Yellow box: where the method found it; dashed blue: where it "
    "really is. mAP is 100 if all that is right comes first, for every query."
)
"""What a reader must know to understand what the page opens with."""

NUMBER = re.compile(r"[+\-−±]?\s?\d")


def table_card(table: ReportTable) -> str:
    """Return a table of metrics; columns that hold numbers alone are aligned right."""
    kinds = [_column_class(cells) for cells in zip(*table.rows, strict=True)]
    kinds = kinds or [""] * len(table.headers)
    head = "".join(
        f'<th scope="col"{kind}>{escape(text)}</th>'
        for text, kind in zip(table.headers, kinds, strict=True)
    )
    rows = "\n".join(f"<tr>{_cells(row, kinds)}</tr>" for row in table.rows)
    note = f'\n<p class="note">{escape(table.note)}</p>' if table.note else ""
    return (
        f'<section class="card table"><h2>{escape(table.title)}</h2>\n<table>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table>{note}</section>"
    )


def _column_class(cells: Sequence[str]) -> str:
    filled = [cell for cell in cells if cell not in ("", "–", "-")]
    return ' class="number"' if filled and all(map(NUMBER.match, filled)) else ""


def _cells(row: Sequence[str], kinds: Sequence[str]) -> str:
    name, *values = row
    cells = (f"<td{kind}>{escape(v)}</td>" for v, kind in zip(values, kinds[1:], strict=True))
    return f'<th scope="row"{kinds[0]}>{escape(name)}</th>' + "".join(cells)


def settings_list(settings: Mapping[str, str]) -> str:
    """Return the settings, name beside value."""
    items = "\n".join(
        f"<dt>{escape(str(name))}</dt><dd>{escape(str(value))}</dd>"
        for name, value in settings.items()
    )
    return (
        '<details class="card settings"><summary>Settings</summary>\n'
        f"<dl>\n{items}\n</dl></details>"
    )


def opening(query: ReportQuery, sheet: PictureSheet) -> str:
    """Return one query, large: the first hits of its first method, and below of its last."""
    before, after = (
        replace(column, hits=column.hits[:OPENING_HITS])
        for column in (query.columns[0], query.columns[-1])
    )
    methods = "\n".join(
        _method(column, before, sheet, _found(column)) for column in (before, after)
    )
    return (
        f'<section class="opening query" data-id="{escape(query.id)}">\n'
        f"{_asked(query, sheet)}\n"
        f'<div class="methods">\n{methods}\n<p class="note">{KEY}</p></div>\n</section>'
    )


def _found(column: ReportColumn) -> str:
    """Return how many of the hits are right."""
    right = sum(bool(hit.correct) for hit in column.hits)
    return f'<span class="ap number">{right} of the first {len(column.hits)} right</span>'


def query_section(number: int, query: ReportQuery, sheet: PictureSheet) -> str:
    """Return one query: its picture, and below one another the hits of each method.

    Args:
        number: from 1, for the section's anchor.
        query: its pictures must be in ``sheet``.
        sheet: knows the class name of each picture.
    """
    first = query.columns[0] if query.columns else None
    methods = "\n".join(_method(column, first, sheet) for column in query.columns)
    gain = "" if query.gain is None else f"{query.gain:.6f}"
    return (
        f'<section class="query" id="query-{number}" data-id="{escape(query.id)}" '
        f'data-gain="{gain}" data-group="{query.group}">\n{_asked(query, sheet)}\n'
        f'<div class="methods">\n{methods}\n</div>\n</section>'
    )


def _asked(query: ReportQuery, sheet: PictureSheet) -> str:
    given = () if query.box is None else (("query-box", query.box),)
    frame = _frame(sheet.name(query.image), f"Query {query.id}", query.id, given)
    return (
        f'<div class="asked">{frame}<h2><bdi>{escape(query.id)}</bdi></h2>'
        f"{_gain_line(query.gain)}{_group(query)}</div>"
    )


def group_choices(queries: Sequence[ReportQuery]) -> str:
    """Return a choice for each group of queries that the page shows; nothing without groups."""
    present = [query.group for query in queries]
    return "".join(
        f'<label><input type="radio" name="show" value="{group}">{name.capitalize()}'
        f'<span class="count">{present.count(group)}</span></label>\n'
        for group, name in GROUPS.items()
        if group in present
    )


def _group(query: ReportQuery) -> str:
    return f'<p class="group">{GROUPS[query.group]}</p>' if query.group else ""


def _gain_line(gain: float | None) -> str:
    if gain is None:
        return ""
    kind, sign = ("up", "▲") if gain > 0 else ("down", "▼") if gain < 0 else ("", "=")
    return f'<p class="gain number {kind}">{sign} {_signed(gain)} <small>AP</small></p>'


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−") if value else "0.000"


def _method(
    column: ReportColumn, first: ReportColumn | None, sheet: PictureSheet, note: str = ""
) -> str:
    """Return a method's hits; ``note`` stands in place of its average precision."""
    before = None
    if first is not None and column is not first:
        before = {hit.id: rank for rank, hit in enumerate(first.shown, start=1)}
    hits = "\n".join(
        _hit(hit, rank, before, sheet) for rank, hit in enumerate(column.shown, start=1)
    )
    listed = f'<ol class="hits">\n{hits}\n</ol>' if hits else '<p class="none">No hits.</p>'
    precision = note or _precision(column, first)
    return f'<div class="method"><h3>{escape(column.name)}{precision}</h3>\n{listed}</div>'


def _precision(column: ReportColumn, first: ReportColumn | None) -> str:
    if column.average_precision is None:
        return ""
    gain = gain_over(first, column) if first is not None and column is not first else None
    change = "" if gain is None else f" ({_signed(gain)})"
    return f'<span class="ap number">AP {column.average_precision:.3f}{change}</span>'


def _hit(hit: ReportHit, rank: int, before: Mapping[str, int] | None, sheet: PictureSheet) -> str:
    verdict, mark = VERDICTS[None if hit.correct is None else bool(hit.correct)]
    boxes: list[tuple[str, Sequence[float]]] = [("truth", box) for box in hit.truths]
    if hit.predicted is not None:
        boxes.append(("predicted", hit.predicted))
    label = f"{mark} {hit.id}, rank {rank}, score {_score(hit.score)}"
    frame = _frame(sheet.name(hit.image), label, hit.id, boxes)
    return (
        f'<li class="hit {verdict}" data-hit="{escape(hit.id)}">{frame}'
        f'<div class="caption"><b>{rank}</b><span class="mark">{mark}</span>'
        f'{_shift(rank, hit.id, before)}<span class="score">{_score(hit.score)}</span></div></li>'
    )


def _shift(rank: int, hit: str, before: Mapping[str, int] | None) -> str:
    """Return how far a hit moved against the first method."""
    if before is None:
        return ""
    if hit not in before:
        return '<span class="shift">new</span>'
    moved = before[hit] - rank
    sign = f"↑{moved}" if moved > 0 else f"↓{-moved}" if moved < 0 else "="
    return f'<span class="shift" title="rank {before[hit]} before">{sign}</span>'


def _score(score: float) -> str:
    if not math.isfinite(score):
        return "–" if math.isnan(score) else "∞" if score > 0 else "−∞"
    return f"{score:.4f}" if abs(score) < 100 else f"{score:.5g}"


def _frame(picture: str, label: str, tip: str, boxes: Sequence[tuple[str, Sequence[float]]]) -> str:
    """Return a thumbnail in a square frame with its boxes over it."""
    boxes = [(kind, box) for kind, box in boxes if not is_whole(tuple(box))]
    drawn = "".join(_rect("halo", box) + _rect(kind, box) for kind, box in boxes)
    overlay = f'<svg viewBox="0 0 100 100" preserveAspectRatio="none">{drawn}</svg>'
    return (
        f'<button type="button" class="frame" title="{escape(tip)}" aria-label="{escape(label)}">'
        f'<span class="pic {picture}">{overlay if boxes else ""}</span></button>'
    )


def _rect(kind: str, box: Sequence[float]) -> str:
    x0, y0, x1, y1 = (100 * float(value) for value in box)
    return (
        f'<rect class="{kind}" x="{x0:.6g}" y="{y0:.6g}" '
        f'width="{x1 - x0:.6g}" height="{y1 - y0:.6g}"/>'
    )
