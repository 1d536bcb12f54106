"""Cascades: several rerankers, each rescoring the head that the one before it left."""

from patchrerank.pipeline.cascade import Cascade, Stage
from patchrerank.pipeline.loading import load_reranker
from patchrerank.pipeline.query_encoders import QueryEncoders
from patchrerank.pipeline.recipe import BEST_PATCH, DEFAULT_STAGES, Recipe
from patchrerank.pipeline.stages import StageSpec, make_cascade, parse_stages
from patchrerank.pipeline.tuned import Estimate, Tuned, Versions
from patchrerank.pipeline.tuned_on import TunedLocal, TunedOn

__all__ = [
    "BEST_PATCH",
    "DEFAULT_STAGES",
    "Cascade",
    "Estimate",
    "QueryEncoders",
    "Recipe",
    "Stage",
    "StageSpec",
    "Tuned",
    "TunedLocal",
    "TunedOn",
    "Versions",
    "load_reranker",
    "make_cascade",
    "parse_stages",
]
