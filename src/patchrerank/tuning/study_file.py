"""Studies as small TOML files: what is tuned, on which scores, within which ranges."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from patchrerank.analysis.galleries import StoreSettings
from patchrerank.errors import SettingError, near_matches
from patchrerank.records import from_json
from patchrerank.tuning.trials.search_options import TRIALS, Budget, TuneOptions
from patchrerank.tuning.tuning_run import RunSettings
from patchrerank.types import QueryCrop, QueryViews


@dataclass(frozen=True)
class Scores:
    """The ``[scores]`` of a study: how its table is built.

    Attributes:
        dataset: folder with ``index.json``, relative to the study file; empty: named when the
            study is run.
        encoder: of global vectors and patches.
        image_size: of its input in pixels; None: the model's own.
        regions: where patches are cut.
        local_image_size: side of the gallery's pictures for local descriptors.
        query_image_size: of the queries'.
        query_part: which local descriptors of a query count.
        query_crop: what is done with a query's box before its global vector is encoded.
        query_views: how its object is composed on backgrounds, such as ``8:20`` (see
            :meth:`patchrerank.types.QueryViews.parse`); empty: it is not.
        candidates: of the global first stage; None: all images.
        behind: ``global``; a reranker whose own scores take its place; or stages with
            numbers, such as ``patchify:all:0:4``, that stand before the tuned ones.
        whiten: dimensions that the gallery is whitened to, or ``auto``; None: it is not.
        store: how its patch vectors are stored; a product quantiser has 64 parts of 8 bits.
    """

    dataset: str = ""
    encoder: str = "efficientnet_lite0"
    image_size: int | None = None
    regions: str = "grid:3"
    local_image_size: int = 448
    query_image_size: int = 224
    query_part: Literal["box", "foreground", "salient", "all"] = "box"
    query_crop: QueryCrop = "none"
    query_views: str = ""
    candidates: int | None = None
    behind: str = "global"
    whiten: int | str | None = None
    store: str = "float32"

    def __post_init__(self) -> None:
        for name in ("image_size", "local_image_size", "query_image_size", "candidates"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingError(f"{name} must be at least 1, got {value}")
        _ = self.views, self.stored

    @property
    def views(self) -> QueryViews | None:
        """How the queries' objects are composed; None: they are not."""
        return QueryViews.parse(self.query_views) if self.query_views else None

    @property
    def stored(self) -> StoreSettings:
        """How the gallery is whitened and stored."""
        return StoreSettings(self.store, self.whiten)


@dataclass(frozen=True)
class _Plan:
    """A study but for its space.

    Attributes:
        stages: rerankers in order, joined by commas.
        objective: goals; see :func:`~.tune.tune`.
        constraints: see :func:`~.objective.constraints_of`.
        trials: the budget.
        seconds: likewise; None: no limit.
        sampler: see :func:`~.samplers.make_sampler`.
        exact: no sampling at all; see :class:`~.tuning_run.RunSettings`.
        seed: of sampler and folds.
        folds: of the held-out estimate; 0: none.
        storage: journal file or Optuna URL; empty: in memory.
        study_name: in the storage.
        workers: processes.
        scores: how the table is built.
    """

    stages: str = ""
    objective: tuple[str, ...] = ("mAP",)
    constraints: tuple[str, ...] = ()
    trials: int = TRIALS
    seconds: float | None = None
    sampler: str = "refine"
    exact: bool = False
    seed: int = 0
    folds: int = 5
    storage: str = ""
    study_name: str = "patchrerank"
    workers: int = 1
    scores: Scores = field(default_factory=Scores)


@dataclass(frozen=True)
class StudyFile(_Plan):
    """What a study file says.

    Attributes:
        space: by reranker, ranges in place of the usual ones; see
            :func:`~.make_space.search_space`.
    """

    space: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def rerankers(self) -> tuple[str, ...]:
        """Their names, in order; none if the table's only one is meant."""
        return tuple(part.strip() for part in self.stages.split(",") if part.strip())

    def settings(
        self, *, progress: bool = True, made_of: Mapping[str, str] | None = None
    ) -> RunSettings:
        """Return the run that the study asks for.

        Args:
            progress: show a progress bar.
            made_of: what its table is made of; see :class:`~.tune.TuneOptions`.

        Raises:
            SettingError: an impossible setting.
        """
        options = TuneOptions(
            sampler=self.sampler,
            seed=self.seed,
            constraints=self.constraints,
            storage=self.storage or None,
            study_name=self.study_name,
            workers=self.workers,
            progress=progress,
            made_of=made_of or {},
        )
        objective = self.objective if len(self.objective) > 1 else self.objective[0]
        return RunSettings(
            rerankers=self.rerankers,
            objective=objective,
            budget=Budget(self.trials, self.seconds),
            options=options,
            overrides=self.space,
            exact=self.exact,
            folds=self.folds,
        )

    def changed(self, **changes: Any) -> StudyFile:
        """Return the study with what was said instead; None is nothing said."""
        said = {name: value for name, value in changes.items() if value is not None}
        return replace(self, **said)


def read_study(path: str | Path) -> StudyFile:
    """Read a study file; every key may be left out.

    Raises:
        SettingError: no such file, no TOML, an unknown key (near matches are given), a value of
            the wrong type or out of range; names file and key.
    """
    file = Path(path)
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingError(f"{file}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise SettingError(f"{file}: not valid TOML ({error})") from error
    names = [item.name for item in fields(StudyFile)]
    for key in content:
        if key not in names:
            raise SettingError(f"{file}: {key}: unknown key{near_matches(key, names)}")
    scores, space = content.pop("scores", {}), content.pop("space", {})
    if isinstance(content.get("objective"), str):
        content["objective"] = [content["objective"]]
    if not isinstance(scores, dict) or not isinstance(space, dict):
        raise SettingError(f"{file}: scores and space must be tables, as in [scores]")
    for name, ranges in space.items():
        if not isinstance(ranges, dict):
            raise SettingError(f"{file}: space.{name}: must be a table, as in [space.{name}]")
    whole = {**asdict(_Plan()), **content, "scores": {**asdict(Scores()), **scores}}
    study = StudyFile(**vars(from_json(_Plan, whole, str(file))), space=space)
    if study.scores.dataset:
        folder = str(file.parent / study.scores.dataset)
        study = replace(study, scores=replace(study.scores, dataset=folder))
    if not study.objective:
        raise SettingError(f"{file}: objective: name at least one goal, such as mAP")
    return study
