"""A small catalogue whose right answers are plain to see: patches of colour on grey pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from patchrerank.boxes import Floats
from patchrerank.encoders import Preprocessing, load_encoder
from patchrerank.gallery import Gallery, build_gallery
from patchrerank.regions import GridPyramid

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder

COLOURS = {"red": (255, 10, 10), "green": (10, 255, 10), "blue": (10, 10, 255)}
BOXES = {
    "red": (0.75, 0.0, 1.0, 0.25),
    "green": (0.0, 0.75, 0.25, 1.0),
    "blue": (0.75, 0.75, 1.0, 1.0),
}
"""Where in the picture of each colour its patch is, in [0, 1]."""

PLAIN = ("grey0.png", "grey1.png", "grey2.png")
IDS = (*(f"{name}.png" for name in COLOURS), *PLAIN)
SIDE = 64


def colour_pictures(folder: Path) -> Path:
    """Write six pictures: three with a patch of colour in a corner, three grey ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(PLAIN):
        _grey(100 + 20 * number).save(folder / name)
    for name, colour in COLOURS.items():
        picture, (x0, y0, x1, y1) = _grey(110), BOXES[name]
        corner = (int(SIDE * x0), int(SIDE * y0), int(SIDE * x1), int(SIDE * y1))
        picture.paste(colour, corner)
        picture.save(folder / f"{name}.png")
    return folder


def colour_query(name: str) -> Image.Image:
    """Return a picture of one colour."""
    return Image.new("RGB", (SIDE, SIDE), COLOURS[name])


def colour_encoder() -> Encoder:
    """Return an encoder whose vectors are mean colours, and which knows their names."""
    import torch

    class MeanColour(torch.nn.Module):
        """The mean colour of a picture."""

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return pixels.mean((2, 3))

    plain = Preprocessing(image_size=(16, 16), mean=(0, 0, 0), std=(1, 1, 1))
    return load_encoder(
        MeanColour(), preprocessing=plain, device="cpu", name="mean-colour", text=colour_words
    )


def colour_words(prompts: Sequence[str]) -> Floats:
    """Return the colour that each prompt names; grey for others."""
    known: dict[str, Any] = {**COLOURS}
    found = [
        next((known[word] for word in prompt.split() if word in known), (128, 128, 128))
        for prompt in prompts
    ]
    return np.array(found, dtype=np.float32)


def colour_gallery(folder: Path) -> Gallery:
    """Build the pictures' gallery below ``folder``: 30 patches a picture."""
    pictures = colour_pictures(folder / "pictures")
    return build_gallery(folder / "gallery", pictures, colour_encoder(), GridPyramid(3))


def _grey(level: int) -> Image.Image:
    return Image.new("RGB", (SIDE, SIDE), (level, level, level))
