#!/usr/bin/env bash
# torch 2.14.1: torch.load ignores the checksums that torch.save has put into the file.
#
# A saved file is a zip container with a CRC-32 for each tensor. One flipped bit in a tensor's bytes
# (a worn disk, a bad copy) is named by Python's zipfile, while torch.load hands out the changed weight
# without an error or a warning, with weights_only=True too: 500.0 has become 125.0.
# What to do: check with zipfile.ZipFile(path).testzip() (None is sound) before loading.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check torch==2.14.1 numpy==2.4.6

cat >show.py <<'PYTHON'
import zipfile
from pathlib import Path

import torch

weights = torch.arange(1000, dtype=torch.float32)
torch.save({"weights": weights}, "sound.pt")
data = bytearray(Path("sound.pt").read_bytes())
start = data.find(weights.numpy().tobytes())
data[start + 4 * 500 + 3] ^= 1
Path("flipped.pt").write_bytes(data)

print("torch", torch.__version__.split("+")[0])
for name in ("sound.pt", "flipped.pt"):
    loaded = torch.load(name, weights_only=True)["weights"]
    with zipfile.ZipFile(name) as container:
        print(f"{name}: zipfile names {container.testzip()}; weight 500 loads as {loaded[500]}")
PYTHON

cat >expected.txt <<'EXPECTED'
torch 2.14.1
sound.pt: zipfile names None; weight 500 loads as 500.0
flipped.pt: zipfile names sound/data/0; weight 500 loads as 125.0
EXPECTED

venv/bin/python -I show.py | tee seen.txt
diff expected.txt seen.txt || { echo "changed: the output is not the expected one" >&2; exit 1; }
