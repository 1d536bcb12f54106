"""The parts of a spec that several loaders share."""

from __future__ import annotations

from typing import get_args

from patchrerank.encoders.preprocessing import Interpolation

HUB_PREFIXES = ("hf-hub:", "hf_hub:", "local-dir:")


def from_hub(name: str) -> bool:
    """Return whether the library is to resolve ``name`` itself: a hub repository or a folder."""
    return name.startswith(HUB_PREFIXES)


def split_file(name: str) -> tuple[str, str | None]:
    """Split ``model/rest`` at its first slash; hub names keep theirs and have no rest."""
    if from_hub(name):
        return name, None
    model, slash, rest = name.partition("/")
    return model, rest if slash and rest else None


def known_interpolation(name: str) -> Interpolation:
    """Return ``name`` if it is one of ours, else ``bicubic`` (for a choice at random, say)."""
    for known in get_args(Interpolation):
        if name == known:
            return known  # type: ignore[no-any-return]
    return "bicubic"
