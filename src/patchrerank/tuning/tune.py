"""Tuning with Optuna over a score table: a trial is arithmetic on arrays, no model runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from patchrerank.errors import SettingError
from patchrerank.tuning.tables.cascades import Missing
from patchrerank.tuning.tables.score_table import ScoreTable
from patchrerank.tuning.trials.grid_space import GridSpace
from patchrerank.tuning.trials.make_space import search_space
from patchrerank.tuning.trials.objective import Objective, goals_of
from patchrerank.tuning.trials.search_options import TRIALS, Budget, TuneOptions
from patchrerank.tuning.trials.space import SearchSpace

if TYPE_CHECKING:
    from patchrerank.tuning.trials.search import Search


def tune(
    table: ScoreTable,
    space: SearchSpace | None = None,
    objective: Objective = "mAP",
    budget: Budget | int = TRIALS,
    options: TuneOptions | None = None,
    missing: Missing | None = None,
) -> Search:
    """Search for the best λ, γ and shortlist sizes.

    Args:
        table: scores and judgements.
        space: what may be chosen; None: see :func:`default_space`.
        objective: ``mAP``, ``LocScore`` (both to be maximised), ``ms``, ``bytes`` (to be
            minimised), a function of a :class:`~.cascades.StageResult` (to be maximised), or
            several of these.
        budget: a number of trials, or a :class:`Budget`. A study that is in the storage already
            goes on up to that number.
        options: see :class:`TuneOptions`.
        missing: computes scores that are not there yet, with one worker.

    Raises:
        SettingError: an impossible setting, or the storage holds a study of something else.
        TableError: scores that are needed are not there.
        MissingExtraError: a sampler's package is absent.
    """
    from patchrerank.tuning.trials.workers import Job, run

    how = options or TuneOptions()
    limit = budget if isinstance(budget, Budget) else Budget(budget)
    chosen = space or default_space(table, None, objective, how, missing)
    if isinstance(chosen, GridSpace) and how.sampler == "grid":
        limit = Budget(min(limit.trials, len(chosen)), limit.seconds)
    if missing is not None and how.workers > 1:
        raise SettingError("scores can only be computed on demand by one worker; fill the table")
    return run(Job(table, chosen, objective, limit, how, missing))


def default_space(
    table: ScoreTable,
    rerankers: Sequence[str] | None = None,
    objective: Objective = "mAP",
    options: TuneOptions | None = None,
    missing: Missing | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> SearchSpace:
    """Return the space that is searched where nobody says which.

    The published grid for the sampler ``grid``; else ranges by the scores
    (:func:`~.make_space.search_space`), where the last stage's λ is solved for instead of drawn
    if mAP comes first (LocScore: with one stage), all scores are there and nothing is pruned.

    Args:
        table: of the scores.
        rerankers: of the stages, in order; None: the table's only one.
        objective, options, missing: as for :func:`tune`.
        overrides: as for ``search_space``.
    """
    how = options or TuneOptions()
    names = (table.reranker(),) if rerankers is None else tuple(rerankers)
    if how.sampler == "grid":
        return GridSpace(names)
    space = search_space(table, names, overrides)
    first = goals_of(objective)[0].name
    solvable = first == "mAP" or (first == "LocScore" and len(names) == 1)
    free = space.stages[-1].lams == (0.0, 1.0)
    scored = not any(table.missing(name).any() for name in names)
    exact = solvable and free and scored and missing is None and not how.prune
    return replace(space, exact_lam=exact)
