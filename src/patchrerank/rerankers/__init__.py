"""Who rescored the shortlist: one file per method."""

from patchrerank.rerankers.base import Ranker, Reranker
from patchrerank.rerankers.box_refinement import RefineBoxes
from patchrerank.rerankers.chamfer import Chamfer, ChamferSettings
from patchrerank.rerankers.dense_correlation import DenseCorrelation
from patchrerank.rerankers.patchify import Patchify

RERANKERS: dict[str, type[Reranker]] = {
    Patchify.name: Patchify,
    Chamfer.name: Chamfer,
    DenseCorrelation.name: DenseCorrelation,
}
"""Every method by its name."""

__all__ = [
    "RERANKERS",
    "Chamfer",
    "ChamferSettings",
    "DenseCorrelation",
    "Patchify",
    "Ranker",
    "RefineBoxes",
    "Reranker",
]
