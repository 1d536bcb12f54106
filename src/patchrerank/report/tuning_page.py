"""One self-contained HTML page that shows a tuning run: what was found, and how sure it is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from patchrerank.datasets import Dataset
from patchrerank.errors import TableError
from patchrerank.report.markup import query_section
from patchrerank.report.page import bodies_of, content_policy, write_page
from patchrerank.report.pictures import PictureSheet
from patchrerank.report.tuning_charts import (
    Chart,
    cost_chart,
    importance_chart,
    milliseconds,
    plane,
    size_curve,
    stages_text,
    trial_records,
)
from patchrerank.report.tuning_gains import QueryGains, pictured
from patchrerank.report.tuning_header import (
    TuningSummary,
    fact_cards,
    figures,
    title_of,
    warning_list,
)
from patchrerank.report.tuning_history import history_chart
from patchrerank.report.tuning_view import METRICS, StageView, view_of
from patchrerank.tuning.tables.score_table import ScoreTable
from patchrerank.tuning.trials.trial import Trial

if TYPE_CHECKING:
    import optuna

THUMBNAIL = 160
"""Long side of the stored pictures, in pixels."""
UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}
"""What could end a script element, as JSON may write it instead."""

__all__ = ["TuningSummary", "write_tuning_page"]


def write_tuning_page(
    table: ScoreTable,
    trials: Sequence[Trial],
    result: TuningSummary,
    path: str | os.PathLike[str],
    dataset: Dataset | None = None,
    study: optuna.Study | None = None,
    seed: int = 0,
    *,
    progress: bool = False,
) -> Path:
    """Write the page and return its path; it loads nothing and works without a network.

    It shows the tuned settings and their value, λ–γ plane, k, milliseconds, parameter importance,
    the best so far against random search and the published grid, and the queries that win and
    lose most. The plane and the curve over k are those of the last stage that does something, with
    the stages before it at their tuned settings. Where the metric is neither mAP nor LocScore,
    they show mAP.

    Args:
        table: what was tuned on; curves and planes are computed from it.
        trials: in any order; may be empty.
        result: what was found.
        path: the file to write; it is replaced at once, and missing folders are made.
        dataset: the one that the table was built of, for pictures; None: no pictures.
        study: Optuna's, for parameter importance; None: none is shown.
        seed: of the random settings that are evaluated for comparison.
        progress: show a progress bar while they are.

    Raises:
        SettingError: an unknown reranker, a trial's mAP or LocScore outside [0, 1], or ``path``
            cannot be written.
        TableError: scores that the tuned stages need were not computed.
        DatasetError: the data set lacks a query or a picture of the table.
        ImageError: a picture cannot be read.
    """
    for trial in trials:
        result.check_value(f"trial {trial.number}", trial.value)
    view, fusion = view_of(table, result.stages, METRICS.get(result.metric, "AP"))
    gains = QueryGains.of(table, result.stages)
    records = trial_records(trials, view)
    data = {
        **_named(result, view),
        "trials": records,
        "plane": _drawn(plane, view, fusion, trials),
        "sizes": _drawn(size_curve, view, fusion),
        "cost": cost_chart(records, result.first_stage_value, milliseconds(table, result.stages)),
        "importance": importance_chart(study),
        "history": _history(view, trials, result, seed, progress=progress),
        "gains": gains.chart(),
    }
    sheet = PictureSheet(THUMBNAIL)
    page = {
        "title": escape(title_of(result)),
        "found": figures(result) + warning_list(result),
        "facts": fact_cards(result, table, records),
        "queries": "" if dataset is None else _queries(gains, dataset, sheet),
        "pictures": sheet.css(),
        "data": _json(data),
    }
    target = Path(path)
    write_page(target, _fill(page))
    return target


def _named(result: TuningSummary, view: StageView) -> Chart:
    """Return what the charts' labels say."""
    return {
        "metric": result.metric,
        "percent": result.in_percent,
        "drawn": result.metric if result.in_percent else "mAP",
        "value": result.value,
        "first": result.first_stage_value,
        "published": result.grid_value,
        "reranker": view.reranker,
        "before": stages_text(view.before) if view.before else "",
    }


def _history(
    view: StageView, trials: Sequence[Trial], result: TuningSummary, seed: int, *, progress: bool
) -> Chart:
    """Return what to compare with; nothing where the table does not know the metric."""
    if not result.in_percent:
        return {"random_note": f"The table does not know {result.metric}: no random search."}
    return history_chart(view, result.stages, trials, seed, progress=progress)


def _drawn(chart: Callable[..., Chart], *arguments: object) -> Chart:
    """Return the chart, or why there is none."""
    try:
        return chart(*arguments)
    except TableError as error:
        return {"note": f"This needs scores that the table lacks: {error}"}


def _queries(gains: QueryGains, dataset: Dataset, sheet: PictureSheet) -> str:
    wins, losses = gains.wins(), gains.losses()
    shown = pictured(gains, [*wins, *losses], dataset)
    for query in shown:
        for image, where in query.pictures():
            sheet.add(image, where)
    sections = [query_section(n, query, sheet) for n, query in enumerate(shown, start=1)]
    return _part("Biggest wins", sections[: len(wins)]) + _part(
        "Biggest losses", sections[len(wins) :]
    )


def _part(heading: str, sections: Sequence[str]) -> str:
    body = "\n".join(sections) or '<p class="none">None.</p>'
    return f'<h2 class="part">{heading}</h2>\n{body}\n'


def _json(data: Chart) -> str:
    """Return JSON that no text in it can end the script element of."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for sign, safe in UNSAFE.items():
        text = text.replace(sign, safe)
    return text


def _fill(page: dict[str, str]) -> str:
    """Fill the template; its style stands on the one of the report of queries."""
    here = files("patchrerank.report")
    base = bodies_of(here.joinpath("page.html").read_text(encoding="utf-8"), "style")[0]
    template = here.joinpath("tuning_page.html").read_text(encoding="utf-8")
    template = template.replace("$base", base)
    return Template(template).substitute(page, policy=content_policy(template, page["pictures"]))
