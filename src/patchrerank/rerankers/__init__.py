"""Who rescored the shortlist: one file per method."""

from patchrerank.rerankers.base import Ranker, Reranker
from patchrerank.rerankers.box_refinement import RefineBoxes
from patchrerank.rerankers.chamfer import Chamfer, ChamferSettings
from patchrerank.rerankers.dense_correlation import DenseCorrelation
from patchrerank.rerankers.patchify import Patchify
from patchrerank.rerankers.query_expansion import QueryExpansion
from patchrerank.rerankers.spatial_verification import SpatialVerification
from patchrerank.rerankers.superglobal import SuperGlobal

RERANKERS: dict[str, type[Reranker]] = {
    Patchify.name: Patchify,
    Chamfer.name: Chamfer,
    DenseCorrelation.name: DenseCorrelation,
    QueryExpansion.name: QueryExpansion,
    SuperGlobal.name: SuperGlobal,
    SpatialVerification.name: SpatialVerification,
}
"""Every method by its name."""

__all__ = [
    "RERANKERS",
    "Chamfer",
    "ChamferSettings",
    "DenseCorrelation",
    "Patchify",
    "QueryExpansion",
    "Ranker",
    "RefineBoxes",
    "Reranker",
    "SpatialVerification",
    "SuperGlobal",
]
