from __future__ import annotations

import importlib
import json
import os
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import patchrerank.kernels
from command_line import run
from patchrerank.kernels.jit import KERNELS
from patchrerank.warming import warm_up

RANK = """
import sys
import numpy as np
from patchrerank.gallery import import_gallery
from patchrerank.kernels.jit import KERNELS
from patchrerank.pipeline import load_reranker

eye = np.eye(8, dtype=np.float32)
made = import_gallery(sys.argv[1], list("abcd"), eye[:4], eye[None, :3].repeat(4, 0), encoder="e")
load_reranker(made, "patchify").rank(eye[0], list("abc"))
print(sum(sum(kernel.stats.cache_misses.values()) for kernel in KERNELS))
"""

OTHER_PROCESSORS = {"compare_int8_slots", "compare_byte_slots", "compare_slots"}
"""One of them is taken, as the processor multiplies bytes or not."""


def called_by_others():
    found = set()
    for kernel in KERNELS:
        code, known = kernel.py_func.__code__, kernel.py_func.__globals__
        found |= {id(known[name]) for name in code.co_names if name in known}
    return found


def test_every_kernel_is_used():
    for module in pkgutil.iter_modules(patchrerank.kernels.__path__):
        importlib.import_module(f"patchrerank.kernels.{module.name}")
    assert warm_up().kernels == len(KERNELS)
    inner = called_by_others()
    unused = [k.py_func for k in KERNELS if not k.signatures and id(k) not in inner]
    own = [kernel for kernel in unused if kernel.__module__.startswith("patchrerank.kernels.")]
    assert {kernel.__name__ for kernel in own} <= OTHER_PROCESSORS


def test_the_command_says_where_and_for_what():
    found = json.loads(run("warm-up", "--json").stdout)
    assert found["compiled"] >= 0 and found["folders"]
    said = run("warm-up").stdout
    assert f"{found['kernels']} kernels are ready for {found['processor']}" in said
    assert found["folders"][0] in said


@pytest.mark.slow
def test_what_one_process_has_compiled_into_a_folder_another_may_only_read(tmp_path):
    shutil.copytree(Path(patchrerank.__file__).parent, tmp_path / "src" / "patchrerank")
    for file in (tmp_path / "src").rglob("*.nb*"):
        file.unlink()
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path / "src"),
        "NUMBA_CACHE_DIR": str(tmp_path / "kernels"),
        "HOME": "/nonexistent",
    }

    def process(*words):
        how = {"env": environment, "capture_output": True, "text": True, "check": True}
        return subprocess.run([sys.executable, *map(str, words)], **how).stdout

    command = ["-m", "patchrerank.cli.main", "warm-up", "--json"]
    assert json.loads(process(*command))["compiled"] > 50
    for part in (tmp_path / "kernels").rglob("*"):
        part.chmod(0o555 if part.is_dir() else 0o444)
    assert json.loads(process(*command))["compiled"] == 0
    assert process("-c", RANK, tmp_path / "g").strip() == "0"
