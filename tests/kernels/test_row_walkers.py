"""The walks of each kind of rows, kept on disk side by side."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

import kernel_twins
from patchrerank.kernels.row_walkers import images_walker, slots_walker
from prepared import python

STORED = [np.dtype(kind) for kind in ("f4", "u2", "i1")]

WALK = """
import sys
import numpy as np
from kernel_twins import make_store, patch_max_twin
from patchrerank.kernels import patch_max
rng = np.random.default_rng(0)
data, ends = rng.standard_normal((40, 24), dtype=np.float32), np.arange(4, 41, 4)
queries, rows = rng.standard_normal((2, 24), dtype=np.float32), rng.integers(0, 10, (2, 6))
for kind in sys.argv[1:]:
    store = make_store(kind, data, rng)
    want = patch_max_twin(queries, store, ends, rows)[0]
    np.testing.assert_allclose(patch_max(queries, store, ends, rows)[0], want, atol=1e-3)
"""


def test_each_has_a_name_of_its_own():
    walks = [walk(stored) for walk in (slots_walker, images_walker) for stored in STORED]
    assert len({walk.py_func.__qualname__ for walk in walks}) == 6
    assert slots_walker(STORED[0]) is walks[0]


@pytest.mark.slow
def test_what_each_of_several_processes_has_compiled_is_told_apart(tmp_path):
    paths = os.pathsep.join([str(Path(kernel_twins.__file__).parent), *sys.path])
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": paths}
    for kinds in (["float32"], ["float16"], ["int8"], ["float32", "float16", "int8"]):
        done = python("-c", WALK, *kinds, env=env)
        assert done.returncode == 0, done.stderr
