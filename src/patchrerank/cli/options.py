"""Options that several commands share, and how their results are printed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import typer

from patchrerank.cli.help_pages import LAST
from patchrerank.errors import SettingError

ENCODER = "Encoder"
LOCAL = "Local descriptors"
SCORES = "How candidates are scored"
RESULT = LAST
"""Sections of help pages."""

Precision = Literal["fp32", "bf16", "fp16"]
Backend = Literal["auto", "eager", "compile", "openvino", "onnx"]
QueryPart = Literal["box", "foreground", "salient", "all"]
QueryCrop = Literal["none", "box"]
Store = str
STORES = (
    "How patch vectors are stored: float32, float16, int8, pq, rabitq1 … rabitq4; pq and rabitq "
    "also with finer rows beside them, as in rabitq2+int8 or pq+float16."
)
OnError = Literal["raise", "skip"]

SPECS = (
    "efficientnet_lite0, timm:MODEL[/FILE] (MODEL may have ?pool=token|avg|map behind it) or "
    "open_clip:MODEL[/PRETRAINED or FILE]."
)
STAGES = "name[:K[:lam[:gamma]]], joined by commas"
METHODS = (
    f"global, or stages {STAGES}; +refine behind a name tightens its boxes, +refine-patches "
    "does so without local descriptors. Behind them, set apart by spaces: store=float16|int8|pq|"
    "rabitq1…4, whiten=N|auto, m=, nbits=, train-on=all|L0|…|boxes, views= (as --query-views) and, "
    "last, label=. May be repeated."
)

EncoderSpec = Annotated[str, typer.Option("--encoder", help=SPECS, rich_help_panel=ENCODER)]
EncoderOfTuned = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        help=f"{SPECS} [efficientnet_lite0, or that of --tuned]",
        rich_help_panel=ENCODER,
    ),
]
ImageSize = Annotated[
    int | None,
    typer.Option(
        help="Network input size in pixels; default: the model's own.", rich_help_panel=ENCODER
    ),
]
Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda (or cuda:1) or mps.", rich_help_panel=ENCODER)
]
PrecisionOption = Annotated[
    Precision, typer.Option("--precision", help="Of the network.", rich_help_panel=ENCODER)
]
BackendOption = Annotated[
    Backend, typer.Option("--backend", help="What runs the network.", rich_help_panel=ENCODER)
]
RandomWeights = Annotated[
    bool,
    typer.Option(
        "--random-weights",
        help="Do not load pretrained weights (for trials).",
        rich_help_panel=ENCODER,
    ),
]
Root = Annotated[
    str | None,
    typer.Option(
        "--root",
        help="Folder or address that the gallery's pictures are in now, where they have moved.",
    ),
]
Rescore = Annotated[
    int | None,
    typer.Option(
        "--rescore",
        help="Of a gallery with finer rows beside codes (rabitq2+int8): how many candidates they "
        "score again. [60]",
    ),
]
RegionsOption = Annotated[str, typer.Option("--regions", help="grid:L, sliding:L:stride, …")]
RegionsOfTuned = Annotated[
    str | None,
    typer.Option("--regions", help="grid:L, sliding:L:stride, … [grid:3, or those of --tuned]"),
]
MOST_REGIONS = 5000  # as in patchrerank.regions
MaxRegions = Annotated[
    int, typer.Option("--max-regions", help="The most regions of an image that are allowed.")
]
Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        help="Folder where galleries are kept for the next call, which finds them by what the "
        "data set says and by its pictures' bytes, wherever it lies.",
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON document instead of text.", rich_help_panel=RESULT),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars.", rich_help_panel=RESULT)]
LAM, GAMMA = 0.1, 4.0  # as in fusion.DEFAULT_FUSION
Lam = Annotated[
    float, typer.Option(help="λ in [0, 1]: weight of the global score.", rich_help_panel=SCORES)
]
Gamma = Annotated[
    float,
    typer.Option(help="γ ≥ 0: slope of the sigmoid on the local score.", rich_help_panel=SCORES),
]
ShortlistSize = Annotated[
    str,
    typer.Option(
        help="Candidates rescored: a number, or 'all'.", metavar="K|all", rich_help_panel=SCORES
    ),
]
QueryCropOption = Annotated[
    QueryCrop,
    typer.Option("--query-crop", help="none: whole query picture; box: cut to its box."),
]
DatasetQueryCrop = Annotated[
    QueryCrop | None,
    typer.Option(
        "--query-crop",
        help="none: whole query picture; box: cut to its box. [default: the data set's protocol]",
        show_default=False,
    ),
]
Box = Annotated[
    str | None, typer.Option("--box", help="Object in the query picture: x0,y0,x1,y1 in [0, 1].")
]
Stages = Annotated[
    str | None,
    typer.Option(
        help=f"Several stages in place of --shortlist-size, --lam and --gamma: {STAGES}, such as "
        "patchify+refine:400,chamfer:100:0.7:2.",
        rich_help_panel=SCORES,
    ),
]
FirstStage = Annotated[
    str, typer.Option("--first-stage", help="faiss index-factory string of the global search.")
]
RunFile = Annotated[
    Path | None,
    typer.Option(
        "--run",
        help="Write the hits as a run for trec_eval, ranx or ir-measures: TREC lines, or JSON "
        "{query: {id: score}} where the name ends in .json.",
        rich_help_panel=RESULT,
    ),
]
QueryId = Annotated[
    str | None,
    typer.Option(
        help="The query's id in the run, and in a shortlist with several queries. [default: the "
        "shortlist's, else the picture's file name]",
        show_default=False,
        rich_help_panel=RESULT,
    ),
]
Parts = Annotated[int, typer.Option("--m", help="Parts of a product quantiser.")]
Bits = Annotated[int, typer.Option("--nbits", help="Bits of each part, 1 to 8.")]
Whiten = Annotated[
    str | None,
    typer.Option(
        "--whiten",
        help="PCA-whitening, learned on the gallery's own patches: dimensions to keep, auto (90 % "
        "of their variance), or a whitened GALLERY, to whiten as that is.",
    ),
]
LocalImageSize = Annotated[
    int | None,
    typer.Option(
        help="Side of the gallery's pictures for local descriptors. [448, or that of --tuned]",
        rich_help_panel=LOCAL,
    ),
]
QueryImageSize = Annotated[
    int,
    typer.Option(
        help="Side of the query picture for local descriptors, in pixels.", rich_help_panel=LOCAL
    ),
]
QueryPartOption = Annotated[
    QueryPart,
    typer.Option(
        "--query-part",
        help="Local descriptors of the query: those in its box; foreground (of these not a plain "
        "background); salient (without a box: unlike the border); all.",
        rich_help_panel=LOCAL,
    ),
]


IndexWhiten = Annotated[
    str | None,
    typer.Option(
        "--whiten",
        help="PCA-whitening, learned on the gallery's own patches: dimensions to keep, auto (90 % "
        "of their variance), a whitened GALLERY, to whiten as that is, or none. [auto, where there "
        "are 128 images or more]",
    ),
]


def whitening(text: str | None) -> int | str | None:
    """Parse ``--whiten``."""
    number = text is not None and text.isascii() and text.isdigit() and len(text) < LONGEST_NUMBER
    return int(text) if text is not None and number else text


LONGEST_NUMBER = 19
"""Digits; a longer one counts nothing that there is."""


def shortlist_size(text: str) -> int | None:
    """Parse ``--shortlist-size``."""
    if text == "all":
        return None
    if not (text.isascii() and text.isdigit() and len(text) < LONGEST_NUMBER):
        raise SettingError(f"--shortlist-size is {text!r}; use a number or 'all'")
    return int(text)


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
