"""Options that several commands share, and how their results are printed."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from patchrerank.errors import SettingError

EncoderSpec = Annotated[
    str,
    typer.Option(
        "--encoder",
        help="efficientnet_lite0, timm:MODEL[/FILE] (MODEL may have ?pool=token|avg|map behind it) "
        "or open_clip:MODEL[/PRETRAINED or FILE].",
    ),
]
ImageSize = Annotated[
    int | None, typer.Option(help="Network input size in pixels; default: the model's own.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Precision = Annotated[str, typer.Option(help="fp32, bf16 or fp16.")]
Backend = Annotated[
    str, typer.Option(help="What runs the network: auto, eager, compile, openvino or onnx.")
]
RandomWeights = Annotated[
    bool, typer.Option("--random-weights", help="Do not load pretrained weights (for trials).")
]
Root = Annotated[
    Path | None,
    typer.Option(
        "--root", help="Folder that the gallery's pictures are in now, where they have moved."
    ),
]
MaxRegions = Annotated[
    int | None,
    typer.Option(
        "--max-regions", help="The most regions of an image that are allowed. [default: 5000]"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars.")]
LAM, GAMMA = 0.3, 4.0  # as in pipeline.DEFAULT_STAGES
Lam = Annotated[float, typer.Option(help="λ in [0, 1]: weight of the global score.")]
Gamma = Annotated[float, typer.Option(help="γ ≥ 0: slope of the sigmoid on the local score.")]
ShortlistSize = Annotated[
    str, typer.Option(help="Candidates rescored: a number, or 'all'.", metavar="K|all")
]
QueryCropOption = Annotated[
    str, typer.Option("--query-crop", help="none: whole query picture; box: cut to its box.")
]
DatasetQueryCrop = Annotated[
    str | None,
    typer.Option(
        "--query-crop",
        help="none: whole query picture; box: cut to its box. [default: the data set's protocol]",
        show_default=False,
    ),
]


Stages = Annotated[
    str | None,
    typer.Option(
        help="Several stages in place of --shortlist-size, --lam and --gamma: "
        "name[:K[:lam[:gamma]]], joined by commas, such as patchify+refine:400,chamfer:100:0.7:2."
    ),
]
FirstStage = Annotated[str, typer.Option(help="faiss index-factory string.")]
RunFile = Annotated[
    Path | None,
    typer.Option(
        "--run",
        help="Write the hits as a run for trec_eval, ranx or ir-measures: TREC lines, or JSON "
        "{query: {id: score}} where the name ends in .json.",
    ),
]
QueryId = Annotated[
    str | None,
    typer.Option(
        help="The query's id in the run, and in a shortlist with several queries. [default: the "
        "shortlist's, else the picture's file name]",
        show_default=False,
    ),
]
QuerySize = Annotated[
    int, typer.Option(help="Side of the query picture for local descriptors, in pixels.")
]
LocalImageSize = Annotated[
    int | None,
    typer.Option(
        help="Side of the gallery's pictures for local descriptors. [448, or that of --tuned]"
    ),
]
QueryImageSize = Annotated[
    int, typer.Option(help="Side of the query pictures for local descriptors.")
]
EncoderOfTuned = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        help="efficientnet_lite0, timm:MODEL[/FILE] or open_clip:MODEL[/PRETRAINED or FILE]. "
        "[efficientnet_lite0, or that of --tuned]",
    ),
]
RegionsOfTuned = Annotated[
    str | None,
    typer.Option("--regions", help="grid:L, sliding:L:stride, … [grid:3, or those of --tuned]"),
]
QueryPartOption = Annotated[
    str,
    typer.Option(
        help="Local descriptors of the query: those in its box; foreground (of these not a plain "
        "background); salient (without a box: unlike the border); all."
    ),
]


LONGEST_NUMBER = 19
"""Digits; a longer one counts nothing that there is."""


def shortlist_size(text: str) -> int | None:
    """Parse ``--shortlist-size``."""
    if text == "all":
        return None
    if not (text.isascii() and text.isdigit() and len(text) < LONGEST_NUMBER):
        raise SettingError(f"--shortlist-size is {text!r}; use a number or 'all'")
    return int(text)


def run_query(run: Path | None, query_id: str | None, query: Path) -> str:
    """Return the query's id in a run, after checking, before any work, that it can be written.

    Raises:
        SettingError: no run can be written there.
        ShortlistError: the id does not fit into a TREC line.
    """
    from patchrerank.runs.writing import check_ids, check_run_path

    name = query.name if query_id is None else query_id
    if run is not None:
        check_run_path(run)
        if run.suffix != ".json":
            check_ids([name], "query")
    return name


def parse_box(text: str | None) -> list[float] | None:
    """Parse ``x0,y0,x1,y1``."""
    if text is None:
        return None
    try:
        box = [float(part) for part in text.split(",")]
    except ValueError:
        box = []
    if len(box) != 4 or any(math.isnan(side) for side in box):
        raise SettingError(f"--box is {text!r}; use x0,y0,x1,y1 in [0, 1] of the picture")
    return box


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
    return str(value) if isinstance(value, Path) else value
