"""Checkpoint files: read without running code from them, and loaded only if every key fits."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchrerank.encoders.checkpoint_digests import check_archive
from patchrerank.errors import EncoderError

if TYPE_CHECKING:
    import torch

WRAPPERS = ("state_dict", "state", "model")
"""Keys under which training scripts keep the weights."""

SHOWN = 3
"""How many keys of a kind an error names."""


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """Return the tensors of a ``.safetensors`` file or of a torch file, by name.

    Torch files are read with ``weights_only=True``: no code in them runs. Weights below
    ``state_dict``, ``state`` or ``model`` are unwrapped, and names that all start with ``module.``.

    Raises:
        EncoderError: the file is missing, damaged, holds other objects than tensors, or none.
    """
    return weights_in(read_content(path), os.fspath(path))


def read_content(path: str | os.PathLike[str]) -> Any:
    """Return all that a ``.safetensors`` or torch file holds, read as in :func:`read_checkpoint`.

    Parts of a torch file are compared with their checksums first.

    Raises:
        EncoderError: the file is missing, damaged, or holds other objects than tensors, numbers,
            texts, lists and dictionaries.
    """
    if not Path(path).is_file():
        raise EncoderError(f"{os.fspath(path)}: no such checkpoint file")
    try:
        check_archive(Path(path))
        return _read(Path(path))
    except EncoderError:
        raise
    except Exception as error:
        raise EncoderError(
            f"{os.fspath(path)}: not a checkpoint that can be read safely "
            f"({_first_line(error)}); save a state dict with torch.save or safetensors"
        ) from error


def check_finite(state: Mapping[str, torch.Tensor], origin: str) -> None:
    """Refuse weights with NaN or infinite values.

    Raises:
        EncoderError: names the file and the first such entry.
    """
    broken = next((key for key, value in state.items() if not bool(value.isfinite().all())), None)
    if broken is not None:
        raise EncoderError(f"{origin}: entry {broken!r} holds NaN or infinite values")


def load_strictly(
    module: torch.nn.Module, state: Mapping[str, torch.Tensor], *, origin: str
) -> None:
    """Put ``state`` into ``module``; every key and shape must fit (batch counters may be absent).

    Raises:
        EncoderError: names the first keys that are missing, unexpected or of another shape.
    """
    expected = module.state_dict()
    missing = [k for k in expected if k not in state and not k.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in expected]
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    found = [f"{kind}: {_some(keys)}" for kind, keys in kinds.items() if keys]
    if found:
        raise EncoderError(
            f"{origin} does not fit the model ({'; '.join(found)}); was it saved from another one?"
        )
    module.load_state_dict(dict(state), strict=False)


def _read(path: Path) -> Any:
    import torch

    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(path, map_location="cpu", weights_only=True)


def weights_in(content: Any, name: str) -> dict[str, torch.Tensor]:
    """Return the tensors of :func:`read_content`, by name, unwrapped as in :func:`read_checkpoint`.

    Raises:
        EncoderError: other objects than tensors, or none; ``name`` is the file's.
    """
    import torch

    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise EncoderError(f"{name}: holds no weights; a dictionary from name to tensor is needed")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise EncoderError(
                f"{name}: entry {key!r} is a {type(value).__name__}, not a tensor; save the "
                f"model's state_dict(), alone or below one of {', '.join(WRAPPERS)}"
            )
    if all(key.startswith("module.") for key in content):
        return {key.removeprefix("module."): value for key, value in content.items()}
    return dict(content)


def _some(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(keys[:SHOWN]) + more


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
