"""Weights that a library loads are all there, or are refused.

timm loads non-strictly whenever the classifier is left out, which it is here: parameters that a
checkpoint does not hold then keep their random values, and only a log line says so.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from patchrerank.errors import EncoderError

if TYPE_CHECKING:
    import torch

SHOWN = 3
_patching = threading.RLock()


@contextmanager
def complete_weights(origin: str) -> Iterator[None]:
    """Refuse, in this thread, any state dict that leaves parameters of its module as they were.

    Raises:
        EncoderError: names the first parameters that the weights of ``origin`` do not hold.
    """
    from torch import nn

    original: Any = nn.Module.load_state_dict
    owner = threading.get_ident()

    def checked(module: nn.Module, state: Mapping[str, Any], *args: Any, **settings: Any) -> Any:
        found = original(module, state, *args, **settings)
        if threading.get_ident() == owner:
            _check(module, found, origin)
        return found

    with _patching:
        nn.Module.load_state_dict = checked  # type: ignore[method-assign,assignment]
        try:
            yield
        finally:
            nn.Module.load_state_dict = original  # type: ignore[method-assign]


def _check(module: torch.nn.Module, found: Any, origin: str) -> None:
    missing = [key for key in found.missing_keys if not key.endswith("num_batches_tracked")]
    if not missing:
        return
    state = module.state_dict()
    random = [key for key in missing if state[key].unique().numel() > 1]
    if random or found.unexpected_keys:
        raise EncoderError(
            f"the weights of {origin} do not hold {len(missing)} of {len(state)} entries of the "
            f"network ({_some(missing)}), which would stay random; they hold others "
            f"({_some(found.unexpected_keys) or 'none'}). Were they saved from another model?"
        )


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(keys[:SHOWN]) + more
