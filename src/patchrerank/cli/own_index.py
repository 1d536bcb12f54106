"""``--index``: a faiss index that is there already, as the first stage of ``search``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchrerank.cli.tuned_option import was_given
from patchrerank.errors import SettingError
from patchrerank.types import Missing

if TYPE_CHECKING:
    from patchrerank.first_stage import FaissFile, GlobalSearch
    from patchrerank.gallery import Gallery

SECTION = "Your own faiss index as the first stage"
Index = Annotated[
    Path | None,
    typer.Option(
        help="A faiss index file in place of --first-stage: inner product or L2, of unit vectors "
        "of the gallery's encoder.",
        rich_help_panel=SECTION,
    ),
]
IndexIds = Annotated[
    Path | None,
    typer.Option(
        help="The id behind each label of the index: text with one id a line (that of label 0 "
        "first), .npy, or .json (a list, or {label: id}). Not needed where labels are the "
        "gallery's ids, or its rows.",
        rich_help_panel=SECTION,
    ),
]
MissingLabels = Annotated[
    Missing,
    typer.Option(
        help="What a label or id that the gallery does not hold is: an error; or keep: its id "
        "keeps its place and score among the hits; or drop: passed over.",
        rich_help_panel=SECTION,
    ),
]
Nprobe = Annotated[
    int | None,
    typer.Option(
        help="Lists that an inverted-file index visits; default: as many as the file says.",
        rich_help_panel=SECTION,
    ),
]


def check_index(context: typer.Context) -> None:
    """Refuse options that contradict each other or do nothing.

    Raises:
        SettingError: ``--index`` beside ``--first-stage``, or what belongs to it without it.
    """
    if context.params["index"] is not None:
        if was_given(context, "first_stage"):
            raise SettingError("--index is the first stage; leave --first-stage out")
        return
    for name in ("index_ids", "missing", "nprobe"):
        if was_given(context, name):
            raise SettingError(
                f"--{name.replace('_', '-')} says something of an index; name it with --index FILE"
            )


def first_stage_of(context: typer.Context, gallery: Gallery) -> FaissFile | GlobalSearch:
    """Open the first stage that the options name.

    Raises:
        PatchRerankError: see :class:`patchrerank.first_stage.FaissFile` and ``GlobalSearch``.
    """
    from patchrerank.first_stage import FaissFile, GlobalSearch

    given = context.params
    if given["index"] is None:
        return GlobalSearch(gallery, given["first_stage"])
    settings = {} if given["nprobe"] is None else {"nprobe": given["nprobe"]}
    return FaissFile(
        gallery, given["index"], ids=given["index_ids"], missing=given["missing"], **settings
    )
