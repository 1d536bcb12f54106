#!/usr/bin/env bash
# Pillow 13.0.0: convert("RGB") and convert("L") of a 16-bit grey picture cut off at 255 in place of
# scaling, so that nearly all of it turns white.
#
# A ramp of the whole range, 0 to 65535, saved as 16-bit PNG or TIFF (scanners, microscopes, depth maps)
# and opened again: every level from 255 on is white. Nothing warns. A network that is fed the picture
# sees a blank sheet.
# What to do: for mode "I;16" divide by 257 (65535 / 255) in numpy before making 8 bits of it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check pillow==13.0.0 numpy==2.4.6

cat >show.py <<'PYTHON'
import io
from importlib.metadata import version

import numpy as np
from PIL import Image

levels = np.array([[0, 100, 255, 256, 16384, 32768, 65535]], np.uint16)
print("pillow", version("pillow"))
print("stored", levels[0].tolist())
for kind in ("PNG", "TIFF"):
    file = io.BytesIO()
    Image.fromarray(levels).save(file, kind)
    image = Image.open(file)
    grey = np.asarray(image.convert("L"))[0].tolist()
    red = np.asarray(image.convert("RGB"))[0, :, 0].tolist()
    print(f"{kind}, mode {image.mode}: L {grey}, R of RGB {red}")
print("scaled", np.round(levels[0] / 257).astype(int).tolist())
PYTHON

cat >expected.txt <<'EXPECTED'
pillow 13.0.0
stored [0, 100, 255, 256, 16384, 32768, 65535]
PNG, mode I;16: L [0, 100, 255, 255, 255, 255, 255], R of RGB [0, 100, 255, 255, 255, 255, 255]
TIFF, mode I;16: L [0, 100, 255, 255, 255, 255, 255], R of RGB [0, 100, 255, 255, 255, 255, 255]
scaled [0, 0, 1, 1, 64, 128, 255]
EXPECTED

venv/bin/python -I show.py | tee seen.txt
diff expected.txt seen.txt || { echo "changed: the output is not the expected one" >&2; exit 1; }
