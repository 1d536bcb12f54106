import os
import subprocess
import sys

import pytest
from llvmlite import binding

from patchrerank.kernels import _processor
from patchrerank.kernels._processor import adds_fours, shuffles


@pytest.mark.parametrize("system", ["unknown-linux-gnu", "apple-darwin", "pc-windows-msvc"])
@pytest.mark.parametrize(
    ("name", "features", "able"),
    [
        *(("generic", "", False), ("cortex-a72", "", False), ("neoverse-n1", "-dotprod", False)),
        *(("generic", "+dotprod", True), ("neoverse-n1", "+neon", True), ("apple-m1", "", True)),
    ],
)
def test_arm_processors_that_add_products_of_four_bytes(system, name, features, able):
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    try:
        target = binding.Target.from_triple(f"aarch64-{system}")
    except RuntimeError:
        pytest.skip("this LLVM compiles for its own processor only")
    assert adds_fours(target.create_target_machine(cpu=name, features=features)) is able


def test_every_arm_processor_of_64_bits_looks_bytes_up():
    assert list(shuffles({}, arm=True)) == [16]
    assert not shuffles({}, arm=False)


WRITTEN_OUT = """
from llvmlite import ir
from patchrerank.kernels import _processor
_processor.FOURS = True
from patchrerank.kernels import _byte_tiles

def written_out(builder, total, one, other):
    wide, places = ir.VectorType(ir.IntType(32), 16), ir.VectorType(ir.IntType(32), 4)
    product = builder.mul(builder.sext(one, wide), builder.sext(other, wide))
    for first in range(4):
        mask = ir.Constant(places, list(range(first, 16, 4)))
        total = builder.add(total, builder.shuffle_vector(product, product, mask))
    return total

_byte_tiles.added_fours = written_out
"""

INT8 = """
import numpy as np
from patchrerank.kernels import Float32Store, Int8Store, chamfer_rescored, patch_max
from patchrerank.kernels import _processor, _sets
assert (_processor.FOURS, _sets.HAS_INT8, _sets.BIAS) == (True, True, 0)
ends, set_ends = np.arange(6, 61, 6), np.array([2, 5])
for dim in (3, 16, 100, 192):
    rng = np.random.default_rng(dim)
    codes = rng.integers(-128, 128, (60, dim)).astype(np.int8)
    codes[:6], codes[6:12] = -128, 127
    store = Int8Store(codes, rng.random(60, dtype=np.float32))
    queries, rows = rng.standard_normal((5, dim), dtype=np.float32), rng.integers(0, 10, (5, 8))
    queries[0], queries[1], rows[:, 0] = -1, 1, 0
    table = (queries.astype(float) @ store.decode(np.arange(60)).T.astype(float)).reshape(5, 10, 6)
    found = [patch_max(queries, store, ends, wanted)[0] for wanted in (rows, rows[[0] * 5])]
    for scores, wanted in zip(found, (rows, rows[[0] * 5])):  # alone, then shared
        want = table.max(2)[np.arange(5)[:, None], wanted]
        np.testing.assert_allclose(scores, want, atol=2e-5 * np.abs(table).max())
    alone = patch_max(queries[:1], store, ends, rows[:1])[0]
    assert np.array_equal(alone[0], found[1][0])
    if dim % 4 == 0:
        whole = np.clip(np.rint(queries * 8), -16, 16)
        whole[:, 0] = 127  # so that a query is its codes
        exact = Float32Store(store.decode(np.arange(60)))
        got = chamfer_rescored(whole, set_ends, store, exact, ends, rows[:2], rescore=0)
        table = (whole.astype(float) @ exact.decode(np.arange(60)).T.astype(float))
        best = table.reshape(5, 10, 6).max(2)
        want = [best[:2].mean(0)[rows[0]], best[2:].mean(0)[rows[1]]]
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-3)
"""


def test_products_of_four_bytes_add_up():
    """On ARM by its instruction; elsewhere by what it does, written out."""
    if _processor.ARM and not _processor.FOURS:
        pytest.skip("this processor has none")
    code = INT8 if _processor.ARM else WRITTEN_OUT + INT8
    # no other test compiles for this one
    env = {} if _processor.ARM else {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse4.2"}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300, env={**os.environ, **env})
