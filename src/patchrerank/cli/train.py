"""``patchrerank train``: train a learned reranker on your own pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import printing
from patchrerank.errors import SettingError

if TYPE_CHECKING:
    from patchrerank.datasets import Dataset
    from patchrerank.rerankers.networks.configs import AmesConfig, ElvisConfig
    from patchrerank.training.checkpoints import Progress
    from patchrerank.training.config import TrainingConfig

Method = Literal["ames", "elvis"]
SCHEDULES: dict[Method, Literal["cos", "warmcos"]] = {"ames": "cos", "elvis": "warmcos"}


def _section(title: str) -> Callable[..., Any]:
    """Return what makes options of one section of the help page."""

    def option(help: str, *names: str) -> Any:
        return typer.Option(*names, help=help, rich_help_panel=title)

    return option


_data, _local = _section("What it learns from"), _section(opt.LOCAL)
_network_option, _steps = _section("Network"), _section("Training")

EXAMPLE = "patchrerank train ames dataset/ --out ames.pt --epochs 10"


def command(
    method: Annotated[Method, typer.Argument(help="The reranker to train.")],
    datasets: Annotated[
        list[Path] | None, typer.Argument(help="Data set folders; several are trained on at once.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Checkpoint to write, in the authors' layout.")] = Path(
        "reranker.pt"
    ),
    cut_from: Annotated[
        Path | None,
        _data("Make a data set too: pieces cut from these photographs …"),
    ] = None,
    backgrounds: Annotated[
        Path | None, _data("… and pasted into these (kept in the cache).")
    ] = None,
    hold_out: Annotated[float, _data("Share of objects to validate on.")] = 0.1,
    validate_on: Annotated[Path | None, _data("Or a data set of its own.")] = None,
    validate_size: Annotated[int, _data("Pictures reranked for validation.")] = 100,
    anchors: Annotated[
        Literal["queries", "images", "both"], _data("What is asked for.")
    ] = "queries",
    neighbours: Annotated[int, _data("Candidates of an anchor.")] = 300,
    cache: Annotated[Path, _data("Folder where descriptors are kept for the next run.")] = Path(
        "training-cache"
    ),
    encoder: opt.EncoderSpec = "efficientnet_lite0",
    random_weights: opt.RandomWeights = False,
    local_image_size: Annotated[
        int, _local("Side of gallery pictures for local descriptors, in pixels.")
    ] = 448,
    query_image_size: opt.QueryImageSize = 224,
    query_part: opt.QueryPartOption = "box",
    least_descriptors: Annotated[
        int | None, _local("Least number in a batch; default 10 (ames), 100 (elvis).")
    ] = None,
    query_descriptors: Annotated[int, _local("Below so many of an anchor.")] = 400,
    gallery_descriptors: Annotated[int, _local("Below so many of others.")] = 400,
    windows: Annotated[
        str, _local("Sides of random windows of gallery pictures, smallest,largest of 1.")
    ] = "1,1",
    model_dim: Annotated[int, _network_option("Dimensions inside (ames).")] = 128,
    layers: Annotated[int, _network_option("Layers (ames).")] = 5,
    heads: Annotated[int, _network_option("Attention heads (ames).")] = 2,
    feedforward: Annotated[int, _network_option("Width of feed-forward blocks (ames).")] = 1024,
    binary: Annotated[
        bool, _network_option("Reduce descriptors to signs, 1 bit a dimension.", "--binary")
    ] = False,
    teacher: Annotated[
        Path | None, _network_option("Full-precision checkpoint that a --binary one imitates.")
    ] = None,
    beta: Annotated[float, _network_option("Weight of the imitation.")] = 10.0,
    start: Annotated[
        Literal["published", "matching"], _network_option("First weights; matching learns faster.")
    ] = "published",
    start_from: Annotated[
        Path | None,
        _network_option("First weights: a checkpoint's (--binary: near those of full precision)."),
    ] = None,
    epochs: Annotated[int, _steps("How often each anchor is seen.")] = 10,
    batch_size: Annotated[int, _steps("Pictures in a batch, 3 a triplet.")] = 600,
    at_once: Annotated[
        int | None, _steps("Triplets run at once, to save memory; default: a batch.")
    ] = None,
    learning_rate: Annotated[float, _steps("The highest.")] = 5e-4,
    schedule: Annotated[
        Literal["cos", "warmcos"] | None, _steps("cos (default for ames), warmcos (for elvis).")
    ] = None,
    clip: Annotated[float | None, _steps("Largest norm of a gradient.")] = None,
    validate_every: Annotated[int, _steps("Epochs between validations.")] = 1,
    patience: Annotated[
        int | None, _steps("Stop after so many validations without a better one.")
    ] = None,
    device: opt.Device = "auto",
    seed: Annotated[int, typer.Option(help="Same seed and data, same weights.")] = 0,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Train AMES or ELViS; run it again to go on after an interruption."""
    from patchrerank.datasets import load_dataset
    from patchrerank.encoders import load_dense_encoder
    from patchrerank.training.config import FirstWeights, HeldOut, TrainingConfig, TrainingRun
    from patchrerank.training.descriptors import QueryView
    from patchrerank.training.neighbours import CandidateSettings
    from patchrerank.training.run import train
    from patchrerank.training.sampling import Counts
    from patchrerank.training.views import Windows

    least = least_descriptors or {"ames": 10, "elvis": 100}[method]
    config = TrainingConfig(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        schedule=schedule or SCHEDULES[method],
        counts=Counts(least, query_descriptors, gallery_descriptors),
        windows=Windows(*_pair(windows)),
        seed=seed,
        patience=patience,
        validate_every=validate_every,
        triplets_at_once=at_once,
        clip=clip,
    )
    chosen = [load_dataset(folder) for folder in datasets or []]
    chosen += _composites(cut_from, backgrounds, cache, seed, quiet)
    dense = load_dense_encoder(
        encoder, image_size=local_image_size, device=device, pretrained=not random_weights
    )
    size = (model_dim, heads, layers, feedforward)
    run = TrainingRun(
        datasets=chosen,
        encoder=dense,
        network=_network(method, dense.dim, size, binary=binary),
        config=config,
        candidates=CandidateSettings(anchors, neighbours),
        view=QueryView(query_image_size, query_part),
        held_out=HeldOut(
            hold_out, None if validate_on is None else load_dataset(validate_on), validate_size
        ),
        first=FirstWeights(start, start_from),
        teacher=teacher,
        beta=beta,
        device=device,
    )
    found = train(run, out, cache, progress=not quiet)
    _report(found, config, out, as_json=json)


