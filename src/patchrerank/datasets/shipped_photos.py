"""Whole objects and backgrounds from photographs that pip-installed packages bring along."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

from PIL import Image

from patchrerank.datasets.shipped_cutouts import CUTOUTS
from patchrerank.errors import DatasetError, MissingExtraError
from patchrerank.files import write_whole, writing

FOLDERS = {"skimage": "data", "sklearn": "datasets/images"}
SKLEARN = ("china.jpg", "flower.jpg")
"""What scikit-learn brings; all else is of scikit-image."""
BACKGROUNDS = (
    "brick.png",
    "camera.png",
    "china.jpg",
    "hubble_deep_field.jpg",
    "motorcycle_left.png",
    "rocket.jpg",
)


def copy_shipped_photos(out: Path) -> tuple[Path, Path]:
    """Write ``out/objects`` (cut-outs, RGBA) and ``out/backgrounds``, and return both folders.

    Objects and backgrounds come from different photographs, so that nothing that is searched
    for occurs in a background.

    Raises:
        MissingExtraError: scikit-image or scikit-learn is not installed, or ships no such file.
        DatasetError: another file of such a name is there already.
    """
    objects, backgrounds = out / "objects", out / "backgrounds"
    for folder in (objects, backgrounds):
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
    for cutout in CUTOUTS:
        with Image.open(_shipped(cutout.photo)) as photo:
            _place(_png(cutout.cut(photo)), objects / f"{cutout.name}.png")
    for name in BACKGROUNDS:
        _place(_shipped(name).read_bytes(), backgrounds / name)
    return objects, backgrounds


def _shipped(file: str) -> Path:
    """Return where a package keeps a photograph."""
    package = "sklearn" if file in SKLEARN else "skimage"
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise MissingExtraError(
            f'the photographs of {package} are needed; pip install "patchrerank[demo]"'
        )
    path = Path(spec.origin).parent / FOLDERS[package] / file
    if not path.is_file():
        raise MissingExtraError(f"{package} ships no {file}; install the version in [demo]")
    return path


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _place(content: bytes, target: Path) -> None:
    """Write one picture; the same one that is there already is left alone."""
    if target.is_file() and target.read_bytes() == content:
        return
    if target.exists():
        raise DatasetError(f"{target}: is there already and is another file; choose a new folder")
    write_whole(target, content)
