"""Tuning with Optuna over a score table: a trial is arithmetic on arrays, no model runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from patchrerank.errors import SettingError, shown
from patchrerank.fusion import Fusion
from patchrerank.tuning.fused.cascades import Missing
from patchrerank.tuning.tables.score_table import ScoreTable
from patchrerank.tuning.trials.grid_space import PUBLISHED, PUBLISHED_SIZE, GridSpace
from patchrerank.tuning.trials.make_space import search_space
from patchrerank.tuning.trials.objective import Measure, Objective, constraints_of, goals_of
from patchrerank.tuning.trials.sampler_names import check_sampler
from patchrerank.tuning.trials.space import OFF, SearchSpace, Stages
from patchrerank.tuning.trials.trial_evaluator import Evaluator

if TYPE_CHECKING:
    from patchrerank.tuning.trials.search import Search
    from patchrerank.tuning.trials.studies import Storage

TRIALS = 400
MOST_TRIALS, MOST_WORKERS = 1_000_000, 1024
LARGEST_SEED = 1 << 32
"""What numpy's old generators, which Optuna draws with, take."""

FUNNELS = (10, 50)
"""In the cascades that are tried first, each stage rescores that many times fewer candidates."""


@dataclass(frozen=True)
class Budget:
    """When a search ends: whichever comes first.

    Attributes:
        trials: of the study, those of earlier calls included.
        seconds: of this call; the trial under way is finished.
    """

    trials: int = TRIALS
    seconds: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.trials <= MOST_TRIALS:
            least = f"at least 1 and at most {MOST_TRIALS:,}"
            raise SettingError(f"trials must be {least}, got {shown(self.trials)}")
        if self.seconds is not None and not self.seconds > 0:
            raise SettingError(f"seconds must be above 0, got {self.seconds}")


@dataclass(frozen=True)
class TuneOptions:
    """How a search goes about it.

    Attributes:
        sampler: see :func:`patchrerank.tuning.trials.samplers.make_sampler`; see
            ``tuning/compare_samplers.py`` for how far they come.
        seed: of everything that is drawn: with one worker the same seed gives the same trials,
            also when the search was killed and went on. (With another Optuna, others.)
        constraints: what trials must not do; see
            :func:`patchrerank.tuning.trials.objective.constraints_of`.
        storage: a journal file, or an Optuna storage URL for many machines; None: in memory.
        study_name: in the storage.
        workers: processes, each with the whole table; more than one need a storage. A script
            that asks for several must guard its own start with ``if __name__ == "__main__"``.
        start: stages to try first, beside the first stage alone and the published settings.
        prune: stop a trial when its queries so far say that it is worse than the best
            (Wilcoxon's test); worth it only where scores are computed as trials ask for them.
        progress: show a progress bar.
        made_of: what the table is made of, kept with the study; see
            :func:`patchrerank.tuning.trials.studies.check_study`.
    """

    sampler: str = "refine"
    seed: int = 0
    constraints: Sequence[str | Measure] = ()
    storage: Storage = None
    study_name: str = "patchrerank"
    workers: int = 1
    start: Sequence[Stages] = ()
    prune: bool = False
    progress: bool = True
    made_of: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise SettingError(f"workers must be at least 1, got {self.workers}")
        if self.workers > 1 and self.storage is None:
            raise SettingError(f"{self.workers} workers need a storage; name a journal file")
        if self.workers > MOST_WORKERS:
            raise SettingError(f"workers must be at most {MOST_WORKERS}, got {self.workers}")
        check_sampler(self.sampler)
        if not 0 <= self.seed < LARGEST_SEED:
            raise SettingError(f"seed must lie in [0, 2^32), got {self.seed}")


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


def make_evaluator(
    table: ScoreTable,
    space: SearchSpace,
    objective: Objective,
    options: TuneOptions,
    missing: Missing | None = None,
) -> Evaluator:
    """Return what evaluates the trials of a search."""
    return Evaluator(
        table,
        space,
        goals_of(objective),
        constraints_of(table, options.constraints, missing),
        missing,
        prune=options.prune,
        seed=options.seed,
    )


def first_settings(
    table: ScoreTable, space: SearchSpace, more: Sequence[Stages] = ()
) -> list[tuple[str, dict[str, Any]]]:
    """Return the settings that a search tries first, each with where it comes from.

    The user's own, the first stage alone, each stage's reranker alone on the whole list, all
    stages with shorter and shorter lists, and the λ and γ that AMES (ECCV 2024) published, for
    every stage at once.
    """
    names = space_rerankers(space)
    size = min(PUBLISHED_SIZE, max(table.size, 1))
    known: list[tuple[str, Stages]] = [("user", tuple(stages)) for stages in more]
    known.append(("first stage", tuple((name, OFF) for name in names)))
    for number in range(len(names)):
        alone = Fusion(0.0, 1.0, table.size)
        known.append(
            ("alone", tuple((n, alone if i == number else OFF) for i, n in enumerate(names)))
        )
    for ratio in FUNNELS if len(names) > 1 else ():
        sizes = [max(1, table.size // ratio**place) for place in range(len(names))]
        lams = [0.0, *[0.5] * (len(names) - 1)]
        funnel = [Fusion(lam, 1.0, size) for lam, size in zip(lams, sizes, strict=True)]
        known.append(("funnel", tuple(zip(names, funnel, strict=True))))
    for lam, gamma in PUBLISHED:
        known.append(("published", tuple((name, Fusion(lam, gamma, size)) for name in names)))
    found: list[tuple[str, dict[str, Any]]] = []
    for origin, stages in known:
        params = space.params(stages)
        if params is not None and params not in [other for _, other in found]:
            found.append((origin, params))
        elif params is None and origin == "user":
            raise SettingError(f"start: {stages} are not the stages of this search, or not its")
    return found


def space_rerankers(space: SearchSpace) -> tuple[str, ...]:
    """Return the rerankers of a space's stages."""
    if isinstance(space, GridSpace):
        return space.rerankers
    return tuple(stage.reranker for stage in getattr(space, "stages", ()))
