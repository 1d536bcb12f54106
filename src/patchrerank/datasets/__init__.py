"""Benchmark data sets: queries, pictures, which picture shows which object, and where.

:mod:`patchrerank.datasets.folder` holds the library's own format, a folder with an
``index.json``; :mod:`patchrerank.datasets.composite` builds such a folder out of cut-outs and
photographs.
"""

from __future__ import annotations

from patchrerank.datasets.folder import (
    Dataset,
    DatasetImage,
    DatasetQuery,
    Instance,
)
from patchrerank.datasets.writing import write_index

__all__ = ["Dataset", "DatasetImage", "DatasetQuery", "Instance", "write_index"]
