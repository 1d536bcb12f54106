"""Result lists as files: runs written for everybody's evaluation, anybody's shortlist read."""

from patchrerank.runs.shortlist_file import ShortlistFile, parse_shortlist, read_shortlist
from patchrerank.runs.writing import check_run_path, run_of_hits, write_run

__all__ = [
    "ShortlistFile",
    "check_run_path",
    "parse_shortlist",
    "read_shortlist",
    "run_of_hits",
    "write_run",
]
