"""Labels of somebody's index as rows of a gallery."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, cast

import numpy as np

from patchrerank.errors import SettingError, ShortlistError, shown
from patchrerank.faiss_labels import own_labels
from patchrerank.gallery import Gallery
from patchrerank.json_files import read_json
from patchrerank.numpy_files import read_npy
from patchrerank.search_results import listed_ids
from patchrerank.types import EMPTY, Missing, Rows

LabelIds: TypeAlias = Sequence[Any] | Mapping[int, Any] | str | os.PathLike[str]
"""The id behind each label: a list (``ids[label]``), a mapping, or a file of either."""

RowsOfLabels: TypeAlias = Callable[[Rows], Rows]
IdOfLabel: TypeAlias = Callable[[int], Any]


def rows_by_label(
    gallery: Gallery, index: Any, ids: LabelIds | None, missing: Missing
) -> tuple[RowsOfLabels, IdOfLabel]:
    """Return what turns labels, int64 of any shape, into rows, and what one label into its id.

    A label that the gallery does not hold has the row -1. One without an id is a ShortlistError.

    Args:
        gallery: whose rows.
        index: the ``faiss.Index``.
        ids: the id behind each label; None: labels are the gallery's ids where these are whole
            numbers, else its rows.
        missing: whether ids that the gallery does not hold are an error; if none is held, they
            always are.

    Raises:
        SettingError: no ids where they are needed, another number of them, or a file that
            cannot be read.
        ShortlistError: ids of another kind than the gallery's, or that it does not hold.
    """
    if isinstance(ids, str | os.PathLike):
        ids = read_label_ids(ids, gallery.ids.kind.kind)
    if isinstance(ids, Mapping):
        return _mapped(gallery, ids, missing)
    if ids is not None:
        return _listed(gallery, index, ids, missing)
    if gallery.ids.kind.name == "int":
        return _numbered(gallery), int
    if own_labels(index) is not None:
        raise SettingError(
            f"the index has labels of its own, and the ids of {gallery.folder} are "
            f"{gallery.ids.kind.words}; say which id each label stands for with ids={{label: id}}"
        )
    if index.ntotal != len(gallery):
        raise SettingError(
            f"the index holds {index.ntotal} vectors, {gallery.folder} {len(gallery)} images; say "
            "which id each label stands for with ids=[…], in the order of the index"
        )
    return (lambda labels: _living(gallery, labels)), gallery.ids.__getitem__


def _living(gallery: Gallery, rows: Rows) -> Rows:
    """Return rows ``(n,)`` with -1 in place of those that were removed."""
    if gallery.live_count == len(gallery):
        return rows
    return np.where((rows != EMPTY) & gallery.removed[rows], EMPTY, rows)


def _numbered(gallery: Gallery) -> RowsOfLabels:
    return lambda labels: gallery.ids.rows_of(cast(Any, labels.ravel())).reshape(labels.shape)


def _listed(
    gallery: Gallery, index: Any, ids: Sequence[Any], missing: Missing
) -> tuple[RowsOfLabels, IdOfLabel]:
    listed = listed_ids(ids)
    if len(listed) != index.ntotal and own_labels(index) is None:
        raise SettingError(
            f"there are {len(listed)} ids, but the index holds {index.ntotal} vectors; pass one "
            "id a vector, in the order of the index"
        )
    rows = np.append(_rows(gallery, listed, missing), EMPTY)  # the last one is for labels beyond

    def rows_of(labels: Rows) -> Rows:
        held = (labels >= 0) & (labels < len(listed))
        found: Rows = rows[np.where(held, labels, len(listed))]
        return found

    return rows_of, lambda label: listed[label] if 0 <= label < len(listed) else _no_id(label)


def _mapped(
    gallery: Gallery, ids: Mapping[int, Any], missing: Missing
) -> tuple[RowsOfLabels, IdOfLabel]:
    given = np.asarray(list(ids)) if ids else np.empty(0, dtype=np.int64)
    if given.dtype.kind not in "iu":
        raise SettingError(f"ids is a mapping from labels, whole numbers; got {shown(list(ids))}")
    order = np.argsort(given)
    known = given[order].astype(np.int64)
    rows = np.append(_rows(gallery, list(ids.values()), missing)[order], EMPTY)

    def rows_of(labels: Rows) -> Rows:
        place = np.searchsorted(known, labels)
        held = np.append(known, EMPTY)[place] == labels
        found: Rows = rows[np.where(held, place, len(known))]
        return found

    return rows_of, lambda label: ids[label] if label in ids else _no_id(label)


def _no_id(label: int) -> NoReturn:
    raise ShortlistError(
        f"ids= has no id for the label {label}, so its image cannot be kept; name it there, or "
        "pass over such labels with missing='drop'"
    )


def _rows(gallery: Gallery, ids: list[Any], missing: Missing) -> Rows:
    rows = gallery.ids.rows_of(ids)
    strange = rows == EMPTY
    if strange.any() and (strange.all() or missing == "error"):
        remedy = "" if strange.all() else "; pass over such labels with missing='drop'"
        raise ShortlistError(f"{gallery.ids.unknown(ids, rows)}{remedy}")
    return rows


def read_label_ids(path: str | os.PathLike[str], kind: type) -> Sequence[Any] | Mapping[int, Any]:
    """Read the id behind each label from a file.

    Args:
        path: ``.npy`` (one id a vector), ``.json`` (a list, or an object ``{label: id}``), or
            text, one id a line; the line of label 0 first.
        kind: of the gallery's ids; those of a text are turned into it.

    Raises:
        SettingError: the file cannot be read, or something in it is no id of that kind.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".npy":
        found = read_npy(path, SettingError)
        if found.ndim != 1:
            raise SettingError(f"{path}: has the shape {found.shape}; one id a vector is needed")
        return [_as(kind, item, f"{path}: entry {n}") for n, item in enumerate(found.tolist())]
    content = read_json(Path(path)) if suffix == ".json" else _lines(path)
    if isinstance(content, Mapping):
        return {
            _as(int, label, f"{path}: the label"): _as(kind, item, f"{path}: label {label}")
            for label, item in content.items()
        }
    if not isinstance(content, list):
        raise SettingError(f"{path}: holds {shown(content)}; use a list of ids, or {{label: id}}")
    return [_as(kind, item, f"{path}: entry {n}") for n, item in enumerate(content)]


def _lines(path: str | os.PathLike[str]) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        utf8 = "no UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        reason = getattr(error, "strerror", None) or utf8
        raise SettingError(f"{path}: cannot be read ({reason})") from error


def _as(kind: type, item: Any, where: str) -> Any:
    """Return an id of a file as the kind that the gallery has; text is turned into it."""
    if not isinstance(item, str) or kind is str:
        return item
    try:
        return kind(item)
    except ValueError:
        raise SettingError(f"{where}: {shown(item)} is no {kind.__name__}") from None
