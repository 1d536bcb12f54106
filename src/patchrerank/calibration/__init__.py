"""Probabilities: what a fused score and its list say about a hit, and how far that held."""

from patchrerank.calibration.calibration import (
    Calibration,
    CalibrationCheck,
    ListLevel,
    NothingFound,
)
from patchrerank.calibration.fitting import fit_calibration, fit_level
from patchrerank.calibration.reliability import Reliability, ReliabilityBin, reliability

__all__ = [
    "Calibration",
    "CalibrationCheck",
    "ListLevel",
    "NothingFound",
    "Reliability",
    "ReliabilityBin",
    "fit_calibration",
    "fit_level",
    "reliability",
]
