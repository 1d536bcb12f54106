"""Cascades: several rerankers, each rescoring the head that the one before it left."""

from patchrerank.pipeline.cascade import Cascade, Stage
from patchrerank.pipeline.stages import StageSpec, make_cascade, parse_stages
from patchrerank.pipeline.tuned import Estimate, Tuned, TunedStage, Versions
from patchrerank.pipeline.tuned_on import TunedLocal, TunedOn

__all__ = [
    "Cascade",
    "Estimate",
    "Stage",
    "StageSpec",
    "Tuned",
    "TunedLocal",
    "TunedOn",
    "TunedStage",
    "Versions",
    "make_cascade",
    "parse_stages",
]
