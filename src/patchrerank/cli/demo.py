"""``patchrerank demo``: the main job, end to end, on photographs that pip installed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchrerank.cli import options as opt
from patchrerank.cli.evaluate import show_measured
from patchrerank.files import check_target

if TYPE_CHECKING:
    from patchrerank.analysis import Run
    from patchrerank.datasets import Dataset

METHODS = {"global (L0)": 0, "Patchify (L3)": 3}


def command(
    out: Annotated[Path, typer.Argument(help="Folder to write.")] = Path("patchrerank-demo"),
    image_size: Annotated[int, typer.Option(help="Network input size in pixels.")] = 128,
    seed: Annotated[int, typer.Option(help="Seed of the composite pictures.")] = 0,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Make a small benchmark, run global search against Patchify, write a page to look at."""
    from patchrerank.analysis import EvaluationSettings, evaluate
    from patchrerank.encoders import load_encoder
    from patchrerank.gallery import BuildOptions
    from patchrerank.regions import GridPyramid
    from patchrerank.report.page import PAGE

    check_target(out / "report.html", PAGE, make_folder=True)
    data = _dataset(out, seed, quiet=quiet)
    encoder = load_encoder("efficientnet_lite0", image_size=image_size)
    settings = EvaluationSettings(build=BuildOptions(progress=not quiet))
    runs = {
        name: evaluate(
            data, encoder, replace(settings, regions=GridPyramid(level)), out / "galleries"
        )
        for name, level in METHODS.items()
    }
    page = _write_page(out / "report.html", data, runs)
    if json:
        records = {name: run.measured.as_dict() for name, run in runs.items()}
        opt.print_json({"report": page, "methods": records})
    else:
        show_measured([run.measured for run in runs.values()])
        opt.print_line(f"open {page.resolve()} in a browser to see what matched where")


def _dataset(out: Path, seed: int, *, quiet: bool) -> Dataset:
    from patchrerank.datasets.composite import CompositeConfig, build_composite
    from patchrerank.datasets.shipped_photos import copy_shipped_photos

    objects, backgrounds = copy_shipped_photos(out / "photos")
    config = CompositeConfig(seed=seed, positives=3, distractors=48, max_instances=16)
    return build_composite(config, None, backgrounds, out / "dataset", objects, not quiet)


def _write_page(path: Path, data: Dataset, runs: dict[str, Run]) -> Path:
    from patchrerank.report import write_report
    from patchrerank.report.comparison import compare_runs, metrics_table

    measured = {name: run.measured for name, run in runs.items()}
    settings = next(iter(measured.values())).settings
    return write_report(
        path,
        title="Global search against Patchify",
        queries=compare_runs(data, runs),
        tables=[metrics_table(settings["dataset"], measured)],
        settings={key: value for key, value in settings.items() if key != "regions"},
    )
