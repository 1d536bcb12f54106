"""One self-contained HTML page that compares rankings, query by query.

:func:`write_report` takes what :mod:`patchrerank.report.content` describes and writes one file
that needs no network and no other file; :func:`write_figures` draws the same for print.
"""

from __future__ import annotations

from patchrerank.report.content import ReportColumn, ReportHit, ReportQuery, ReportTable
from patchrerank.report.figure_style import FigureStyle
from patchrerank.report.figures import write_figures
from patchrerank.report.page import write_report

__all__ = [
    "FigureStyle",
    "ReportColumn",
    "ReportHit",
    "ReportQuery",
    "ReportTable",
    "write_figures",
    "write_report",
]
