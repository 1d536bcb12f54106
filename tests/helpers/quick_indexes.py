"""Indexes of faiss that are trained in milliseconds."""

from __future__ import annotations

import re
from typing import Any

import faiss


def quick_index(dim: int, factory: str, metric: int = faiss.METRIC_INNER_PRODUCT) -> Any:
    """Make an index whose codes are not sorted by annealing (``np``), and that turns briefly."""
    index = faiss.index_factory(dim, re.sub(r"(PQ\d+x\d+)(?=$|,)", r"\1np", factory), metric)
    if isinstance(index, faiss.IndexPreTransform):
        turning = faiss.downcast_VectorTransform(index.chain.at(0))
        if isinstance(turning, faiss.OPQMatrix):
            turning.niter, turning.niter_pq = 5, 2
    return index
