"""Photographs that pip-installed packages bring along (scikit-image, scikit-learn)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from patchrerank.errors import DatasetError, MissingExtraError
from patchrerank.files import write_whole, writing

OBJECTS = {
    "skimage": ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "ihc.png"),
    "sklearn": ("flower.jpg",),
}
BACKGROUNDS = {
    "skimage": (
        "brick.png",
        "grass.png",
        "gravel.png",
        "hubble_deep_field.jpg",
        "rocket.jpg",
    ),
    "sklearn": ("china.jpg",),
}
FOLDERS = {"skimage": "data", "sklearn": "datasets/images"}


def copy_shipped_photos(out: Path) -> tuple[Path, Path]:
    """Copy the photographs into ``out/objects`` and ``out/backgrounds`` and return both folders.

    Objects and backgrounds come from different photographs, so that nothing that is searched
    for occurs in a background.

    Raises:
        MissingExtraError: scikit-image or scikit-learn is not installed, or ships no such file.
        DatasetError: another file of such a name is there already.
    """
    return _copy(OBJECTS, out / "objects"), _copy(BACKGROUNDS, out / "backgrounds")


def _copy(names: dict[str, tuple[str, ...]], target: Path) -> Path:
    with writing(target):
        target.mkdir(parents=True, exist_ok=True)
    for package, files in names.items():
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise MissingExtraError(
                f'the photographs of {package} are needed; pip install "patchrerank[demo]"'
            )
        folder = Path(spec.origin).parent / FOLDERS[package]
        for file in files:
            if not (folder / file).is_file():
                raise MissingExtraError(f"{package} ships no {file}; install the version in [demo]")
            _place(folder / file, target / file)
    return target


def _place(source: Path, target: Path) -> None:
    """Copy one photograph; the same one that is there already is left alone."""
    content = source.read_bytes()
    if target.is_file() and target.read_bytes() == content:
        return
    if target.exists():
        raise DatasetError(f"{target}: is there already and is another file; choose a new folder")
    write_whole(target, content)
