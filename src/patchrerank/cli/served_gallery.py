"""The gallery and reranker that the options of ``serve`` and ``explore`` name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from patchrerank.cli.tuned_option import query_settings
from patchrerank.errors import SettingError

if TYPE_CHECKING:
    from patchrerank.serving import Engine


GIB = 1 << 30


def memory_bytes(gib: float) -> int:
    """Parse ``--device-memory``.

    Raises:
        SettingError: no number of GiB, at least 0.
    """
    if not 0 <= gib < float("inf"):
        raise SettingError(f"--device-memory is {gib}; use a number of GiB, at least 0")
    return int(gib * GIB)


def open_engine(context: typer.Context, *, load_encoder: bool = False, **where: Any) -> Engine:
    """Load what a service answers with.

    Args:
        context: of the command, with its options.
        load_encoder: at once, and not when the first picture or word comes.
        where: scores are computed: ``on_device`` and ``device_memory`` of the engine.

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
    return Engine(given["gallery"], load_encoder=load_encoder, **where, **places, **how)
