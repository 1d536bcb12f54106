"""``patchrerank tune``: λ, γ and shortlist sizes, tuned on a data set's queries."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import printing
from patchrerank.cli.tune_output import check_outputs, show_calibration, show_result, write_page
from patchrerank.cli.tune_table import score_share, scores_of
from patchrerank.cli.views_option import QueryViewsOption
from patchrerank.errors import SettingError

if TYPE_CHECKING:
    from patchrerank.datasets import Dataset
    from patchrerank.tuning import ScoreTable
    from patchrerank.tuning.study_file import StudyFile
    from patchrerank.tuning.tuning_run import RunSettings

SEARCH = "Search"
EXAMPLE = "patchrerank tune --dataset dataset/ --stages patchify,chamfer --out tuned.json"


def command(
    study: Annotated[Path | None, typer.Argument(help="Study file (TOML).")] = None,
    table: Annotated[
        Path | None, typer.Option(help="Folder of a score table, in place of a data set.")
    ] = None,
    dataset: Annotated[
        Path | None, typer.Option(help="Data set folder, in place of the study's.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder where galleries and tables are kept.")
    ] = None,
    stages: Annotated[
        str | None, typer.Option(help="Rerankers to tune, in order: patchify,chamfer.")
    ] = None,
    behind: Annotated[
        str | None,
        typer.Option(
            help="What the tuned stages stand behind: global; a reranker whose scores take its "
            "place; or fixed stages: patchify:all:0:4."
        ),
    ] = None,
    query_views: QueryViewsOption = None,
    whiten: Annotated[
        str | None,
        typer.Option(help="Tune for galleries of `index --whiten`: so many dimensions, or auto."),
    ] = None,
    store: Annotated[
        opt.Store | None,
        typer.Option(help="Tune for galleries of `index --store`. [float32]"),
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="mAP, LocScore, ms or bytes; may be repeated. [mAP]")
    ] = None,
    constraint: Annotated[
        list[str] | None,
        typer.Option(help="ms<=20, LocScore>=0.25, areas>=first; may be repeated."),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(help="Of the study, earlier calls included. [400]", rich_help_panel=SEARCH),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Stop after so long.", rich_help_panel=SEARCH)
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            help="refine, tpe, gp, cmaes, random, qmc, nsgaii, grid. [refine]",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact", help="No sampling: exact λ over all useful k and γ.", rich_help_panel=SEARCH
        ),
    ] = False,
    folds: Annotated[
        int | None,
        typer.Option(help="Of the held-out estimate; 0: none. [5]", rich_help_panel=SEARCH),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            help="Journal file or Optuna URL, to go on later. [in memory]", rich_help_panel=SEARCH
        ),
    ] = None,
    study_name: Annotated[
        str | None, typer.Option(help="In the storage.", rich_help_panel=SEARCH)
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes; need --storage. [1]", rich_help_panel=SEARCH)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of sampler and folds. [0]", rich_help_panel=SEARCH)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write tuned.json here.", rich_help_panel=opt.RESULT)
    ] = None,
    record: Annotated[
        Path | None, typer.Option(help="Write the result as JSON here.", rich_help_panel=opt.RESULT)
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write an HTML page here.", rich_help_panel=opt.RESULT)
    ] = None,
    build_only: Annotated[
        bool, typer.Option("--build-only", help="Build the table and stop.")
    ] = False,
    share: Annotated[
        str | None,
        typer.Option(help="Score this part of the table and stop: 1/4, 2/4, …; needs --cache."),
    ] = None,
    device: opt.Device = "auto",
    random_weights: opt.RandomWeights = False,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Tune, estimate on held-out queries, and say what is doubtful."""
    from patchrerank.tuning.study_file import StudyFile, read_study

    plan = (read_study(study) if study else StudyFile()).changed(
        stages=stages,
        objective=tuple(metric) if metric else None,
        constraints=tuple(constraint) if constraint else None,
        trials=trials,
        seconds=seconds,
        sampler=sampler,
        exact=exact or None,
        folds=folds,
        storage=storage,
        study_name=study_name,
        workers=workers,
        seed=seed,
    )
    if table is not None and (whiten is not None or store is not None):
        raise SettingError(f"--whiten and --store say how a table is built; {table} is there")
    plan = _placed(plan, dataset, behind, query_views, whiten, store)
    if share is not None:
        score_share(plan, share, table, cache, device, random_weights, quiet)
        return
    check_outputs(plan, out, record, report)
    with tempfile.TemporaryDirectory(prefix="patchrerank-") as scratch:
        place = cache or Path(scratch)
        base, data, made = scores_of(
            plan, table, place, device, random_weights, quiet, report is not None
        )
        if build_only:
            names = ", ".join(base.local_scores)
            printing.print_line(f"{len(base)} queries, {base.size} candidates, scores of {names}")
            return
        settings = plan.settings(progress=not quiet, made_of=made)
        _tune(plan, settings, base, data, out, record, report, json)


def _placed(
    plan: StudyFile,
    dataset: Path | None,
    behind: str | None,
    views: str | None,
    whiten: str | None,
    store: str | None,
) -> StudyFile:
    from dataclasses import replace

    scores = plan.scores
    scores = replace(
        scores,
        dataset=str(dataset) if dataset else scores.dataset,
        behind=behind or scores.behind,
        query_views=views or scores.query_views,
        whiten=scores.whiten if whiten is None else opt.whitening(whiten),
        store=store or scores.store,
    )
    return plan.changed(scores=scores)


def _tune(
    plan: StudyFile,
    settings: RunSettings,
    base: ScoreTable,
    data: Dataset | None,
    out: Path | None,
    record: Path | None,
    report: Path | None,
    json: bool,
) -> None:
    from patchrerank.tuning.result_record import result_record, write_record
    from patchrerank.tuning.tuning_run import run_tuning
    from patchrerank.tuning.write_tuned import behind, tuned_of, tuned_on_of

    before = plan.scores.behind
    if out is not None:
        tuned_on_of(base)  # says at once, and not after the search, that it cannot be written
    table = behind(base, before)
    result = run_tuning(table, settings)
    found = result_record(result, table)
    tuned = None if out is None else tuned_of(result, base, before)
    if tuned is not None and out is not None:
        tuned.save(out)
    if record is not None:
        write_record(found, record)
    if report is not None:
        write_page(result, table, report, data, progress=settings.options.progress)
    if json:
        printing.print_json(found)
    else:
        show_result(result, found)
        show_calibration(None if tuned is None else tuned.calibration)
