"""``--tuned``: a cascade from the file that a tuning run wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from patchrerank.cli.views_option import query_views
from patchrerank.errors import SettingError

if TYPE_CHECKING:
    from patchrerank.pipeline import Cascade, Tuned

DECIDED = (
    "stages",
    "shortlist_size",
    "lam",
    "gamma",
    "query_crop",
    "query_views",
    "query_image_size",
    "query_part",
)
"""Parameters of commands that the file decides."""

TunedFile = Annotated[
    Path | None,
    typer.Option(
        "--tuned",
        help="tuned.json with stages, λ, γ, K, query crop and calibration, in place of options "
        "for them; hits get a probability if it was calibrated.",
    ),
]


def read_tuned(context: typer.Context, path: Path | None) -> Tuned | None:
    """Read the file, if one was named.

    Raises:
        SettingError: options beside it ask for what it decides; or the file is damaged.
    """
    from patchrerank.pipeline import Tuned

    if path is None:
        return None
    check_beside_tuned(context, path)
    return Tuned.load(path)


def check_beside_tuned(context: typer.Context, path: Path) -> None:
    """Refuse options for what the file decides.

    Raises:
        SettingError: one of them stands beside it.
    """
    given = [name for name in DECIDED if was_given(context, name)]
    if given:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise SettingError(f"--tuned {path} decides what {names} would; leave them out")


def encoder_and_regions(
    tuned: Tuned | None, encoder: str | None, regions: str | None
) -> tuple[str, str]:
    """Return what was asked for, else what was tuned on, else the usual."""
    usual = ("efficientnet_lite0", "grid:3")
    own = usual if tuned is None else (tuned.tuned_on.encoder, tuned.tuned_on.regions)
    return encoder or own[0], regions or own[1]


def open_reranker(
    context: typer.Context, gallery: Path, stages: str, tuned: Tuned | None, device: str
) -> Cascade:
    """Make the reranker that the options of ``search`` and ``rerank`` name.

    Args:
        context: of the command, with the options in ``DECIDED``, ``root`` and ``rescore``.
        gallery: its folder.
        stages: what the options ask for where no ``--tuned`` decides it.
        tuned: the content of ``--tuned``.
        device: of the encoder.

    Raises:
        SettingError: options that contradict each other, or are out of range.
    """
    from patchrerank.gallery import Gallery
    from patchrerank.pipeline import load_reranker

    given = context.params
    check_crop(context)
    asked = query_settings(context)
    opened = Gallery(gallery, root=given["root"], rescore=given["rescore"])
    if tuned is not None:
        return load_reranker(opened, tuned, device=device)
    return load_reranker(
        opened,
        stages if given["stages"] is None else given["stages"],
        device=device,
        **asked,
    )


def query_settings(context: typer.Context) -> dict[str, Any]:
    """Return what the options say of queries, as ``load_reranker`` takes it.

    Raises:
        SettingError: no views of a query.
    """
    given = context.params
    return {
        "query_crop": given["query_crop"],
        "query_views": query_views(given["query_views"]),
        "query_size": given["query_image_size"],
        "query_part": given["query_part"],
    }


def check_beside_stages(context: typer.Context, *names: str) -> None:
    """Refuse options whose values ``--stages`` holds already.

    Raises:
        SettingError: one of them stands beside it.
    """
    given = [f"--{name.replace('_', '-')}" for name in names if was_given(context, name)]
    if was_given(context, "stages") and given:
        raise SettingError(
            f"--stages decides what {', '.join(given)} would; leave one out "
            "(name:K:lam:gamma, as in --stages patchify:400:0.3:4)"
        )


def check_crop(context: typer.Context) -> None:
    """Refuse a crop to a box that is not given.

    Raises:
        SettingError: ``--query-crop box`` without ``--box``.
    """
    if context.params["query_crop"] == "box" and context.params["box"] is None:
        raise SettingError(
            "--query-crop box cuts the query to its box, and there is none; say where the object "
            "is with --box x0,y0,x1,y1, or leave --query-crop out"
        )


def was_given(context: typer.Context, name: str) -> bool:
    """Tell an option that stands on the command line from a default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
