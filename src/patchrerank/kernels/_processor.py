"""What the processor that kernels are compiled for can do.

``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` name another one than this machine's; of such a one
only the features that are told count.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping

from llvmlite import binding
from numba import config


def told(features: str) -> dict[str, bool]:
    """Return features as LLVM writes them, such as ``+avx2,-avx512f``."""
    words = [word.strip() for word in features.split(",") if word.strip()]
    return {word[1:]: word[0] == "+" for word in words}


def multiplies_bytes(features: Mapping[str, bool]) -> bool:
    """Tell a processor that multiplies groups of four bytes in 512-bit registers."""
    return bool(features.get("avx512f") and features.get("avx512vnni"))


def shuffles(features: Mapping[str, bool], arm: bool) -> dict[int, str]:
    """Return LLVM's look-up of bytes in tables of 16, by the bytes of a register that have one."""
    if arm:
        return {16: "llvm.aarch64.neon.tbl1.v16i8"}
    found = {
        64: ("avx512bw", "llvm.x86.avx512.pshuf.b.512"),
        32: ("avx2", "llvm.x86.avx2.pshuf.b"),
        16: ("ssse3", "llvm.x86.ssse3.pshuf.b.128"),
    }
    held = {"ssse3": features.get("avx2", False), **features}
    return {width: name for width, (needed, name) in found.items() if held.get(needed)}


FEATURES: dict[str, bool] = (
    told(config.CPU_FEATURES or "") if config.CPU_NAME else dict(binding.get_host_cpu_features())
)
"""Feature → whether it is there."""
SHUFFLES = shuffles(FEATURES, platform.machine() in ("aarch64", "arm64"))
"""Widths of registers, in bytes, whose look-ups the kernels may use; empty where there are none."""
