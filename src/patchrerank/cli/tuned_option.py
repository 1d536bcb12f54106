"""``--tuned``: a cascade from the file that a tuning run wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchrerank.cli import options as opt
from patchrerank.errors import SettingError

if TYPE_CHECKING:
    from patchrerank.encoders import DenseEncoder, Encoder
    from patchrerank.gallery import Gallery
    from patchrerank.pipeline import Cascade, Tuned

DECIDED = (
    "stages",
    "shortlist_size",
    "lam",
    "gamma",
    "query_crop",
    "query_size",
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
    given = [name for name in DECIDED if was_given(context, name)]
    if given:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise SettingError(f"--tuned {path} decides what {names} would; leave them out")
    return Tuned.load(path)


def tuned_cascade(gallery: Gallery, device: str, tuned: Tuned) -> Cascade:
    """Make the cascade over a gallery, with the encoders that its manifest names."""
    encoder = opt.gallery_encoder(gallery, device)
    local = tuned.tuned_on.local
    dense = dense_encoder(encoder, local.query_image_size, local.query_part) if local else None
    return tuned.cascade(gallery, encoder, dense)


def dense_encoder(
    encoder: Encoder, image_size: tuple[int, int], query_part: str = "box"
) -> DenseEncoder:
    """Load the dense encoder of the same network."""
    from patchrerank.encoders import Selection, load_dense_encoder

    part = Selection(query_part=query_part)  # type: ignore[arg-type]
    return load_dense_encoder(encoder, image_size=image_size, selection=part)


def was_given(context: typer.Context, name: str) -> bool:
    """Tell an option that stands on the command line from a default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
