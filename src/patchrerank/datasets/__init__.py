"""Benchmark data sets: queries, pictures, which picture shows which object, and where.

:mod:`patchrerank.datasets.folder` holds the library's own format, a folder with an
``index.json``; :mod:`patchrerank.datasets.composite` builds such a folder out of cut-outs and
photographs. :func:`load_dataset` reads it, and the original layouts of ILIAS, INSTRE and revisited
Oxford and Paris; :func:`convert_dataset` writes one layout from another.
"""

from __future__ import annotations

from patchrerank.datasets.convert import convert_dataset
from patchrerank.datasets.dataset import (
    Dataset,
    DatasetImage,
    DatasetQuery,
    Instance,
)
from patchrerank.datasets.ilias_ids import IliasIds, read_ilias_ids
from patchrerank.datasets.layouts import load_dataset
from patchrerank.datasets.writing import write_index

__all__ = [
    "Dataset",
    "DatasetImage",
    "DatasetQuery",
    "IliasIds",
    "Instance",
    "convert_dataset",
    "load_dataset",
    "read_ilias_ids",
    "write_index",
]
