"""How good a ranking is: average precision, localisation, recall, and published protocols."""

from patchrerank.metrics.average_precision import (
    average_precision,
    average_precisions,
    mean_average_precision,
)
from patchrerank.metrics.convention import (
    CONVENTION_NAMES,
    FULL,
    REVISITED,
    APConvention,
    ames_convention,
    at,
    ilias_at,
    parse_convention,
)
from patchrerank.metrics.ilias import (
    CLUTTER_LIMITS,
    SCALE_LIMITS,
    IliasResult,
    evaluate_ilias,
    group_means,
    oracles,
)
from patchrerank.metrics.lists import mean_over_queries, membership
from patchrerank.metrics.localisation import (
    MLOCSCORE_DELTAS,
    best_iou,
    locscores,
    mlocscores,
)
from patchrerank.metrics.recall import precision_at, precisions_at, recall_at, recalls_at
from patchrerank.metrics.revisited import (
    RevisitedResult,
    evaluate_revisited,
    positives_and_junk,
)
from patchrerank.metrics.submissions import (
    IliasLists,
    ilias_lists,
    instance_of,
    positives_by_instance,
)

__all__ = [
    "CLUTTER_LIMITS",
    "CONVENTION_NAMES",
    "FULL",
    "MLOCSCORE_DELTAS",
    "REVISITED",
    "SCALE_LIMITS",
    "APConvention",
    "IliasLists",
    "IliasResult",
    "RevisitedResult",
    "ames_convention",
    "at",
    "average_precision",
    "average_precisions",
    "best_iou",
    "evaluate_ilias",
    "evaluate_revisited",
    "group_means",
    "ilias_at",
    "ilias_lists",
    "instance_of",
    "locscores",
    "mean_average_precision",
    "mean_over_queries",
    "membership",
    "mlocscores",
    "oracles",
    "parse_convention",
    "positives_and_junk",
    "positives_by_instance",
    "precision_at",
    "precisions_at",
    "recall_at",
    "recalls_at",
]
