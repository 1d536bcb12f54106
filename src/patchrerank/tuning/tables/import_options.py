"""How other people's runs and judgements become a score table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from patchrerank.errors import SettingError
from patchrerank.metrics import FULL, APConvention


@dataclass(frozen=True)
class ImportOptions:
    """How runs and judgements become a table.

    Attributes:
        convention: of average precision.
        relevant_from: the lowest grade that is relevant.
        junk_grade: the grade of documents that are removed before ranks are counted; None: none.
        absent: what a document of the first stage is that a local run does not list:
            ``no_evidence`` (−inf), ``not_computed`` (NaN: using it is an error), or ``error``.
        extra: what becomes of documents that only a local run lists, and of queries without
            judgements: ``error`` or ``ignore``. Judged queries without a run have empty lists.
    """

    convention: APConvention = FULL
    relevant_from: int = 1
    junk_grade: int | None = None
    absent: Literal["no_evidence", "not_computed", "error"] = "no_evidence"
    extra: Literal["error", "ignore"] = "error"

    def __post_init__(self) -> None:
        if self.absent not in ("no_evidence", "not_computed", "error"):
            raise SettingError(f"absent is {self.absent!r}; use no_evidence, not_computed or error")
        if self.extra not in ("error", "ignore"):
            raise SettingError(f"extra is {self.extra!r}; use 'error' or 'ignore'")
        if self.junk_grade is not None and self.junk_grade >= self.relevant_from:
            raise SettingError(f"junk_grade {self.junk_grade} is a relevant grade")
