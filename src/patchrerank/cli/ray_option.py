"""``--engine ray``: a gallery built on a Ray cluster."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from patchrerank.cli.local_pass import LocalPass
from patchrerank.cli.tuned_option import was_given
from patchrerank.errors import SettingError

if TYPE_CHECKING:
    from patchrerank.distributed import RayOptions
    from patchrerank.encoders import DenseEncoder, Encoder
    from patchrerank.gallery import BuildOptions, Compression, CompressOptions, Gallery
    from patchrerank.gallery.sources import Images
    from patchrerank.regions import Regions

SECTION = "Many processes and machines (docs/distributed.md)"
Workers = Annotated[
    int | None,
    typer.Option(
        help="Threads that decode and cut [2]; with --engine ray, processes [as many as the "
        "cluster has room for].",
    ),
]
Engine = Annotated[
    Literal["local", "ray"],
    typer.Option(
        help="local: this process; ray: workers of a Ray cluster, a shard a block of pictures.",
        rich_help_panel=SECTION,
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="Of the Ray cluster: auto, or ray://HOST:10001; default: one on this machine, which "
        "ends with the command.",
        rich_help_panel=SECTION,
    ),
]
Cpus = Annotated[
    float, typer.Option(help="CPUs, and threads, of a worker.", rich_help_panel=SECTION)
]
Gpus = Annotated[
    float, typer.Option(help="GPUs of a worker; may be a fraction.", rich_help_panel=SECTION)
]
Block = Annotated[
    int | None,
    typer.Option(
        help="Pictures of a shard. [an eighth of a worker's share, at most 4096]",
        rich_help_panel=SECTION,
    ),
]


def check_engine(context: typer.Context) -> None:
    """Refuse options of Ray without it.

    Raises:
        SettingError: names one.
    """
    if context.params["engine"] == "ray":
        return
    for name in ("address", "cpus_per_worker", "gpus_per_worker", "block"):
        if was_given(context, name):
            raise SettingError(f"--{name.replace('_', '-')} belongs to --engine ray")


def spread(context: typer.Context) -> RayOptions:
    """Return how work is spread over the cluster."""
    from patchrerank.distributed import RayOptions

    names = ("address", "workers", "cpus_per_worker", "gpus_per_worker", "block")
    return RayOptions(**{name: context.params[name] for name in names})


def squeeze(
    context: typer.Context, gallery: Gallery, out: Path, options: CompressOptions
) -> Compression:
    """Compress a gallery where the options say: here, or on the cluster."""
    from patchrerank.gallery import compress

    if context.params["engine"] != "ray":
        return compress(gallery, out, options)
    from patchrerank.distributed import compress_with_ray

    return compress_with_ray(gallery, out, options, spread(context))


def encoder_settings(context: typer.Context) -> dict[str, Any]:
    """Return what ``load_encoder`` is called with."""
    given = context.params
    names = ("image_size", "device", "precision", "backend")
    own = {"spec": given["encoder"], "pretrained": not given["random_weights"]}
    return {**own, **{name: given[name] for name in names}}


def load(settings: dict[str, Any], one_pass: str | None) -> Encoder:
    """Load the encoder that the options say; called in each worker."""
    from patchrerank.encoders import load_encoder, load_one_pass

    model = load_encoder(**settings)
    return load_one_pass(model, one_pass) if one_pass is not None else model


def dense_of(
    local: LocalPass, settings: dict[str, Any], one_pass: str | None, encoder: Encoder
) -> DenseEncoder:
    """Make the dense encoder that the options say; called in each worker."""
    return local.encoder_of(encoder if one_pass is None else load(settings, None))


def build(
    context: typer.Context,
    target: Path,
    images: Images,
    strategy: Regions,
    how: BuildOptions,
    local: LocalPass | None,
) -> Gallery:
    """Build a gallery on the cluster that the options name.

    Raises:
        PatchRerankError: see :func:`patchrerank.distributed.build_gallery_with_ray`.
    """
    from patchrerank.distributed import LocalWork, build_gallery_with_ray

    given = context.params
    settings = encoder_settings(context)
    work = None
    if local is not None:
        work = LocalWork(partial(dense_of, local, settings, given["one_pass"]), local.options(how))
    encoder = partial(load, settings, given["one_pass"])
    return build_gallery_with_ray(target, images, encoder, strategy, how, spread(context), work)
