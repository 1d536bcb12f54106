"""Which layout a benchmark's folder has, and reading it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path

from patchrerank.datasets._entries import INDEX
from patchrerank.datasets.dataset import Dataset
from patchrerank.datasets.folder import load_folder
from patchrerank.datasets.ilias import load_ilias
from patchrerank.datasets.ilias_ids import IMAGE_IDS, POSITIVES, QUERIES
from patchrerank.datasets.instre import TRUTH, load_instre
from patchrerank.datasets.revisited import PATTERN, load_revisited
from patchrerank.errors import DatasetError, SettingError, near_matches

READERS: Mapping[str, Callable[..., Dataset]] = {
    "folder": load_folder,
    "ilias": load_ilias,
    "instre": load_instre,
    "revisited": load_revisited,
}

SIGNS: Mapping[str, tuple[str, ...]] = {
    "folder": (INDEX,),
    "ilias": (POSITIVES, QUERIES, IMAGE_IDS),
    "instre": (TRUTH,),
    "revisited": (PATTERN,),
}
"""What a layout is recognised by, in this order: any of these files."""


def load_dataset(path: str | Path, layout: str = "auto", **options: str) -> Dataset:
    """Read a benchmark from its folder; the pictures are only checked to exist.

    ============  ====================================  ======================================
    layout        recognised by                         options
    ============  ====================================  ======================================
    folder        ``index.json``                        none
    ilias         ``image_ids/``                        ``distractors``: all, none or a list;
                                                        ``queries``: image or text
    instre        ``gnd_instre.mat``                    ``query_boxes``, ``image_boxes``: auto,
                                                        xyxy or xywh
    revisited     ``gnd_*.pkl``                         ``setup``: easy, medium (the default),
                                                        hard; ``file``
    ============  ====================================  ======================================

    Args:
        path: the folder. Where no options can be passed, they can be written behind it:
            ``roxford5k:setup=hard`` or ``ilias:distractors=none,layout=ilias``.
        layout: its layout, or ``auto`` to recognise it by its files.
        options: see the table.

    Raises:
        DatasetError: a file is missing or damaged; the message says which one and where.
        SettingError: an unknown layout or option.
    """
    root, written = split_options(path)
    if layout == "auto":
        layout = written.pop("layout", "auto")
    if layout == "auto":
        layout = recognise(root)
    reader = READERS.get(layout)
    if reader is None:
        raise SettingError(
            f"layout {layout!r} is unknown{near_matches(layout, READERS)}; use auto or one of "
            f"{', '.join(READERS)}"
        )
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder; a data set is a folder with {_signs(layout)}")
    given = {**written, **options}
    known = [*inspect.signature(reader).parameters][1:]
    for name in given:
        if name not in known:
            raise SettingError(
                f"{root}: the layout {layout} has no option {name!r}{near_matches(name, known)}; "
                f"it has {', '.join(known) or 'none'}"
            )
    return reader(root, **given)


def recognise(root: Path) -> str:
    """Return the layout of a folder, by the files in it.

    Raises:
        DatasetError: it is no folder, or holds none of the files.
    """
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder; a data set is a folder with an {INDEX}")
    for layout, signs in SIGNS.items():
        if any(any(root.glob(sign)) for sign in signs):
            return layout
    others = "; ".join(f"{_signs(name)} ({name})" for name in SIGNS if name != "folder")
    raise DatasetError(
        f"{root} holds no {INDEX}, so it is no (finished) data set; build one with `patchrerank "
        "composite`, or write the index with patchrerank.datasets.write_index. Other layouts are "
        f"recognised by {others}"
    )


def split_options(path: str | Path) -> tuple[Path, dict[str, str]]:
    """Split ``FOLDER:name=value,name=value``; a folder of just that name wins."""
    whole = Path(path)
    head, colon, tail = str(path).rpartition(":")
    pairs = [part.partition("=") for part in tail.split(",")]
    if not colon or not head or whole.exists() or not all(sign for _, sign, _ in pairs):
        return whole, {}
    return Path(head), {name: value for name, _, value in pairs}


def _signs(layout: str) -> str:
    return SIGNS[layout][0]
