"""The parts of a spec that several loaders share."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from patchrerank.encoders.preprocessing import Interpolation
from patchrerank.errors import EncoderError, near_matches

LOCAL = "local-dir:"
HUB_PREFIXES = ("hf-hub:", "hf_hub:", LOCAL)
POOLS = ("token", "avg", "map")
"""Class token, mean of the map or of the patch tokens, attention pooling."""


LONGEST = 120


def shown(name: str) -> str:
    """Return a name as messages quote it: what stands behind 120 characters is left out."""
    return repr(name if len(name) <= LONGEST else f"{name[:LONGEST]}…")


def from_hub(name: str) -> bool:
    """Return whether the library is to resolve ``name`` itself: a hub repository or a folder."""
    return name.startswith(HUB_PREFIXES)


def split_file(name: str) -> tuple[str, str | None]:
    """Split ``model/rest`` at its first slash; hub names keep theirs and have no rest."""
    if from_hub(name):
        return name, None
    model, slash, rest = name.partition("/")
    return model, rest if slash and rest else None


def split_pool(model: str) -> tuple[str, str | None]:
    """Split ``model?pool=…`` into the model and its pooling, None where it does not say.

    Raises:
        EncoderError: another option than ``pool``, or none of ``POOLS``.
    """
    bare, mark, option = model.rpartition("?")
    if not mark or (from_hub(model) and "=" not in option):
        return model, None
    key, _, pool = option.partition("=")
    if key != "pool" or pool not in POOLS:
        raise EncoderError(
            f"encoder option {shown(option)} behind {shown(bare)} is unknown; use ?pool= with "
            f"one of {', '.join(POOLS)}{near_matches(pool or key, POOLS)}"
        )
    return bare, pool


def check_file(file: str, model: str) -> None:
    """Say where an option belongs that was written behind a file.

    Raises:
        EncoderError: there is no such file, but one without the option.
    """
    path, mark, option = file.rpartition("?")
    if mark and "=" in option and not Path(file).is_file():
        raise EncoderError(
            f"{file}: no such checkpoint file; an option stands behind the model: "
            f"{model}?{option}/{path}"
        )


def known_interpolation(name: str) -> Interpolation:
    """Return ``name`` if it is one of ours, else ``bicubic`` (for a choice at random, say)."""
    known: tuple[Interpolation, ...] = get_args(Interpolation)
    return next((one for one in known if one == name), "bicubic")
