"""Writing a data set in another layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from patchrerank.datasets._placing import Pictures, check_pictures_option, new_folder, place
from patchrerank.datasets.dataset import Dataset
from patchrerank.datasets.ilias_writing import write_ilias
from patchrerank.datasets.layouts import load_dataset
from patchrerank.datasets.writing import write_index
from patchrerank.errors import SettingError, near_matches


@dataclass(frozen=True)
class ConvertOptions:
    """How a data set is written.

    Attributes:
        pictures: ``symlink`` (needs the originals to stay), ``hardlink`` or ``copy``.
        clutter: for ILIAS, what is written where a positive's clutter is unknown; None: an error.

    Raises:
        SettingError: an unknown choice, or a clutter below 0.
    """

    pictures: Pictures = "symlink"
    clutter: int | None = None

    def __post_init__(self) -> None:
        check_pictures_option(self.pictures)
        if self.clutter is not None and self.clutter < 0:
            raise SettingError(f"clutter must be at least 0, got {self.clutter}")


def convert_dataset(
    dataset: Dataset,
    target: str | Path,
    layout: str = "folder",
    options: ConvertOptions | None = None,
) -> Dataset:
    """Write ``dataset`` to a new folder and return it as it reads from there.

    ``folder``, the library's own format, holds everything. ``ilias`` has no place for junk,
    positives listed for each query, boxes of different objects in one picture, and queries or
    positives without a box: these raise. What it has no field for and no result depends on (other
    ids, ``visible``, ``source``, ``args``) is kept for the reader in ``misc/converted.json``; boxes
    are rounded to whole pixels, and the AP convention and query crop become ILIAS' own.

    Args:
        dataset: see :func:`patchrerank.datasets.load_dataset`.
        target: an empty or new folder.
        layout: ``folder`` or ``ilias``.
        options: see :class:`ConvertOptions`.

    Raises:
        SettingError: an unknown layout.
        DatasetError: ``target`` is not empty, the layout cannot hold the data set, or a picture
            cannot be placed.
    """
    writer = WRITERS.get(layout)
    if writer is None:
        raise SettingError(
            f"layout {layout!r} cannot be written{near_matches(layout, WRITERS)}; use one of "
            f"{', '.join(WRITERS)}"
        )
    dataset.check_pictured("converting it")
    writer(dataset, Path(target), options or ConvertOptions())
    return load_dataset(target, layout)


def _to_folder(dataset: Dataset, target: Path, options: ConvertOptions) -> None:
    new_folder(target)
    placed: dict[Path, Path] = {}
    for file in (*(q.file for q in dataset.queries), *(i.file for i in dataset.images)):
        if file not in placed:
            placed[file] = target / _inner_path(dataset.root, file, len(placed))
            place(file, placed[file], options.pictures)
    write_index(
        target,
        [replace(query, file=placed[query.file]) for query in dataset.queries],
        [replace(image, file=placed[image.file]) for image in dataset.images],
        dataset.args,
        name=dataset.name,
        convention=dataset.convention,
        query_crop=dataset.query_crop,
    )


def _inner_path(root: Path, file: Path, number: int) -> Path:
    """Return the path of a picture below its folder; a made one for pictures from elsewhere."""
    if file.is_relative_to(root) and ".." not in file.relative_to(root).parts:
        return file.relative_to(root)
    return Path("pictures") / f"{number:06d}{file.suffix}"


def _to_ilias(dataset: Dataset, target: Path, options: ConvertOptions) -> None:
    write_ilias(dataset, target, options.pictures, options.clutter)


WRITERS: Mapping[str, Callable[[Dataset, Path, ConvertOptions], None]] = {
    "folder": _to_folder,
    "ilias": _to_ilias,
}
