"""How good is it: evaluation of a data set, overall and by object size."""

from patchrerank.analysis.evaluation import EvaluationSettings, Measured, evaluate
from patchrerank.analysis.galleries import StoreSettings
from patchrerank.analysis.measuring import measure
from patchrerank.analysis.relevance import Relevance, relevance_of

__all__ = [
    "EvaluationSettings",
    "Measured",
    "Relevance",
    "StoreSettings",
    "evaluate",
    "measure",
    "relevance_of",
]
