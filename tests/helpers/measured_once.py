"""Where the cells of a published network look, measured once a session for the same weights."""

from __future__ import annotations

import hashlib
import sys
from typing import Any

WHOSE = {"torch", "timm", "open_clip", "patchrerank"}
PLAIN = (int, float, str, tuple, type(None))


def measure_once() -> None:
    """Let it be so from now on, if anything that was imported can measure."""
    module = sys.modules.get("patchrerank.encoders.cell_centres")
    if module is None:
        return
    measured, found = module._measured, {}

    def once(network: Any, size: Any, steps: Any) -> Any:
        parts = list(network.modules())
        if any(type(part).__module__.partition(".")[0] not in WHOSE for part in parts):
            return measured(network, size, steps)
        key = (_told(network), tuple(map(type, parts)), tuple(size), tuple(steps))
        if key not in found:
            found[key] = measured(network, size, steps)
        return found[key].copy()

    module._measured = once


def _told(network: Any) -> str:
    """What a network is, in a few letters: its structure, settings and weights."""
    settings = [
        sorted((name, value) for name, value in vars(part).items() if isinstance(value, PLAIN))
        for part in network.modules()
    ]
    digest = hashlib.blake2b(f"{network!r} {settings!r}".encode())
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()
