"""A tuning result as a record for people and programs."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from patchrerank.files import json_with, write_whole
from patchrerank.metrics import mean_over_queries
from patchrerank.pipeline.stages import stages_text
from patchrerank.tuning.tables.cascades import evaluate_stages
from patchrerank.tuning.tables.score_table import ScoreTable
from patchrerank.tuning.trials.objective import figures
from patchrerank.tuning.trials.search import Search
from patchrerank.tuning.trials.trial_runner import known_figures
from patchrerank.tuning.tuning_run import TuningResult
from patchrerank.tuning.write_tuned import TUNED_ON

RECORD = json_with("the record of a tuning", "stages", "goal", "held_out", "space")
"""How files are known that :func:`write_record` wrote."""


def result_record(result: TuningResult, table: ScoreTable) -> dict[str, Any]:
    """Return a JSON-able record; values of mAP and LocScore in [0, 1], NaN as None.

    Args:
        result: of the run.
        table: that it was tuned on.
    """
    used = [stage for stage in result.stages if stage.used]
    held_out, search, exact = result.held_out, result.search, result.exact
    return {
        "stages": stages_text(result.stages),
        "goal": result.goal,
        "value": result.value,
        "convention": str(table.convention),
        "table": {name: text for name, text in table.about.items() if name != TUNED_ON},
        "queries": len(table),
        "queries_with_positive": int((table.n_positives > 0).sum()),
        "figures": known_figures(figures(evaluate_stages(table, used))),
        "first_stage": mean_over_queries(result.first),
        "published_grid": mean_over_queries(result.grid),
        "held_out": held_out
        and {
            "metric": result.metric,
            "value": asdict(held_out.estimate),
            "first_stage": mean_over_queries(held_out.first),
            "published_grid": mean_over_queries(held_out.grid),
            "over_first_stage": asdict(held_out.over_first),
            "over_published_grid": asdict(held_out.over_grid),
            "queries": int(np.isfinite(held_out.values).sum()),
            "folds": held_out.folds,
            "stages": [stages_text(stages) for stages in held_out.stages],
        },
        "warnings": list(result.warnings),
        "sampler": result.sampler,
        "seed": result.seed,
        "trials": len(search.finished) if search else None,
        "front": _front(search) if search and len(search.goals) > 1 else None,
        "exact": exact
        and {
            "pairs": len(exact.found),
            "best_value": exact.found[0].value,
            "plateau": [exact.best.plateau.low, exact.best.plateau.high],
        },
        "space": result.space.record(),
    }


def _front(search: Search) -> list[dict[str, Any]]:
    return [
        {
            "trial": trial.number,
            "stages": stages_text(trial.stages),
            **dict(zip(search.goals, trial.values or (), strict=True)),
        }
        for trial in search.front
    ]


def write_record(record: dict[str, Any], path: str | Path) -> None:
    """Write a record as JSON, whole or not at all; figures that are not finite become null.

    Raises:
        SettingError: the file cannot be written, or holds something else than a record.
    """
    text = json.dumps(_finite(record), indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(path, f"{text}\n".encode(), RECORD)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
