"""Tuning of λ, γ and the shortlist size on cached scores."""

from patchrerank.calibration import reliability
from patchrerank.tuning.calibrate import calibrate
from patchrerank.tuning.fused.exact_lambda import exact_lambda, exact_lambdas
from patchrerank.tuning.fused.fused_ap import fused_average_precisions
from patchrerank.tuning.fused.query_scores import Cost
from patchrerank.tuning.held_out import HeldOut, measure_held_out
from patchrerank.tuning.statistics import (
    Gain,
    bootstrap_interval,
    gain,
    group_folds,
    paired_permutation_test,
)
from patchrerank.tuning.study_file import StudyFile, read_study
from patchrerank.tuning.tables.build_table import TableOptions, build_table
from patchrerank.tuning.tables.cascades import StageResult, evaluate_stages
from patchrerank.tuning.tables.derived import after_stages, ranked_by
from patchrerank.tuning.tables.fill_table import TableFiller
from patchrerank.tuning.tables.import_options import ImportOptions
from patchrerank.tuning.tables.import_table import (
    table_from_arrays,
    table_from_ilias,
    table_from_runs,
)
from patchrerank.tuning.tables.pair_scorer import PairScorer, rerankers_of
from patchrerank.tuning.tables.run_files import read_qrels, read_run
from patchrerank.tuning.tables.score_table import ScoreTable
from patchrerank.tuning.tables.table_files import load_table, save_table
from patchrerank.tuning.trials.exact_search import ExactSearch, search_exactly
from patchrerank.tuning.trials.grid_space import GridSpace, grid_values
from patchrerank.tuning.trials.make_space import search_space
from patchrerank.tuning.trials.search_options import Budget, TuneOptions
from patchrerank.tuning.trials.space import Space, StageSpace
from patchrerank.tuning.tune import default_space, tune
from patchrerank.tuning.tuning_run import RunSettings, TuningResult, run_tuning
from patchrerank.tuning.write_tuned import tuned_of

__all__ = [
    "Budget",
    "Cost",
    "ExactSearch",
    "Gain",
    "GridSpace",
    "HeldOut",
    "ImportOptions",
    "PairScorer",
    "RunSettings",
    "ScoreTable",
    "Space",
    "StageResult",
    "StageSpace",
    "StudyFile",
    "TableFiller",
    "TableOptions",
    "TuneOptions",
    "TuningResult",
    "after_stages",
    "bootstrap_interval",
    "build_table",
    "calibrate",
    "default_space",
    "evaluate_stages",
    "exact_lambda",
    "exact_lambdas",
    "fused_average_precisions",
    "gain",
    "grid_values",
    "group_folds",
    "load_table",
    "measure_held_out",
    "paired_permutation_test",
    "ranked_by",
    "read_qrels",
    "read_run",
    "read_study",
    "reliability",
    "rerankers_of",
    "run_tuning",
    "save_table",
    "search_exactly",
    "search_space",
    "table_from_arrays",
    "table_from_ilias",
    "table_from_runs",
    "tune",
    "tuned_of",
]
