"""What flows through the house: queries, a shortlist, local scores, a ranking, hits.

All arrays are C-contiguous numpy arrays on the host. ``Q`` queries, ``K`` slots a shortlist,
``d`` dimensions. Scores: higher is better. Boxes: see :mod:`patchrerank.boxes`.
"""

from patchrerank.types.arrays import EMPTY, Floats, Rows
from patchrerank.types.missing import Missing, MissingCandidates
from patchrerank.types.queries import LocalDescriptors, LocalQueries, Queries, QueryCrop
from patchrerank.types.query_views import AUTO_VIEWS, AutoViews, QueryViews, ViewSource
from patchrerank.types.ranking import Hit, LocalScores, Ranking, Status
from patchrerank.types.shortlist import IdIndex, ScoreLists, Shortlist, rank_scores
from patchrerank.types.text import Text

__all__ = [
    "AUTO_VIEWS",
    "EMPTY",
    "AutoViews",
    "Floats",
    "Hit",
    "IdIndex",
    "LocalDescriptors",
    "LocalQueries",
    "LocalScores",
    "Missing",
    "MissingCandidates",
    "Queries",
    "QueryCrop",
    "QueryViews",
    "Ranking",
    "Rows",
    "ScoreLists",
    "Shortlist",
    "Status",
    "Text",
    "ViewSource",
    "rank_scores",
]
