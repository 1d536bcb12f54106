"""Write a report: the template, its policy, and the file."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from tqdm import tqdm

from patchrerank.errors import SettingError
from patchrerank.files import marked, write_whole
from patchrerank.report.content import ReportQuery, ReportTable
from patchrerank.report.markup import (
    group_choices,
    opening,
    query_section,
    settings_list,
    table_card,
)
from patchrerank.report.pictures import PictureSheet
from patchrerank.report.selection import by_gain

SMALLEST_THUMBNAIL, LARGEST_THUMBNAIL = 32, 2048
PAGE = marked("a page of a report", b'<meta name="generator" content="patchrerank">')
"""How pages are known that this library wrote."""


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    queries: Sequence[ReportQuery],
    tables: Sequence[ReportTable],
    settings: Mapping[str, str],
    result: str = "",
    thumbnail: int = 224,
    progress: bool = False,
) -> Path:
    """Write one HTML page that compares the methods, query by query, and return its path.

    The page holds everything it needs: it loads nothing, works without a network, and its
    content security policy forbids anything else. The same input gives the same bytes. The file
    is replaced at once, so no half-written page is ever seen; missing folders are made.

    Args:
        path: the file to write.
        title: heading of the page.
        queries: shown in this order; the reader can filter and sort them by gain.
        tables: metrics, shown above the queries.
        settings: what produced the rankings, name to value; folded away.
        result: what came out, in a sentence. The page then opens with it and, large, with the
            first hits for the query that gains most, if any gains.
        thumbnail: long side of the stored pictures in pixels, 32…2048. Each distinct picture is
            stored once; at 224 expect about 10 kB each.
        progress: show a progress bar while pictures are read.

    Raises:
        ImageError: a picture cannot be read; the message names it, its query and its method.
        SettingError: ``thumbnail`` is outside its range, or ``path`` cannot be written or holds
            something else than such a page.
    """
    check_thumbnail(thumbnail)
    sheet = PictureSheet(thumbnail)
    for query in tqdm(queries, desc="report pictures", unit="query", disable=not progress):
        for image, where in query.pictures():
            sheet.add(image, where)
    facts = [table_card(table) for table in tables]
    opened = _opening(result, queries, sheet)
    if settings:
        facts.append(settings_list(settings))
    target = Path(path)
    write_page(target, _fill(title, opened, queries, "\n".join(facts), sheet))
    return target


def check_thumbnail(pixels: int) -> None:
    """Raise :class:`SettingError` unless pictures of that long side can be stored."""
    if not SMALLEST_THUMBNAIL <= pixels <= LARGEST_THUMBNAIL:
        raise SettingError(
            f"thumbnail must lie in {SMALLEST_THUMBNAIL}…{LARGEST_THUMBNAIL} pixels, got {pixels}"
        )


def _opening(result: str, queries: Sequence[ReportQuery], sheet: PictureSheet) -> str:
    if not result:
        return ""
    best = [query for query in by_gain(queries)[:1] if query.gain and query.gain > 0]
    shown = "".join(f"\n{opening(query, sheet)}" for query in best)
    return f'<p class="result">{escape(result)}</p>{shown}'


def _fill(
    title: str, opened: str, queries: Sequence[ReportQuery], facts: str, sheet: PictureSheet
) -> str:
    template = files("patchrerank.report").joinpath("page.html").read_text(encoding="utf-8")
    gains = [query.gain or 0.0 for query in queries]
    pictures = sheet.css()
    sections = [query_section(n, query, sheet) for n, query in enumerate(queries, start=1)]
    return Template(template).substitute(
        policy=content_policy(template, pictures),
        title=escape(title),
        pictures=pictures,
        opening=opened,
        facts=facts,
        count_all=len(gains),
        groups=group_choices(queries),
        count_gained=sum(gain > 0 for gain in gains),
        count_lost=sum(gain < 0 for gain in gains),
        queries="\n".join(sections) or '<p class="none">No queries.</p>',
    )


def content_policy(template: str, pictures: str) -> str:
    """Return a content security policy that lets in the page's own style and script alone."""
    styles = [pictures if s == "$pictures" else s for s in bodies_of(template, "style")]
    allowed = {"style": styles, "script": bodies_of(template, "script")}
    rules = ["default-src 'none'", "base-uri 'none'", "form-action 'none'", "img-src data:"]
    for kind, bodies in allowed.items():
        rules.append(f"{kind}-src " + " ".join(f"'sha256-{_digest(body)}'" for body in bodies))
    return "; ".join(rules)


def bodies_of(template: str, tag: str) -> list[str]:
    """Return what stands between each opening and closing tag."""
    return re.findall(f"<{tag}>(.*?)</{tag}>", template, flags=re.DOTALL)


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def write_page(target: Path, page: str) -> None:
    """Write a page in one go; what cannot be encoded becomes a question mark.

    Raises:
        SettingError: it cannot be written, or something else is there.
    """
    write_whole(target, page.encode("utf-8", errors="replace"), PAGE, make_folder=True)
