"""Folders that a library is to load a model from (``local-dir:``): which file the weights are."""

from __future__ import annotations

from pathlib import Path

from patchrerank.encoders.spec_names import LOCAL
from patchrerank.errors import EncoderError

ENDINGS = (".safetensors", ".bin", ".pth", ".pth.tar")
NAMES = (
    "model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
)
"""What timm and open_clip look for first; of other names they take the first, in silence."""
SHOWN = 5


def check_folder(name: str) -> None:
    """Refuse a ``local-dir:`` folder of which it is not clear which file holds the weights.

    Other names, hub repositories included, pass.

    Raises:
        EncoderError: no such folder, no weights file, or several and none of the usual names.
    """
    if not name.startswith(LOCAL):
        return
    folder = Path(name.removeprefix(LOCAL))
    if not folder.is_dir():
        raise EncoderError(f"{name}: no such folder")
    weights = sorted(path.name for path in folder.iterdir() if path.name.endswith(ENDINGS))
    if not weights:
        found = sorted(path.name for path in folder.iterdir())
        raise EncoderError(
            f"{folder}: could not find weights in it, only {_some(found) or 'nothing'}; they are "
            f"looked for as {NAMES[0]}, {NAMES[4]} or another file ending in {', '.join(ENDINGS)}"
        )
    if len(weights) > 1 and not set(weights) & set(NAMES):
        raise EncoderError(
            f"{folder}: holds several files of weights ({_some(weights)}); leave one, or call the "
            f"right one {NAMES[0]}"
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
