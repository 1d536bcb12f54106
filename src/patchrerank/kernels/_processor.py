"""What the processor that kernels are compiled for can do.

``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` name another one than this machine's; of such an x86
one only the features that are told count.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping

from llvmlite import binding
from numba import config
from numba.core.codegen import get_host_cpu_features

_FOURS = """
declare i32 @llvm.vector.reduce.add.v16i32(<16 x i32>)
define i32 @fours(<16 x i8> %one, <16 x i8> %other) {
  %a = sext <16 x i8> %one to <16 x i32>
  %b = sext <16 x i8> %other to <16 x i32>
  %products = mul <16 x i32> %a, %b
  %sum = call i32 @llvm.vector.reduce.add.v16i32(<16 x i32> %products)
  ret i32 %sum
}
"""


def told(features: str) -> dict[str, bool]:
    """Return features as LLVM writes them, such as ``+avx2,-avx512f``."""
    words = [word.strip() for word in features.split(",") if word.strip()]
    return {word[1:]: word[0] == "+" for word in words}


def multiplies_bytes(features: Mapping[str, bool]) -> bool:
    """Tell a processor that multiplies groups of four bytes in 512-bit registers."""
    return bool(features.get("avx512f") and features.get("avx512vnni"))


def adds_fours(machine: binding.TargetMachine) -> bool:
    """Tell an ARM processor that adds the products of four signed bytes at once (``sdot``).

    The compiler is asked for code: what it lists of a machine's features leaves this one out.
    """
    return "sdot" in machine.emit_assembly(binding.parse_assembly(_FOURS))


def _compiled_for() -> binding.TargetMachine:
    """Return the machine that numba compiles for."""
    name = binding.get_host_cpu_name() if config.CPU_NAME is None else config.CPU_NAME
    told_of = config.CPU_FEATURES
    features = get_host_cpu_features() if told_of is None else told_of
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_default_triple()
    return target.create_target_machine(cpu=name, features=features)


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
ARM = platform.machine().lower() in ("aarch64", "arm64")
FOURS = ARM and adds_fours(_compiled_for())
"""Whether the kernels may use ``sdot``."""
SHUFFLES = shuffles(FEATURES, ARM)
"""Widths of registers, in bytes, whose look-ups the kernels may use; empty where there are none."""
