"""Who rescored the shortlist: one file per method."""

from patchrerank.rerankers.ames import AMES, AMES_PRESETS, AmesPreset, AmesSettings, load_ames
from patchrerank.rerankers.base import Reranker
from patchrerank.rerankers.box_refinement import Evidence, RefineBoxes
from patchrerank.rerankers.chamfer import Chamfer, ChamferSettings
from patchrerank.rerankers.compact import compact_local
from patchrerank.rerankers.dense_correlation import DenseCorrelation
from patchrerank.rerankers.elvis import ELVIS_FUSION, ELViS, ElvisSettings, load_elvis
from patchrerank.rerankers.execution import Execution
from patchrerank.rerankers.http_scorer import HttpScorer
from patchrerank.rerankers.networks.configs import AmesConfig, ElvisConfig
from patchrerank.rerankers.pairs import Pairs
from patchrerank.rerankers.patchify import Patchify
from patchrerank.rerankers.query_expansion import QueryExpansion
from patchrerank.rerankers.ranker import Ranker
from patchrerank.rerankers.registry import RERANKERS, find_reranker
from patchrerank.rerankers.spatial_verification import SpatialVerification
from patchrerank.rerankers.stage_parts import StageParts
from patchrerank.rerankers.superglobal import SuperGlobal
from patchrerank.rerankers.votes import VoteMap, draw_votes

__all__ = [
    "AMES",
    "AMES_PRESETS",
    "ELVIS_FUSION",
    "RERANKERS",
    "AmesConfig",
    "AmesPreset",
    "AmesSettings",
    "Chamfer",
    "ChamferSettings",
    "DenseCorrelation",
    "ELViS",
    "ElvisConfig",
    "ElvisSettings",
    "Evidence",
    "Execution",
    "HttpScorer",
    "Pairs",
    "Patchify",
    "QueryExpansion",
    "Ranker",
    "RefineBoxes",
    "Reranker",
    "SpatialVerification",
    "StageParts",
    "SuperGlobal",
    "VoteMap",
    "compact_local",
    "draw_votes",
    "find_reranker",
    "load_ames",
    "load_elvis",
]
