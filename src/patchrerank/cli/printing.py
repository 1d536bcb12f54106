"""How results are printed: tables, lines, JSON."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import UUID


def print_json(content: object) -> None:
    """Print one JSON document; NaN becomes null."""
    sys.stdout.write(json_text(content))


def json_text(content: object) -> str:
    """Return one JSON document as text; NaN becomes null."""
    return json.dumps(_plain(content), indent=1, ensure_ascii=False) + "\n"


def print_table(title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title or None, title_justify="left")
    for number, header in enumerate(headers):
        table.add_column(header, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 120, markup=False, emoji=False).print(table)


def print_line(text: str) -> None:
    """Print one line of text."""
    sys.stdout.write(text + "\n")


def number(value: float | None, digits: int = 1) -> str:
    """Format a figure for a table; unknown ones become a dash."""
    return "–" if value is None or math.isnan(value) else f"{value:z.{digits}f}"


def _plain(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path | UUID) else value
