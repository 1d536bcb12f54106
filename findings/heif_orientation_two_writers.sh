#!/usr/bin/env bash
# pillow-heif 1.8.1: of three ways to write a picture with an EXIF orientation as HEIF, only one
# keeps it upright.
#
# A picture of four coloured quarters carries an orientation of 2 to 8. What a viewer should show is
# what Pillow's exif_transpose makes of it.
# - image.save("x.heic") writes the turn into the file: right.
# - image.save("x.heic", exif=exif), the way that keeps EXIF for JPEG and PNG, writes no turn, and
#   reading resets the orientation to 1: the picture comes out as it was stored, wrong for all of 2 to 8.
# - from_pillow(image).save("x.heic") turns the pixels and writes the turn as well, so it is made
#   twice: 6 and 8 come out as the stored pixels turned by 180°, the others as they were stored.
# The reader cannot mend it: orientation reads 1 in all three.
# Quarters are listed top left, top right, bottom left, bottom right (red, green, blue, white).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check pillow-heif==1.8.1 pillow==13.0.0 numpy==2.4.6

cat >show.py <<'PYTHON'
import io
from importlib.metadata import version

import numpy as np
import pillow_heif
from PIL import Image, ImageOps

pillow_heif.register_heif_opener()
QUARTERS = {(1, 0, 0): "R", (0, 1, 0): "G", (0, 0, 1): "B", (1, 1, 1): "W"}


def oriented(orientation):
    """A picture that carries this orientation, and its EXIF."""
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:32, :48, 0] = pixels[:32, 48:, 1] = pixels[32:, :48, 2] = pixels[32:, 48:] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", exif=exif)
    return Image.open(file), exif


def look(image):
    """What a viewer shows that follows the orientation."""
    pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGB")) > 128
    height, width = pixels.shape[:2]
    spots = [(y, x) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    return f"{width}x{height} " + "".join(QUARTERS[tuple(pixels[s].astype(int))] for s in spots)


def reread(write):
    """The written picture, and the orientation that is left in it."""
    file = io.BytesIO()
    write(file)
    image = Image.open(file)
    assert image.getexif().get(0x0112, 1) == 1
    return look(image)


print("pillow-heif", version("pillow-heif"), "pillow", version("pillow"))
for orientation in range(1, 9):
    image, exif = oriented(orientation)
    print(
        f"{orientation}: truth {look(image)} |",
        f"save {reread(lambda f: image.save(f, 'HEIF'))} |",
        f"save with exif {reread(lambda f: image.save(f, 'HEIF', exif=exif))} |",
        f"from_pillow {reread(lambda f: pillow_heif.from_pillow(image).save(f))}",
    )
PYTHON

cat >expected.txt <<'EXPECTED'
pillow-heif 1.8.1 pillow 13.0.0
1: truth 96x64 RGBW | save 96x64 RGBW | save with exif 96x64 RGBW | from_pillow 96x64 RGBW
2: truth 96x64 GRWB | save 96x64 GRWB | save with exif 96x64 RGBW | from_pillow 96x64 RGBW
3: truth 96x64 WBGR | save 96x64 WBGR | save with exif 96x64 RGBW | from_pillow 96x64 RGBW
4: truth 96x64 BWRG | save 96x64 BWRG | save with exif 96x64 RGBW | from_pillow 96x64 RGBW
5: truth 64x96 RBGW | save 64x96 RBGW | save with exif 96x64 RGBW | from_pillow 96x64 RGBW
6: truth 64x96 BRWG | save 64x96 BRWG | save with exif 96x64 RGBW | from_pillow 96x64 WBGR
7: truth 64x96 WGBR | save 64x96 WGBR | save with exif 96x64 RGBW | from_pillow 96x64 RGBW
8: truth 64x96 GWRB | save 64x96 GWRB | save with exif 96x64 RGBW | from_pillow 96x64 WBGR
EXPECTED

venv/bin/python -I show.py | tee seen.txt
diff expected.txt seen.txt || { echo "changed: the output is not the expected one" >&2; exit 1; }
