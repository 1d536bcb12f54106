"""Who rescored the shortlist: one file per method."""

from patchrerank.rerankers.base import Ranker, Reranker
from patchrerank.rerankers.patchify import Patchify

__all__ = ["Patchify", "Ranker", "Reranker"]
