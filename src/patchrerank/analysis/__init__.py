"""How good is it: methods measured on a data set, overall and by object size."""

from patchrerank.analysis.evaluation import evaluate, evaluate_methods
from patchrerank.analysis.galleries import StoreSettings
from patchrerank.analysis.measured import Measured, Run
from patchrerank.analysis.measuring import measure
from patchrerank.analysis.methods import Method, parse_method
from patchrerank.analysis.relevance import Relevance, relevance_of
from patchrerank.analysis.settings import EvaluationSettings, LocalSettings

__all__ = [
    "EvaluationSettings",
    "LocalSettings",
    "Measured",
    "Method",
    "Relevance",
    "Run",
    "StoreSettings",
    "evaluate",
    "evaluate_methods",
    "measure",
    "parse_method",
    "relevance_of",
]
