"""``--query-views`` and ``--mask``: a query's object, shown before other backgrounds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from patchrerank.errors import SettingError

if TYPE_CHECKING:
    from patchrerank.pipeline import Cascade
    from patchrerank.types import QueryViews

VIEWS = "Query views"
"""Section of help pages."""

QueryViewsOption = Annotated[
    str | None,
    typer.Option(
        "--query-views",
        metavar="auto|none|N[:DEGREES[:CANVAS]][:grabcut]",
        rich_help_panel=VIEWS,
        help="Compose the query's object on N backgrounds kept with the gallery, each time turned "
        "within ± DEGREES [20], and average; CANVAS: a view's side as a share of the encoder's "
        "pictures' [0.7]; 0: on their mean alone, no pass more. The object is "
        "what mask, transparency, plain background or box say; grabcut: looked for in the box. "
        "auto: 2, where gallery, network and query allow it.",
    ),
]
MaskFile = Annotated[
    Path | None,
    typer.Option(
        "--mask",
        rich_help_panel=VIEWS,
        help="Picture of the query's size, light (or not transparent) where the object is; for "
        "query views and local descriptors.",
    ),
]
KeptBackgrounds = Annotated[
    int,
    typer.Option(
        "--backgrounds",
        rich_help_panel=VIEWS,
        help="Crops of pictures kept with the gallery for --query-views; 0: none. They show what "
        "is in the pictures.",
    ),
]


def query_views(text: str | None) -> QueryViews | None:
    """Parse ``--query-views``; None, or ``none``: none.

    Raises:
        SettingError: it is malformed, or out of range.
    """
    from patchrerank.types import AUTO_VIEWS, QueryViews

    if text in (None, "none"):
        return None
    return AUTO_VIEWS if text == "auto" else QueryViews.parse(text)


def masks_of(context: typer.Context, path: Path | None, *, used: bool) -> list[Any] | None:
    """Return the masks of one query; None where none was named.

    Args:
        context: of the command.
        path: ``--mask``.
        used: whether anything looks at it.

    Raises:
        SettingError: nothing does.
    """
    if path is None:
        return None
    if not used:
        raise SettingError(
            f"--mask {path}: neither query views nor local descriptors are used here, so the mask "
            f"would change nothing; add --query-views to {context.info_name}, or leave it out"
        )
    return [path]


def uses_masks(reranker: Cascade) -> bool:
    """Tell whether anything of a reranker looks at masks."""
    stages = reranker.stages
    return reranker.query_views is not None or any("local" in s.reranker.reads for s in stages)


def looked(reranker: Cascade) -> dict[str, str]:
    """Return how a query was looked at, for records; views only where there are any."""
    views = reranker.query_views
    told = {} if views is None else {"query_views": str(views)}
    return {"query_crop": reranker.query_crop, **told}
