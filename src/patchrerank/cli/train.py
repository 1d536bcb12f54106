"""``patchrerank train``: train a learned reranker on your own pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from patchrerank.cli import options as opt
from patchrerank.errors import SettingError

if TYPE_CHECKING:
    from patchrerank.datasets import Dataset
    from patchrerank.rerankers.networks.configs import AmesConfig, ElvisConfig
    from patchrerank.training.checkpoints import Progress
    from patchrerank.training.config import TrainingConfig


def command(
    method: Annotated[str, typer.Argument(help="ames or elvis.", metavar="ames|elvis")],
    datasets: Annotated[
        list[Path] | None, typer.Argument(help="Data set folders; several are trained on at once.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Checkpoint to write, in the authors' layout.")] = Path(
        "reranker.pt"
    ),
    cut_from: Annotated[
        Path | None,
        typer.Option(help="Make a data set too: pieces cut from these photographs …"),
    ] = None,
    backgrounds: Annotated[
        Path | None, typer.Option(help="… and pasted into these (kept in the cache).")
    ] = None,
    encoder: opt.EncoderSpec = "efficientnet_lite0",
    local_image_size: Annotated[
        int, typer.Option(help="Side of gallery pictures for local descriptors, in pixels.")
    ] = 448,
    query_size: opt.QuerySize = 224,
    query_part: opt.QueryPartOption = "box",
    random_weights: opt.RandomWeights = False,
    cache: Annotated[
        Path, typer.Option(help="Folder where descriptors are kept for the next run.")
    ] = Path("training-cache"),
    epochs: Annotated[int, typer.Option(help="How often each anchor is seen.")] = 10,
    batch_size: Annotated[int, typer.Option(help="Pictures in a batch, 3 a triplet.")] = 600,
    at_once: Annotated[
        int | None, typer.Option(help="Triplets run at once, to save memory; default: a batch.")
    ] = None,
    learning_rate: Annotated[float, typer.Option(help="The highest.")] = 5e-4,
    schedule: Annotated[
        str | None, typer.Option(help="cos (default for ames) or warmcos (for elvis).")
    ] = None,
    clip: Annotated[float | None, typer.Option(help="Largest norm of a gradient.")] = None,
    least_descriptors: Annotated[
        int | None, typer.Option(help="Least number in a batch; default 10 (ames), 100 (elvis).")
    ] = None,
    query_descriptors: Annotated[int, typer.Option(help="Below so many of an anchor.")] = 400,
    gallery_descriptors: Annotated[int, typer.Option(help="Below so many of others.")] = 400,
    windows: Annotated[
        str,
        typer.Option(help="Sides of random windows of gallery pictures, smallest,largest of 1."),
    ] = "1,1",
    anchors: Annotated[str, typer.Option(help="queries, images or both.")] = "queries",
    neighbours: Annotated[int, typer.Option(help="Candidates of an anchor.")] = 300,
    hold_out: Annotated[float, typer.Option(help="Share of objects to validate on.")] = 0.1,
    validate_on: Annotated[Path | None, typer.Option(help="Or a data set of its own.")] = None,
    validate_size: Annotated[int, typer.Option(help="Pictures reranked for validation.")] = 100,
    validate_every: Annotated[int, typer.Option(help="Epochs between validations.")] = 1,
    patience: Annotated[
        int | None, typer.Option(help="Stop after so many validations without a better one.")
    ] = None,
    model_dim: Annotated[int, typer.Option(help="Dimensions inside (ames).")] = 128,
    layers: Annotated[int, typer.Option(help="Layers (ames).")] = 5,
    heads: Annotated[int, typer.Option(help="Attention heads (ames).")] = 2,
    feedforward: Annotated[int, typer.Option(help="Width of feed-forward blocks (ames).")] = 1024,
    binary: Annotated[
        bool, typer.Option("--binary", help="Reduce descriptors to signs, 1 bit a dimension.")
    ] = False,
    teacher: Annotated[
        Path | None, typer.Option(help="Full-precision checkpoint that a --binary one imitates.")
    ] = None,
    beta: Annotated[float, typer.Option(help="Weight of the imitation.")] = 10.0,
    start: Annotated[
        str, typer.Option(help="First weights: published, or matching (learns faster).")
    ] = "published",
    start_from: Annotated[
        Path | None,
        typer.Option(
            help="First weights: a checkpoint's (--binary: near those of full precision)."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed and data, same weights.")] = 0,
    device: opt.Device = "auto",
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

    kind = _kind(method)
    least = least_descriptors or {"ames": 10, "elvis": 100}[kind]
    config = TrainingConfig(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        schedule=schedule or {"ames": "cos", "elvis": "warmcos"}[kind],  # type: ignore[arg-type]
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
        network=_network(kind, dense.dim, size, binary=binary),
        config=config,
        candidates=CandidateSettings(anchors, neighbours),  # type: ignore[arg-type]
        view=QueryView(query_size, query_part),  # type: ignore[arg-type]
        held_out=HeldOut(
            hold_out, None if validate_on is None else load_dataset(validate_on), validate_size
        ),
        first=FirstWeights(start, start_from),  # type: ignore[arg-type]
        teacher=teacher,
        beta=beta,
        device=device,
    )
    found = train(run, out, cache, progress=not quiet)
    _report(found, config, out, as_json=json)


def _kind(method: str) -> Literal["ames", "elvis"]:
    if method == "ames":
        return "ames"
    if method == "elvis":
        return "elvis"
    raise SettingError(f"there is no training of {method!r}; use ames or elvis")


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
    kind: Literal["ames", "elvis"],
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
        opt.print_json(record)
        return
    opt.print_line(
        f"{out}: {found.epoch} of {config.epochs} epochs, {len(found.losses)} steps, "
        f"loss {record['loss']:.4f}"
    )
    if found.best is not None:
        figures = ", ".join(f"{k} {v:.1f} %" for k, v in found.validations[-1][1].items())
        opt.print_line(f"best after epoch {found.best_epoch}: {found.best:.1f} %; last: {figures}")
