"""The gallery and reranker that the options of ``serve`` and ``explore`` name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from patchrerank.cli.tuned_option import query_settings

if TYPE_CHECKING:
    from patchrerank.serving import Engine


def open_engine(context: typer.Context, *, load_encoder: bool = False) -> Engine:
    """Load what a service answers with.

    Args:
        context: of the command, with its options.
        load_encoder: at once, and not when the first picture or word comes.

    Raises:
        PatchRerankError: see :class:`patchrerank.serving.Engine`.
    """
    from patchrerank.encoders.preprocessing import check_image_size
    from patchrerank.serving import Engine

    given = context.params
    how: dict[str, Any] = {} if given["stages"] is None else {"stages": given["stages"]}
    if given["tuned"] is None:
        how |= query_settings(context)
        check_image_size(given["query_image_size"])
    places = {name: given[name] for name in ("tuned", "root", "device", "first_stage", "rescore")}
    return Engine(given["gallery"], load_encoder=load_encoder, **places, **how)
