#!/usr/bin/env bash
# numba 0.68.1: a cached kernel of a module that was loaded by its file works in the process that
# compiles it and fails in every later one.
#
# The module is loaded with importlib from its path, as plugins and notebooks' helpers are, without an
# entry in sys.modules. The first process compiles and fills the cache without a word; the second gets
# ModuleNotFoundError: No module named '<dynamic>' when it calls the kernel, in place of a cache miss.
# With an entry in sys.modules before the module's code runs, the second process hits the cache.
# What to do: put the module into sys.modules first (importlib's documentation does it that way).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check numba==0.68.1 numpy==2.4.6

cat >show.py <<'PYTHON'
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

Path("kernels.py").write_text(
    "from numba import njit\n\n\n@njit(cache=True)\ndef double(x):\n    return 2 * x\n"
)
Path("call.py").write_text("""
import importlib.util
import sys

spec = importlib.util.spec_from_file_location("my_kernels", "kernels.py")
module = importlib.util.module_from_spec(spec)
if sys.argv[1] == "named":
    sys.modules["my_kernels"] = module
spec.loader.exec_module(module)
try:
    answer = module.double(21)
except ModuleNotFoundError as error:
    print(f"{type(error).__name__}: {error}")
else:
    hits = sum(module.double.stats.cache_hits.values())
    print(f"answer {answer}, cache hits {hits}")
""")

print("numba", version("numba"))
for way in ("unnamed", "named"):
    for process in (1, 2):
        done = subprocess.run(
            [sys.executable, "-I", "call.py", way],
            env={**os.environ, "NUMBA_CACHE_DIR": str(Path(way).resolve())},
            capture_output=True, text=True, check=True,
        )
        print(f"{way}, process {process}: {done.stdout.strip()}")
PYTHON

cat >expected.txt <<'EXPECTED'
numba 0.68.1
unnamed, process 1: answer 42, cache hits 0
unnamed, process 2: ModuleNotFoundError: No module named '<dynamic>'
named, process 1: answer 42, cache hits 0
named, process 2: answer 42, cache hits 1
EXPECTED

venv/bin/python -I show.py | tee seen.txt
diff expected.txt seen.txt || { echo "changed: the output is not the expected one" >&2; exit 1; }