def _pair(text: str) -> tuple[float, float]:
    try:
        least, most = (float(part) for part in text.split(","))
    except ValueError:
        raise SettingError(f"--windows is {text!r}; use smallest,largest such as 0.3,1") from None
    return least, most


def _composites(
    cut_from: Path | None, backgrounds: Path | None, cache: Path, seed: int, quiet: bool
) -> list[Dataset]:
    """Return the data set made of two folders of photographs, if they are given."""
    if cut_from is None and backgrounds is None:
        return []
    if cut_from is None or backgrounds is None:
        raise SettingError("--cut-from and --backgrounds go together: one folder each")
    from patchrerank.datasets.composite import CompositeConfig, build_composite

    settings = CompositeConfig(seed=seed, pieces_per_photo=12)
    target = cache / f"composite-{seed}"
    return [build_composite(settings, None, backgrounds, target, cut_from, not quiet)]


def _network(
    kind: Method,
    local_dim: int,
    size: tuple[int, int, int, int],
    *,
    binary: bool,
) -> AmesConfig | ElvisConfig:
    from patchrerank.rerankers.networks.configs import AmesConfig, ElvisConfig

    if kind == "elvis":
        return ElvisConfig(local_dim=local_dim, binarized=binary)
    return AmesConfig(local_dim, *size, binarized=binary)


def _report(found: Progress, config: TrainingConfig, out: Path, *, as_json: bool) -> None:
    record = {
        "checkpoint": out,
        "epochs": found.epoch,
        "steps": len(found.losses),
        "loss": sum(found.losses[-50:]) / max(1, len(found.losses[-50:])),
        "best_epoch": found.best_epoch if found.best is not None else None,
        "validation": dict(next((v for e, v in found.validations if e == found.best_epoch), {})),
    }
    if as_json:
        printing.print_json(record)
        return
    printing.print_line(
        f"{out}: {found.epoch} of {config.epochs} epochs, {len(found.losses)} steps, "
        f"loss {record['loss']:.4f}"
    )
    if found.best is not None:
        figures = ", ".join(f"{k} {v:.1f} %" for k, v in found.validations[-1][1].items())
        printing.print_line(
            f"best after epoch {found.best_epoch}: {found.best:.1f} %; last: {figures}"
        )
