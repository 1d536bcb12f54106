"""Who gives a shortlist."""

from patchrerank.first_stage.faiss_file import FaissFile
from patchrerank.first_stage.global_search import GlobalSearch
from patchrerank.first_stage.patch_index import build_patch_index
from patchrerank.first_stage.patch_search import PatchResult, PatchSearch

__all__ = ["FaissFile", "GlobalSearch", "PatchResult", "PatchSearch", "build_patch_index"]
