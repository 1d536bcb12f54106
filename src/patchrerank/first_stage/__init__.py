"""Who gives a shortlist."""

from patchrerank.first_stage.global_search import GlobalSearch
from patchrerank.first_stage.patch_index import build_patch_index
from patchrerank.first_stage.patch_search import PatchResult, PatchSearch

__all__ = ["GlobalSearch", "PatchResult", "PatchSearch", "build_patch_index"]
